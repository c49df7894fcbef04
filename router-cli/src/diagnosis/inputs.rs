//! Secrets and headers as the user gave them, and candidates for their original values.

use router_core::{
    Secrets, SigningSecret,
    signature::{EndpointName, SecretError},
};

/// A secret as given, valid or not.
#[derive(Clone)]
pub(crate) struct SecretInput {
    endpoint: String,
    text: String,
}

/// A candidate for the original secret.
pub(super) struct SecretCandidate {
    pub(super) secret: SigningSecret,
    /// The alteration that was undone; `None` for the secret as given.
    pub(super) alteration: Option<&'static str>,
}

/// Undoes an alteration. Returns `None` if it cannot have been made.
type Undo = fn(&str) -> Option<String>;

/// Alterations that happen to a secret between the dashboard and the environment.
const SECRET_ALTERATIONS: [(&str, Undo); 4] = [
    ("there is white space around it", |text| Some(text.trim().to_owned())),
    ("there are quotation marks around it", |text| {
        Some(text.trim().trim_matches(['"', '\'', '`']).to_owned())
    }),
    ("its prefix `whsec_` is missing", |text| Some(format!("whsec_{}", text.trim()))),
    ("its prefix `whsec_` is doubled", |text| Some(text.trim().strip_prefix("whsec_")?.to_owned())),
];

impl SecretInput {
    /// Parses a list as [`router_core::Secrets`] does, but keeps invalid secrets, because one of
    /// them may be the cause of the mismatch.
    pub(crate) fn parse_list(text: &str) -> Vec<Self> {
        text.split(',')
            .flat_map(|item| {
                let (endpoint, texts) = match item.split_once('=') {
                    // Otherwise the part before `=` may itself be a secret: base64 or an API key.
                    // It must not be printed as an endpoint's name.
                    Some((name, texts)) if is_endpoint_name(name.trim(), texts) => {
                        (name.trim(), texts)
                    }
                    _ => (EndpointName::DEFAULT, item),
                };
                let input =
                    |text: &str| Self { endpoint: endpoint.to_owned(), text: text.to_owned() };
                texts.split('|').map(input).collect::<Vec<_>>()
            })
            .collect()
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Parses the secret as given.
    pub(super) fn parse(&self) -> Result<SigningSecret, SecretError> {
        SigningSecret::new(&self.text)
    }

    /// Returns the secret as given and with each alteration undone, if they are valid.
    pub(super) fn candidates(&self) -> impl Iterator<Item = SecretCandidate> {
        let restored = SECRET_ALTERATIONS
            .iter()
            .filter_map(|(alteration, undo)| Some((Some(*alteration), undo(&self.text)?)));
        let texts = [(None, self.text.clone())].into_iter().chain(restored);
        texts.filter_map(|(alteration, text)| {
            let secret = SigningSecret::new(&text).ok()?.named(&self.endpoint);
            Some(SecretCandidate { secret, alteration })
        })
    }
}

/// Returns whether a server would accept this text as an endpoint's name in front of these secrets.
fn is_endpoint_name(name: &str, texts: &str) -> bool {
    let is_blank = texts.trim_matches('=').trim().is_empty();
    !is_blank && Secrets::parse(&format!("{name}=whsec_placeholder")).is_ok()
}

/// Alterations that happen to a header that is copied from a log.
const HEADER_ALTERATIONS: [(&str, Undo); 4] = [
    ("there is white space around it", |text| Some(text.trim().to_owned())),
    ("there are quotation marks around it", |text| {
        Some(text.trim().trim_matches(['"', '\'', '`']).to_owned())
    }),
    ("the header's name is in front of its value", |text| {
        let text = text.trim();
        let (name, value) = text.split_once(':')?;
        name.eq_ignore_ascii_case("stripe-signature").then(|| value.trim().to_owned())
    }),
    ("its hexadecimal digits are in upper case", |text| Some(text.trim().to_ascii_lowercase())),
];

/// Returns candidates for the original header, each with the alteration that was undone.
pub(super) fn header_candidates(text: &str) -> impl Iterator<Item = (&'static str, String)> {
    HEADER_ALTERATIONS.iter().filter_map(move |(alteration, undo)| {
        Some((*alteration, undo(text).filter(|original| original != text)?))
    })
}
