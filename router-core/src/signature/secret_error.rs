//! The error for a text that is not a signing secret.

use std::fmt;

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
    /// There is an equals sign without a name before it: `=whsec_…`.
    #[error("an endpoint's name is missing before `=`; write `name=whsec_…` or only `whsec_…`")]
    NoName,
    /// The text before `=` is not a valid name. It may be a secret.
    #[error(
        "the text before `=` is not a valid endpoint name (at most 40 letters, digits, `-`, `_` or \
         `.`); write `name=whsec_…` or only `whsec_…`"
    )]
    Name,
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
