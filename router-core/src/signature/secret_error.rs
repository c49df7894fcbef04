//! The error for a text that is not a signing secret.

use std::fmt::{self, Write as _};

/// The reason why a text is not a signing secret. Never contains the text.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The text is empty or only white space.
    #[error("the signing secret is blank; Stripe's dashboard shows it as `whsec_…`")]
    Blank,
    /// There is white space around the secret.
    #[error(
        "there is white space around the signing secret (a line break at the end of a file?); it \
         would be part of the key, so remove it"
    )]
    Whitespace,
    /// The text is an API key.
    #[error(
        "this is an API key (`{prefix}…`), not a signing secret; Stripe's dashboard shows the \
         endpoint's signing secret as `whsec_…`"
    )]
    ApiKey {
        /// The API key's prefix.
        prefix: &'static str,
    },
    /// The text is the id of a webhook endpoint or an event destination.
    #[error(
        "this is the id of an endpoint (`{prefix}…`), not its signing secret; Stripe's dashboard \
         shows the endpoint's signing secret as `whsec_…`"
    )]
    EndpointId {
        /// The id's prefix.
        prefix: &'static str,
    },
    /// The text is a signing secret in base64.
    #[error(
        "this is a signing secret in base64, as in the `data` of a Kubernetes Secret; decode it, so \
         that it begins with `whsec_`"
    )]
    Base64,
    /// The text is a word such as `null` or `changeme`, which anyone can guess.
    #[error(
        "this is a word that stands for a missing secret, such as `null` or `changeme`; set the \
         secret that Stripe's dashboard shows, `whsec_…`"
    )]
    Placeholder,
    /// The prefix `whsec_` is doubled.
    #[error("the signing secret begins with `whsec_` twice; remove one")]
    DoublePrefix,
    /// A character cannot be part of a signing secret.
    #[error(
        "a signing secret has only letters, digits, `_`, `-`, `+` and `/`, with `=` only at its \
         end, but character number {position} is {}: {}",
        Quoted(*.character),
        cause(*.character)
    )]
    Character {
        /// The character.
        character: char,
        /// The character's position, counted from 1.
        position: usize,
    },
    /// There is an equals sign without a name before it: `=whsec_…`.
    #[error("an endpoint's name is missing before `=`; write `name=whsec_…` or only `whsec_…`")]
    NoName,
    /// The text before `=` is not a valid name. It may be a secret.
    #[error(
        "the text before `=` is not a valid endpoint name (at most 40 letters, digits, `-`, `_` or \
         `.`), nor two with `+` between them; write `name=whsec_…` or only `whsec_…`"
    )]
    Name,
    /// An item of a list has neither a name nor the prefix `whsec_`. It may be a secret.
    #[error(
        "this item has neither a name nor the prefix `whsec_`; write `name=secret`, or for one \
         secret of two endpoints `platform+connect=whsec_…`"
    )]
    NameOrSecret,
    /// Two endpoints have the same secret.
    #[error(
        "the endpoints `{first}` and `{second}` have the same signing secret, so it does not tell \
         their events apart; give each endpoint its own secret from Stripe's dashboard. For \
         `stripe listen`, which signs all events with one secret, write `platform+connect=whsec_…`: \
         events of connected accounts then belong to the endpoint after the `+`"
    )]
    SharedSecret {
        /// The name of the first endpoint.
        first: String,
        /// The name of the second endpoint.
        second: String,
    },
    /// The environment variable is not set.
    #[error("it is not set; set it to the signing secret that Stripe's dashboard shows, `whsec_…`")]
    NotSet,
    /// The environment variable is not Unicode.
    #[error("it is not Unicode text")]
    NotUnicode,
    /// Another error, with the place where it occurred.
    #[error("{place}: {error}")]
    At {
        /// The environment variable, or the item of the list.
        place: String,
        /// The error at that place.
        error: Box<SecretError>,
    },
}

/// Same as `Display`, because `fn main() -> Result<(), Box<dyn Error>>` prints the `Debug` form.
impl fmt::Debug for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl SecretError {
    pub(super) fn with_place(self, place: &str) -> Self {
        Self::At { place: place.to_owned(), error: Box::new(self) }
    }
}

/// A character in backticks, or its code point if it cannot be seen.
struct Quoted(char);

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            '`' => f.write_str("a backtick"),
            ' ' => f.write_str("a space"),
            visible if visible.is_ascii_graphic() => {
                f.write_char('`')?;
                f.write_char(visible)?;
                f.write_char('`')
            }
            other => write!(f, "U+{:04X}", u32::from(other)),
        }
    }
}

/// Returns the likely cause of a character that a signing secret cannot have, with the remedy.
fn cause(character: char) -> &'static str {
    match character {
        '"' | '\'' | '`' => "remove the quotation marks around the secret",
        '$' | '{' | '}' | '%' | '<' | '>' => {
            "this is a placeholder that was not replaced by the secret"
        }
        ';' | ':' | '&' => "write `,` between the secrets of endpoints, `|` between two of one",
        ' ' | '\t' | '#' => "remove the comment or other text beside the secret",
        '.' | '…' | '*' => "this is a shortened secret; copy the whole one",
        '=' => "remove the text behind the secret",
        '\\' => "remove the escape sequence",
        other if !other.is_ascii() => "remove it; it may be invisible",
        _ => "copy the secret from Stripe's dashboard again",
    }
}
