//! A key of Stripe's API.

use std::{env, fmt};

use zeroize::Zeroizing;

/// A secret key (`sk_…`) or a restricted key (`rk_…`) of Stripe's API.
///
/// A restricted key is enough. If it lacks a permission, Stripe's message in the
/// [`Error`](crate::Error) names the permission. The key is zeroized on drop and not shown by
/// `Debug`.
#[derive(Clone)]
pub struct ApiKey(Zeroizing<String>);

/// The reason why a text is not an API key. No variant contains the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeyError {
    /// The environment variable is not set, or is not valid Unicode.
    #[error(
        "the environment variable {0} is not set; set it to an API key of Stripe (rk_… or sk_…)"
    )]
    Missing(String),
    /// The text is empty, or has a character that no key has, such as a space or a line break.
    #[error(
        "the API key is empty, or has a character that no key has; copy it again, without spaces, \
         quotes and line breaks"
    )]
    Malformed,
    /// The text is a publishable key, which cannot read from the API.
    #[error("`pk_…` is a publishable key, which is for browsers; use a restricted key (rk_…)")]
    Publishable,
    /// The text is the signing secret of a webhook endpoint.
    #[error("`whsec_…` is the signing secret of an endpoint; use a restricted key (rk_…)")]
    SigningSecret,
    /// The text does not begin like an API key.
    #[error("an API key of Stripe begins with rk_ or sk_; use a restricted key (rk_…)")]
    UnknownPrefix,
}

impl ApiKey {
    /// Creates a key from its text.
    ///
    /// # Errors
    ///
    /// Fails if the text cannot be an API key, see [`ApiKeyError`].
    pub fn new(text: &str) -> Result<Self, ApiKeyError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if text.is_empty() || !text.bytes().all(is_plain) {
            return Err(ApiKeyError::Malformed);
        }
        match text.split_once('_') {
            Some(("sk" | "rk", rest)) if !rest.is_empty() => Ok(Self(text.to_owned().into())),
            Some(("pk", _)) => Err(ApiKeyError::Publishable),
            Some(("whsec", _)) => Err(ApiKeyError::SigningSecret),
            _ => Err(ApiKeyError::UnknownPrefix),
        }
    }

    /// Reads a key from an environment variable.
    ///
    /// # Errors
    ///
    /// Fails if the variable is not set, or if its value cannot be an API key.
    pub fn from_env(variable: &str) -> Result<Self, ApiKeyError> {
        let text = env::var(variable).map_err(|_| ApiKeyError::Missing(variable.to_owned()))?;
        Self::new(&Zeroizing::new(text))
    }

    /// Returns whether the key is for live mode, where real money moves.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0.contains("_live_")
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("is_live", &self.is_live()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiKey, ApiKeyError};

    #[test]
    fn debug_does_not_show_key() {
        let key = ApiKey::new("rk_live_51Habc").expect("key is valid");
        assert_eq!(format!("{key:?}"), "ApiKey { is_live: true, .. }");
    }

    #[test]
    fn other_secrets_and_typos_are_refused() {
        for (text, expected) in [
            ("", ApiKeyError::Malformed),
            ("sk_test_1 ", ApiKeyError::Malformed),
            ("sk_test_1\n", ApiKeyError::Malformed),
            ("\"sk_test_1\"", ApiKeyError::Malformed),
            ("sk_test_ü", ApiKeyError::Malformed),
            ("pk_test_1", ApiKeyError::Publishable),
            ("whsec_1", ApiKeyError::SigningSecret),
            ("sk_", ApiKeyError::UnknownPrefix),
            ("acct_1", ApiKeyError::UnknownPrefix),
            ("null", ApiKeyError::UnknownPrefix),
        ] {
            assert_eq!(ApiKey::new(text).map(|_| ()), Err(expected), "{text:?}");
        }
    }
}
