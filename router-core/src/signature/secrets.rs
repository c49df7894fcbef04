//! The list of secrets that an event may be signed with.

use std::sync::Arc;

use super::{
    EndpointName, SecretError, SigningSecret,
    secret::{PREFIX, PREFIX_IN_BASE64, read_env, refuse_api_key},
};

/// All secrets that an event may be signed with: one or more for each endpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Secrets(Arc<[SigningSecret]>);

impl Secrets {
    /// Parses a list of secrets. Its items are separated by `,`, and each has the secrets of one
    /// endpoint, or of two with `+` between their names.
    ///
    /// - `whsec_a` is the secret of the endpoint [`EndpointName::DEFAULT`].
    /// - `connect=whsec_a` is the secret of the endpoint `connect`.
    /// - `connect=whsec_new|whsec_old` are two secrets of one endpoint, while a secret is rolled.
    /// - `platform+connect=whsec_a` is the secret of two endpoints, for `stripe listen`. Events of
    ///   connected accounts belong to `connect`, all others to `platform` (see
    ///   [`SigningSecret::connect_named`]).
    ///
    /// # Errors
    ///
    /// - Fails if an item has an invalid secret or an invalid endpoint name. If the list has more
    ///   than a single secret without a name, the error states the item's position.
    /// - Fails if two items with different names have the same secret.
    /// - Fails if one of several items has neither a name nor the prefix `whsec_`:
    ///   `platform,connect=…`.
    pub fn parse(list: &str) -> Result<Self, SecretError> {
        if !list.contains([',', '=', '|']) {
            return SigningSecret::new(list).map(Self::from);
        }
        let mut secrets = Vec::new();
        let has_several_items = list.contains(',');
        for (index, item) in list.split(',').enumerate() {
            let place = format!("item {}", index + 1);
            let parsed = parse_item(item, &place)?;
            // A name must not become a secret, because anyone can guess it.
            if has_several_items
                && !item.contains('=')
                && !parsed.iter().all(SigningSecret::has_prefix)
            {
                return Err(SecretError::NameOrSecret.with_place(&place));
            }
            secrets.extend(parsed);
        }
        let secrets = Self(secrets.into());
        match secrets.shared() {
            Some([first, second]) => Err(SecretError::SharedSecret {
                first: first.endpoint_names().to_string(),
                second: second.endpoint_names().to_string(),
            }),
            None => Ok(secrets),
        }
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

    /// Returns the names of the endpoints, each once, in the order of their secrets.
    pub fn endpoints(&self) -> impl Iterator<Item = &EndpointName> {
        let mut names: Vec<&EndpointName> = Vec::new();
        for name in self.iter().flat_map(SigningSecret::endpoints) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.into_iter()
    }

    /// Returns the first two secrets that have the same key but not the same endpoint.
    pub(crate) fn shared(&self) -> Option<[&SigningSecret; 2]> {
        self.iter().zip(1..).find_map(|(secret, next)| {
            let others = self.0[next..].iter();
            let mut shared = others.filter(|other| {
                other.endpoint_names() != secret.endpoint_names() && other.has_same_key(secret)
            });
            shared.next().map(|other| [secret, other])
        })
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

/// Parses one item of a list: the secrets of one endpoint, or of two with `+` between their names.
fn parse_item(item: &str, place: &str) -> Result<Vec<SigningSecret>, SecretError> {
    let (names, texts) = match item.split_once('=') {
        Some((names, texts)) if !is_padded_secret(item) => (names.trim(), texts),
        _ => (EndpointName::DEFAULT, item),
    };
    let (name, connect) = match names.split_once('+') {
        Some((name, connect)) => (name.trim(), Some(connect.trim())),
        None => (names, None),
    };
    for name in [name].into_iter().chain(connect) {
        check_name(name).map_err(|error| error.with_place(place))?;
    }
    if texts.trim_matches('=').trim().is_empty() {
        // `names` may be a secret in base64 with its `=` padding, so it is not shown.
        return Err(SecretError::Blank.with_place(place));
    }
    let parse = |text| {
        let secret = SigningSecret::new(text)
            .map_err(|error| error.with_place(&format!("{place} (`{names}`)")))?
            .named(name);
        Ok(match connect {
            Some(connect) => secret.connect_named(connect),
            None => secret,
        })
    };
    texts.split('|').map(parse).collect()
}

/// Returns whether the item is a secret without a name, whose only `=` are its padding.
fn is_padded_secret(item: &str) -> bool {
    [PREFIX, PREFIX_IN_BASE64].into_iter().any(|prefix| item.starts_with(prefix))
        && !item.trim_end_matches('=').contains('=')
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
            r#"Secrets([SigningSecret { endpoint: "connect", connect: None, key: <redacted> }])"#
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
    fn secret_of_two_endpoints_names_both() {
        let secrets =
            Secrets::parse("platform + connect=whsec_new|whsec_old,thin=whsec_t").unwrap();
        let endpoints: Vec<&str> = secrets.endpoints().map(EndpointName::as_str).collect();
        assert_eq!(endpoints, ["platform", "connect", "thin"]);
        for (list, reason) in [
            ("platform+=whsec_a", "an endpoint's name is missing"),
            ("+connect=whsec_a", "an endpoint's name is missing"),
            ("a+b+c=whsec_a", "not a valid endpoint name"),
            ("platform+whsec_a1b2c3=whsec_a", "not a valid endpoint name"),
        ] {
            let error = Secrets::parse(list).unwrap_err().to_string();
            assert!(error.starts_with("item 1: ") && error.contains(reason), "{list}: {error}");
            assert!(!error.contains("a1b2c3"), "{error}");
        }
    }

    #[test]
    fn equal_secrets_of_two_endpoints_are_refused() {
        for (list, first, second) in [
            ("platform=whsec_a,connect=whsec_a", "platform", "connect"),
            ("platform=whsec_b|whsec_a,whsec_c,connect=whsec_a", "platform", "connect"),
            ("platform+connect=whsec_a,connect=whsec_a", "platform+connect", "connect"),
            ("whsec_a,connect=whsec_a", "default", "connect"),
        ] {
            let [first, second] = [first, second].map(str::to_owned);
            let error = Secrets::parse(list).unwrap_err();
            assert_eq!(error, SecretError::SharedSecret { first, second }, "{list}");
        }
        assert!(Secrets::parse("a=whsec_a|whsec_a,a=whsec_a").is_ok(), "one endpoint");
    }

    #[test]
    fn item_without_name_and_prefix_is_refused() {
        for list in ["platform,connect=whsec_a", "whsec_a,connect", "a1b2c3,thin=whsec_a"] {
            let text = Secrets::parse(list).unwrap_err().to_string();
            assert!(text.contains("neither a name") && !text.contains("a1b2c3"), "{list}: {text}");
        }
        assert!(Secrets::parse("a=test|test-2,b=test-3").is_ok(), "secrets of a test tool");
    }

    /// Secrets of the dashboard (38 characters) and of `stripe listen` (70) have padding in base64.
    #[test]
    fn padded_base64_is_reported_as_base64() {
        for list in ["d2hzZWNfYTFiMg==", "d2hzZWNfYTFiMmM=", "a=d2hzZWNfYTFiMg=="] {
            let text = Secrets::parse(list).unwrap_err().to_string();
            assert!(text.contains("this is a signing secret in base64"), "{list}: {text}");
        }
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
