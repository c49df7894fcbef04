//! Signing secrets, and which endpoint each belongs to.

use std::{env, fmt, sync::Arc};

use hmac::{Hmac, KeyInit as _, Mac as _, digest::CtOutput};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A MAC; comparing two takes the same time wherever they differ.
pub(super) type Mac = CtOutput<Hmac<Sha256>>;

/// The name under which the operator knows a webhook endpoint: `platform`, `connect`, `thin`.
/// Stripe gives each endpoint a secret of its own, so the secret that matched says which endpoint
/// an event came through.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointName(Arc<str>);

impl EndpointName {
    /// The name of the endpoint whose secrets were given without one.
    pub const DEFAULT: &'static str = "default";

    pub(crate) fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The signing secret of one webhook endpoint (`whsec_…`), as the dashboard shows it.
///
/// The text is the key as it stands, its prefix included. It is not kept: what stays in memory is
/// the prepared key, which is wiped when it is dropped and which `Debug` does not show.
#[derive(Clone)]
pub struct SigningSecret {
    endpoint: EndpointName,
    key: Hmac<Sha256>,
}

impl SigningSecret {
    /// A secret of the endpoint [`EndpointName::DEFAULT`].
    ///
    /// # Errors
    ///
    /// [`SecretError`] where the text is blank, has white space around it, or is an API key.
    #[expect(clippy::missing_panics_doc, reason = "HMAC takes a key of any length")]
    pub fn new(text: &str) -> Result<Self, SecretError> {
        if text.trim().is_empty() {
            return Err(SecretError::Blank);
        }
        if text.trim() != text {
            return Err(SecretError::Whitespace);
        }
        refuse_api_key(text)?;
        let key = Hmac::new_from_slice(text.as_bytes()).expect("HMAC takes a key of any length");
        Ok(Self { endpoint: EndpointName::new(EndpointName::DEFAULT), key })
    }

    /// The same secret, of the endpoint of this name.
    #[must_use]
    pub fn named(self, endpoint: &str) -> Self {
        Self { endpoint: EndpointName::new(endpoint), ..self }
    }

    /// Reads one secret from an environment variable. [`Secrets::from_env`] reads several.
    ///
    /// # Errors
    ///
    /// [`SecretError`] where the variable is not set, is not Unicode, or is no secret.
    pub fn from_env(variable: &str) -> Result<Self, SecretError> {
        read_env(variable).and_then(|text| Self::new(&text)).map_err(|error| error.of(variable))
    }

    /// The name of the endpoint that it belongs to.
    #[must_use]
    pub fn endpoint(&self) -> &EndpointName {
        &self.endpoint
    }

    pub(super) fn mac(&self, timestamp: u64, body: &[u8]) -> Mac {
        let mut digits = [0; 20];
        let mut mac = self.key.clone();
        mac.update(decimal(timestamp, &mut digits));
        mac.update(b".");
        mac.update(body);
        mac.finalize()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningSecret")
            .field("endpoint", &self.endpoint.as_str())
            .field("key", &format_args!("<redacted>"))
            .finish()
    }
}

/// Every secret that an event may be signed with: one or more for each endpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Secrets(Arc<[SigningSecret]>);

impl Secrets {
    /// Reads a list of secrets: `whsec_a`, or `whsec_new|whsec_old` while one is being rolled, or
    /// `platform=whsec_a,connect=whsec_b` for several endpoints.
    ///
    /// # Errors
    ///
    /// [`SecretError`] with the place of the first item that is no secret.
    pub fn parse(list: &str) -> Result<Self, SecretError> {
        let mut secrets = Vec::new();
        let is_one = !list.contains([',', '=', '|']);
        for (index, item) in list.split(',').enumerate() {
            let (name, texts) = match item.split_once('=') {
                None => (EndpointName::DEFAULT, item),
                Some((name, texts)) => (name.trim(), texts),
            };
            let place = format!("item {}", index + 1);
            check_name(name).map_err(|error| error.of(&place))?;
            if texts.trim_matches('=').trim().is_empty() {
                // Before the end of base64, what looks like a name is none.
                return Err(if is_one {
                    SecretError::Blank
                } else {
                    SecretError::Blank.of(&place)
                });
            }
            for text in texts.split('|') {
                let secret = SigningSecret::new(text).map_err(|error| match is_one {
                    true => error,
                    false => error.of(&format!("{place} (`{name}`)")),
                })?;
                secrets.push(secret.named(name));
            }
        }
        Ok(Self(secrets.into()))
    }

    /// Reads such a list from an environment variable.
    ///
    /// # Errors
    ///
    /// [`SecretError`] where the variable is not set, is not Unicode, or is no list of secrets.
    pub fn from_env(variable: &str) -> Result<Self, SecretError> {
        read_env(variable).and_then(|text| Self::parse(&text)).map_err(|error| error.of(variable))
    }

    /// The secrets, in the order in which they are tried.
    pub fn iter(&self) -> impl Iterator<Item = &SigningSecret> {
        self.0.iter()
    }
}

impl From<SigningSecret> for Secrets {
    fn from(secret: SigningSecret) -> Self {
        Self(Arc::new([secret]))
    }
}

impl FromIterator<SigningSecret> for Secrets {
    fn from_iter<I: IntoIterator<Item = SigningSecret>>(secrets: I) -> Self {
        Self(secrets.into_iter().collect())
    }
}

/// Why a text is no signing secret. Never shows the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Nothing, or only white space.
    #[error("the signing secret is blank; Stripe's dashboard shows it as `whsec_…`")]
    Blank,
    /// White space around the secret.
    #[error(
        "there is white space around the signing secret (a line break at the end of a file?); it \
         would be part of the key, so remove it"
    )]
    Whitespace,
    /// An API key.
    #[error(
        "this is an API key (`{prefix}…`), not a signing secret; Stripe's dashboard shows the \
         endpoint's signing secret as `whsec_…`"
    )]
    ApiKey {
        /// The API key's prefix.
        prefix: &'static str,
    },
    /// `=whsec_…`: an equals sign without a name before it.
    #[error("an endpoint's name is missing before `=`; write `name=whsec_…` or only `whsec_…`")]
    NoName,
    /// What stands before `=` is no name; perhaps a secret.
    #[error(
        "what stands before `=` is no endpoint's name, which is at most 40 letters, digits, `-`, `_` or \
         `.`; write `name=whsec_…` or only `whsec_…`"
    )]
    Name,
    /// The environment variable is not set.
    #[error("it is not set; set it to the signing secret that Stripe's dashboard shows, `whsec_…`")]
    NotSet,
    /// The environment variable is not Unicode.
    #[error("it is not Unicode text")]
    NotUnicode,
    /// One of the others, with the place where it was found.
    #[error("{place}: {error}")]
    At {
        /// The environment variable, or the item of the list.
        place: String,
        /// What is wrong there.
        error: Box<SecretError>,
    },
}

impl SecretError {
    fn of(self, place: &str) -> Self {
        Self::At { place: place.to_owned(), error: Box::new(self) }
    }
}

fn refuse_api_key(text: &str) -> Result<(), SecretError> {
    match ["sk_", "rk_", "pk_"].into_iter().find(|prefix| text.starts_with(prefix)) {
        Some(prefix) => Err(SecretError::ApiKey { prefix }),
        None => Ok(()),
    }
}

/// A name is shown in errors and logs, so that nothing may pass for one that could be a secret.
fn check_name(name: &str) -> Result<(), SecretError> {
    if name.is_empty() {
        return Err(SecretError::NoName);
    }
    refuse_api_key(name)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.len() > 40 || name.starts_with("whsec_") || !name.chars().all(is_plain) {
        return Err(SecretError::Name);
    }
    Ok(())
}

fn read_env(variable: &str) -> Result<Zeroizing<String>, SecretError> {
    match env::var(variable) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(env::VarError::NotPresent) => Err(SecretError::NotSet),
        Err(env::VarError::NotUnicode(_)) => Err(SecretError::NotUnicode),
    }
}

/// The digits of `number`, written to the end of `buffer`.
fn decimal(mut number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut start = buffer.len();
    loop {
        start -= 1;
        buffer[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &buffer[start..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_key() {
        let secrets = Secrets::parse("connect=whsec_a").unwrap();
        assert_eq!(
            format!("{secrets:?}"),
            r#"Secrets([SigningSecret { endpoint: "connect", key: <redacted> }])"#
        );
    }

    #[test]
    fn a_list_names_its_endpoints() {
        let secrets =
            Secrets::parse("platform=whsec_new|whsec_old,connect=whsec_c,whsec_d").unwrap();
        let names: Vec<&str> = secrets.iter().map(|secret| secret.endpoint().as_str()).collect();
        assert_eq!(names, ["platform", "platform", "connect", "default"]);
    }

    #[test]
    fn what_is_no_secret_says_why_and_where() {
        let of = |text: &str| SigningSecret::new(text).unwrap_err();
        assert_eq!(of(""), SecretError::Blank);
        assert_eq!(of(" \n"), SecretError::Blank);
        assert_eq!(of("whsec_a\n"), SecretError::Whitespace);
        assert_eq!(of("sk_live_abc"), SecretError::ApiKey { prefix: "sk_" });
        assert_eq!(of("rk_live_abc"), SecretError::ApiKey { prefix: "rk_" });

        let text = Secrets::parse("whsec_a,connect=sk_live_abc").unwrap_err().to_string();
        assert!(text.starts_with("item 2 (`connect`): this is an API key (`sk_…`)"), "{text}");
        assert_eq!(Secrets::parse("sk_live_abc").unwrap_err(), of("sk_live_abc"));
        assert!(Secrets::parse("whsec_a,").is_err());
        assert!(Secrets::parse("=whsec_a").is_err());
        assert!(Secrets::parse("whsec_a|").is_err());
    }

    #[test]
    fn what_stands_in_the_place_of_a_name_is_not_shown() {
        let long = format!("{}=whsec_a", "a1b2c3".repeat(7));
        for list in [
            "sk_live_a1b2c3=",
            "sk_live_a1b2c3=whsec_a",
            "whsec_a1b2c3=whsec_a",
            "a1b2c3+/==",
            &long,
        ] {
            let text = Secrets::parse(list).unwrap_err().to_string();
            assert!(text.starts_with("item 1: ") && !text.contains("a1b2c3"), "{text}");
        }
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let text = SigningSecret::from_env("NO_SUCH_VARIABLE").unwrap_err().to_string();
        assert!(text.starts_with("NO_SUCH_VARIABLE: it is not set"), "{text}");
    }

    #[test]
    fn decimal_writes_what_format_writes() {
        for number in [0, 9, 10, 1_700_000_000, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
