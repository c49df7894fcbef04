//! A signing secret, with the name of its endpoint.

use std::{env, fmt, ops::Deref, sync::Arc};

use hmac::{Hmac, KeyInit as _, Mac as _, digest::CtOutput};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::SecretError;

/// A MAC. Comparing two takes constant time.
pub(super) type Mac = CtOutput<Hmac<Sha256>>;

/// The operator's name for a webhook endpoint, such as `platform`, `connect` or `thin`.
///
/// Stripe gives each endpoint its own secret, so the matching secret identifies the endpoint that
/// an event was sent to. With a secret of [two endpoints](SigningSecret::connect_named), the
/// account of the event decides.
///
/// A handler takes it as an argument. It derefs to `str`.
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

impl Deref for EndpointName {
    type Target = str;

    fn deref(&self) -> &str {
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
/// The whole text is the key, including its prefix. The text is not stored. Only the prepared
/// key is stored, which is zeroized on drop and not shown by `Debug`.
#[derive(Clone)]
pub struct SigningSecret {
    names: EndpointNames,
    key: Hmac<Sha256>,
    /// `true` if the secret begins with `whsec_`, as those of Stripe do.
    has_prefix: bool,
}

/// The names of the endpoints whose events a secret signs. `Display` writes them as in
/// [`Secrets::parse`](super::Secrets::parse).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndpointNames {
    own: EndpointName,
    /// The endpoint of the events of connected accounts, if it is another one.
    connect: Option<EndpointName>,
}

impl EndpointNames {
    /// Returns the endpoint to which an event of this account belongs. `None` is the account that
    /// has the endpoint.
    pub(crate) fn of(&self, account: Option<&str>) -> &EndpointName {
        self.connect.as_ref().filter(|_| account.is_some()).unwrap_or(&self.own)
    }
}

impl From<EndpointName> for EndpointNames {
    fn from(own: EndpointName) -> Self {
        Self { own, connect: None }
    }
}

impl fmt::Display for EndpointNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.own)?;
        self.connect.as_ref().map_or(Ok(()), |connect| write!(f, "+{connect}"))
    }
}

/// The prefix of Stripe's signing secrets.
pub(super) const PREFIX: &str = "whsec_";

/// The base64 of [`PREFIX`]. The prefix is two whole groups, so it does not depend on the rest of
/// the secret.
pub(super) const PREFIX_IN_BASE64: &str = "d2hzZWNf";

/// The words that templates and forms write for a missing value.
const PLACEHOLDERS: [&str; 9] =
    ["null", "undefined", "none", "nil", "true", "false", "changeme", "todo", "secret"];

impl SigningSecret {
    /// Creates a secret of the endpoint [`EndpointName::DEFAULT`].
    ///
    /// Stripe's secrets are `whsec_`, followed by letters and digits. Secrets of any length and
    /// with another prefix are accepted, because some test tools make their own. An
    /// [`Endpoint`](crate::Endpoint) logs a warning about another prefix when it is created.
    ///
    /// # Errors
    ///
    /// Fails if the text cannot be a signing secret:
    ///
    /// - It is blank, has white space around it, or is only the prefix.
    /// - It is an API key, the id of an endpoint, a secret in base64, or a word such as `null`.
    /// - It has a character other than an ASCII letter, a digit, `_`, `-`, `+` or `/`, or an `=`
    ///   that is not at its end.
    #[expect(clippy::missing_panics_doc, reason = "HMAC takes a key of any length")]
    pub fn new(text: &str) -> Result<Self, SecretError> {
        check_text(text)?;
        let key = Hmac::new_from_slice(text.as_bytes()).expect("HMAC takes a key of any length");
        let names = EndpointName::new(EndpointName::DEFAULT).into();
        Ok(Self { names, key, has_prefix: text.starts_with(PREFIX) })
    }

    /// Sets the name of the secret's endpoint.
    #[must_use]
    pub fn named(mut self, endpoint: &str) -> Self {
        self.names.own = EndpointName::new(endpoint);
        self
    }

    /// Sets the name of the endpoint to which the events of connected accounts belong, for a secret
    /// that signs the events of two endpoints. All other events belong to the endpoint of
    /// [`named`](SigningSecret::named).
    ///
    /// `stripe listen` is such a signer: it forwards the events of the platform and those of its
    /// connected accounts, and signs all of them with one secret. An endpoint at Stripe has a
    /// secret of its own.
    ///
    /// ```
    /// use router_core::SigningSecret;
    ///
    /// let secret = SigningSecret::new("whsec_test")?.named("platform").connect_named("connect");
    /// # let _ = secret;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn connect_named(mut self, endpoint: &str) -> Self {
        self.names.connect = Some(EndpointName::new(endpoint));
        self
    }

    /// Reads one secret from an environment variable.
    /// [`Secrets::from_env`](super::Secrets::from_env) reads several.
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
        &self.names.own
    }

    /// Returns the name of the endpoint to which the events of connected accounts belong, if it is
    /// another one than [`endpoint`](SigningSecret::endpoint).
    #[must_use]
    pub fn connect_endpoint(&self) -> Option<&EndpointName> {
        self.names.connect.as_ref()
    }

    /// Returns the names of the endpoints that the secret signs events for: one, or two if it has
    /// a [`connect_endpoint`](SigningSecret::connect_endpoint).
    pub fn endpoints(&self) -> impl Iterator<Item = &EndpointName> {
        [Some(&self.names.own), self.names.connect.as_ref()].into_iter().flatten()
    }

    pub(crate) fn endpoint_names(&self) -> &EndpointNames {
        &self.names
    }

    /// Returns whether both have the same key. Takes constant time.
    pub(super) fn has_same_key(&self, other: &Self) -> bool {
        self.mac(0, b"") == other.mac(0, b"")
    }

    /// Returns whether the secret begins with `whsec_`, as those of Stripe do.
    pub(crate) fn has_prefix(&self) -> bool {
        self.has_prefix
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
            .field("endpoint", &self.names.own.as_str())
            .field("connect", &self.names.connect.as_ref().map(EndpointName::as_str))
            .field("key", &format_args!("<redacted>"))
            .finish()
    }
}

/// Checks that a text can be a signing secret.
fn check_text(text: &str) -> Result<(), SecretError> {
    if matches!(text.trim().trim_end_matches('='), "" | PREFIX) {
        return Err(SecretError::Blank);
    }
    if text.trim() != text {
        return Err(SecretError::Whitespace);
    }
    refuse_api_key(text)?;
    if let Some(prefix) = ["we_", "ed_"].into_iter().find(|prefix| text.starts_with(prefix)) {
        return Err(SecretError::EndpointId { prefix });
    }
    if text.starts_with(PREFIX_IN_BASE64) {
        return Err(SecretError::Base64);
    }
    if PLACEHOLDERS.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Err(SecretError::Placeholder);
    }
    if text.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with(PREFIX)) {
        return Err(SecretError::DoublePrefix);
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-+/".contains(c);
    let mut characters = text.trim_end_matches('=').chars().zip(1..);
    match characters.find(|(character, _)| !is_allowed(*character)) {
        Some((character, position)) => Err(SecretError::Character { character, position }),
        None => Ok(()),
    }
}

pub(super) fn refuse_api_key(text: &str) -> Result<(), SecretError> {
    match ["sk_", "rk_", "pk_"].into_iter().find(|prefix| text.starts_with(prefix)) {
        Some(prefix) => Err(SecretError::ApiKey { prefix }),
        None => Ok(()),
    }
}

pub(super) fn read_env(variable: &str) -> Result<Zeroizing<String>, SecretError> {
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
    use crate::signature::Secrets;

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
    fn text_that_cannot_be_a_secret_is_refused_with_its_cause() {
        for (text, reason) in [
            ("\"whsec_a1b2c3\"", "number 1 is `\"`: remove the quotation marks"),
            ("we_1a1b2c3", "this is the id of an endpoint (`we_…`)"),
            ("${STRIPE_WEBHOOK_SECRET}", "number 1 is `$`: this is a placeholder that was not"),
            ("whsec_a;whsec_a1b2c3", "number 8 is `;`: write `,` between the secrets"),
            ("whsec_a # a1b2c3", "number 8 is a space: remove the comment"),
            ("d2hzZWNfYTFiMmMz", "this is a signing secret in base64"),
            ("whsec_a\u{200b}", "number 8 is U+200B: remove it; it may be invisible"),
            ("whsec_a\u{1b}[2J", "number 8 is U+001B"),
            ("undefined", "this is a word that stands for a missing secret"),
            ("NULL", "this is a word that stands for a missing secret"),
            ("whsec_whsec_a1b2c3", "begins with `whsec_` twice"),
            ("whsec_", "blank"),
            ("==", "blank"),
            ("whsec_a…", "this is a shortened secret"),
            ("whsec_a=a1b2c3", "number 8 is `=`: remove the text behind"),
        ] {
            let error = SigningSecret::new(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains("a1b2c3") && !error.contains('\u{1b}'), "{error}");
        }
        for text in ["whsec_a", "whsec_A1/b+2==", "a-b_c"] {
            let secret = SigningSecret::new(text).unwrap();
            assert_eq!(secret.has_prefix(), text.starts_with("whsec_"), "{text}");
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
