//! What the user has given us: secrets and a header, and what they most likely should have been.

use router_core::{
    Secrets, SigningSecret,
    signature::{EndpointName, SecretError},
};

/// A secret, as it was given.
#[derive(Clone)]
pub(crate) struct GivenSecret {
    name: String,
    text: String,
}

/// What can be tried: a secret, and how it differs from what was given.
pub(super) struct Candidate {
    pub(super) secret: SigningSecret,
    /// None: it is what was given.
    pub(super) change: Option<&'static str>,
}

/// Undoes a change; none where it cannot have been made.
type Undo = fn(&str) -> Option<String>;

/// What is done to secrets on their way from the dashboard.
const CHANGES: [(&str, Undo); 4] = [
    ("there is white space around it", |text| Some(text.trim().to_owned())),
    ("there are quotation marks around it", |text| {
        Some(text.trim().trim_matches(['"', '\'', '`']).to_owned())
    }),
    ("`whsec_` is missing before it", |text| Some(format!("whsec_{}", text.trim()))),
    ("`whsec_` stands before it twice", |text| {
        Some(text.trim().strip_prefix("whsec_")?.to_owned())
    }),
];

impl GivenSecret {
    /// Reads a list as [`router_core::Secrets`] does, and keeps what is no secret: that may be the cause.
    pub(crate) fn list(text: &str) -> Vec<Self> {
        text.split(',')
            .flat_map(|item| {
                let (name, texts) = match item.split_once('=') {
                    // Whatever else it is, base64 or an API key, it names nobody, and is not shown.
                    Some((name, texts)) if is_name(name.trim(), texts) => (name.trim(), texts),
                    _ => (EndpointName::DEFAULT, item),
                };
                let of = |text: &str| Self { name: name.to_owned(), text: text.to_owned() };
                texts.split('|').map(of).collect::<Vec<_>>()
            })
            .collect()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The secret, or why it is none.
    pub(super) fn secret(&self) -> Result<SigningSecret, SecretError> {
        SigningSecret::new(&self.text)
    }

    /// The secret, and what it may have been meant to be.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Candidate> {
        let changed =
            CHANGES.iter().filter_map(|(what, undo)| Some((Some(*what), undo(&self.text)?)));
        let texts = [(None, self.text.clone())].into_iter().chain(changed);
        texts.filter_map(|(change, text)| {
            let secret = SigningSecret::new(&text).ok()?.named(&self.name);
            Some(Candidate { secret, change })
        })
    }
}

/// Whether a server would take this for an endpoint's name, before such secrets.
fn is_name(name: &str, texts: &str) -> bool {
    let is_blank = texts.trim_matches('=').trim().is_empty();
    !is_blank && Secrets::parse(&format!("{name}=whsec_of_it")).is_ok()
}

/// What is done to headers on their way from a log.
const HEADER_CHANGES: [(&str, Undo); 4] = [
    ("there is white space around it", |text| Some(text.trim().to_owned())),
    ("there are quotation marks around it", |text| {
        Some(text.trim().trim_matches(['"', '\'', '`']).to_owned())
    }),
    ("the header's name stands before it", |text| {
        let text = text.trim();
        let (name, value) = text.split_once(':')?;
        name.eq_ignore_ascii_case("stripe-signature").then(|| value.trim().to_owned())
    }),
    ("its digits are in upper case", |text| Some(text.trim().to_ascii_lowercase())),
];

/// What a header may have been, with what then happened to it.
pub(super) fn headers(text: &str) -> impl Iterator<Item = (&'static str, String)> {
    HEADER_CHANGES
        .iter()
        .filter_map(move |(what, undo)| Some((*what, undo(text).filter(|was| was != text)?)))
}
