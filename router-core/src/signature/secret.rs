//! Signing secrets, each with the name of its endpoint.

use std::{env, fmt, sync::Arc};

use hmac::{Hmac, KeyInit as _, Mac as _, digest::CtOutput};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A MAC. Comparing two takes constant time.
pub(super) type Mac = CtOutput<Hmac<Sha256>>;

/// The operator's name for a webhook endpoint, such as `platform`, `connect` or `thin`.
///
/// Stripe gives each endpoint its own secret, so the secret that matched tells which endpoint an
/// event was sent to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointName(Arc<str>);

impl EndpointName {
    /// The name of an endpoint whose secrets are configured without a name.
    pub const DEFAULT: &'static str = "default";

    pub(crate) fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for EndpointName {
    fn as_ref(&self) -> &str {
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
/// The whole text is the key, including its prefix. The text is not kept in memory. Only the
/// prepared key is, which is zeroized on drop and not shown by `Debug`.
#[derive(Clone)]
pub struct SigningSecret {
    endpoint: EndpointName,
    key: Hmac<Sha256>,
}

impl SigningSecret {
    /// Creates a secret of the endpoint [`EndpointName::DEFAULT`].
    ///
    /// # Errors
    ///
    /// Fails if the text is blank, has white space around it, or is an API key.
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

    /// Sets the name of the secret's endpoint.
    #[must_use]
    pub fn named(self, endpoint: &str) -> Self {
        Self { endpoint: EndpointName::new(endpoint), ..self }
    }

    /// Reads one secret from an environment variable. [`Secrets::from_env`] reads several.
    ///
    /// # Errors
    ///
    /// Fails if the variable is not set, is not Unicode, or is not a secret.
    pub fn from_env(variable: &str) -> Result<Self, SecretError> {
        read_env(variable)
            .and_then(|text| Self::new(&text))
            .map_err(|error| error.with_place(variable))
    }

    /// Returns the name of the secret's endpoint.
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

/// All secrets that an event may be signed with: one or more for each endpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Secrets(Arc<[SigningSecret]>);

impl Secrets {
    /// Parses a list of secrets: `whsec_a`, or `whsec_new|whsec_old` while a secret is being
    /// rolled, or `platform=whsec_a,connect=whsec_b` for several endpoints.
    ///
    /// # Errors
    ///
    /// Fails if an item is not a secret. The error states the position of the first such item.
    pub fn parse(list: &str) -> Result<Self, SecretError> {
        let mut secrets = Vec::new();
        let is_single = !list.contains([',', '=', '|']);
        for (index, item) in list.split(',').enumerate() {
            let (name, texts) = match item.split_once('=') {
                None => (EndpointName::DEFAULT, item),
                Some((name, texts)) => (name.trim(), texts),
            };
            let place = format!("item {}", index + 1);
            check_name(name).map_err(|error| error.with_place(&place))?;
            if texts.trim_matches('=').trim().is_empty() {
                // `name` may be a secret in base64 with its `=` padding, so it is not shown.
                return Err(if is_single {
                    SecretError::Blank
                } else {
                    SecretError::Blank.with_place(&place)
                });
            }
            for text in texts.split('|') {
                let secret = SigningSecret::new(text).map_err(|error| match is_single {
                    true => error,
                    false => error.with_place(&format!("{place} (`{name}`)")),
                })?;
                secrets.push(secret.named(name));
            }
        }
        Ok(Self(secrets.into()))
    }

    /// Reads a list of secrets from an environment variable, in the format of
    /// [`parse`](Secrets::parse).
    ///
    /// # Errors
    ///
    /// Fails if the variable is not set, is not Unicode, or is not a list of secrets.
    pub fn from_env(variable: &str) -> Result<Self, SecretError> {
        read_env(variable)
            .and_then(|text| Self::parse(&text))
            .map_err(|error| error.with_place(variable))
    }

    /// Returns the names of the endpoints, each once for each of its secrets.
    pub fn endpoints(&self) -> impl Iterator<Item = &EndpointName> {
        self.iter().map(SigningSecret::endpoint)
    }

    /// Returns the secrets, in the order in which they are tried.
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
    fn with_place(self, place: &str) -> Self {
        Self::At { place: place.to_owned(), error: Box::new(self) }
    }
}

fn refuse_api_key(text: &str) -> Result<(), SecretError> {
    match ["sk_", "rk_", "pk_"].into_iter().find(|prefix| text.starts_with(prefix)) {
        Some(prefix) => Err(SecretError::ApiKey { prefix }),
        None => Ok(()),
    }
}

/// Checks the name of an endpoint. Names are shown in errors and logs, so a text that may be a
/// secret is not accepted as a name.
fn check_name(name: &str) -> Result<(), SecretError> {
    if name.is_empty() {
        return Err(SecretError::NoName);
    }
    refuse_api_key(name)?;
    let is_name_char = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.len() > 40 || name.starts_with("whsec_") || !name.chars().all(is_name_char) {
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

/// Writes the decimal digits of `number` to the end of `buffer`, and returns them.
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
    fn list_is_parsed_with_endpoint_names() {
        let secrets =
            Secrets::parse("platform=whsec_new|whsec_old,connect=whsec_c,whsec_d").unwrap();
        let names: Vec<&str> = secrets.iter().map(|secret| secret.endpoint().as_str()).collect();
        assert_eq!(names, ["platform", "platform", "connect", "default"]);
    }

    #[test]
    fn invalid_secret_is_reported_with_its_place() {
        let error_for = |text: &str| SigningSecret::new(text).unwrap_err();
        assert_eq!(error_for(""), SecretError::Blank);
        assert_eq!(error_for(" \n"), SecretError::Blank);
        assert_eq!(error_for("whsec_a\n"), SecretError::Whitespace);
        assert_eq!(error_for("sk_live_abc"), SecretError::ApiKey { prefix: "sk_" });
        assert_eq!(error_for("rk_live_abc"), SecretError::ApiKey { prefix: "rk_" });

        let text = Secrets::parse("whsec_a,connect=sk_live_abc").unwrap_err().to_string();
        assert!(text.starts_with("item 2 (`connect`): this is an API key (`sk_…`)"), "{text}");
        assert_eq!(Secrets::parse("sk_live_abc").unwrap_err(), error_for("sk_live_abc"));
        assert!(Secrets::parse("whsec_a,").is_err());
        assert!(Secrets::parse("=whsec_a").is_err());
        assert!(Secrets::parse("whsec_a|").is_err());
    }

    #[test]
    fn invalid_name_is_not_shown() {
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
    fn unset_variable_is_named() {
        let text = SigningSecret::from_env("NO_SUCH_VARIABLE").unwrap_err().to_string();
        assert!(text.starts_with("NO_SUCH_VARIABLE: it is not set"), "{text}");
    }

    #[test]
    fn decimal_agrees_with_format() {
        for number in [0, 9, 10, 1_700_000_000, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
