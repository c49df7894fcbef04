//! The list of secrets that an event may be signed with.

use std::sync::Arc;

use super::{
    EndpointName, SecretError, SigningSecret,
    secret::{read_env, refuse_api_key},
};

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
                Some((name, texts)) if !is_padded_secret(item) => (name.trim(), texts),
                _ => (EndpointName::DEFAULT, item),
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

/// Returns whether all `=` of this item are the padding of a secret, so that it has no name.
fn is_padded_secret(item: &str) -> bool {
    item.starts_with("whsec_") && !item.trim_end_matches('=').contains('=')
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
}
