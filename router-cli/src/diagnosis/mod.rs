//! Finds out why a signature is invalid.
//!
//! Verifies the inputs as given first, and then with common alterations undone: a secret with
//! quotation marks, a header with its name, a body that was encoded or serialized again.

mod alterations;
mod bodies;
mod encodings;
mod event_facts;
mod inputs;
mod json;
mod layouts;
mod remedies;
mod unreadable;

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use router_core::{
    Secrets, SigningSecret,
    signature::{SignatureError, Tolerance, VerifiedPayload, verify},
};

pub(crate) use self::{
    alterations::Alteration, event_facts::EventFacts, inputs::SecretInput, remedies::RAW_BODY,
    unreadable::Unreadable,
};
use self::{
    bodies::{altered_event, body_candidates},
    inputs::header_candidates,
};

/// The inputs of a verification, as the user gave them.
#[derive(Clone)]
pub(crate) struct Inputs {
    pub(crate) header: String,
    pub(crate) body: Bytes,
    pub(crate) secrets: Vec<SecretInput>,
    pub(crate) tolerance: Tolerance,
    /// The time of the verification, in seconds since the Unix epoch.
    pub(crate) now: u64,
}

/// The result of a diagnosis.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Diagnosis {
    /// The signature is valid.
    Verified {
        verified: Verified,
        /// The endpoint's secrets that match, counted from 1.
        matching: Vec<usize>,
        /// The number of secrets given for the endpoint.
        secrets: usize,
        /// The other endpoints for which secrets were given.
        other_endpoints: Vec<String>,
    },
    /// The signature matches, but its age exceeds the tolerance.
    TooOld { verified: Verified, limit: u64 },
    /// The body is empty.
    EmptyBody,
    /// The header cannot be parsed.
    MalformedHeader(SignatureError),
    /// The signature is valid if this alteration of the header is undone.
    HeaderAltered { alteration: &'static str, verified: Verified },
    /// A given secret is not a signing secret.
    InvalidSecret { endpoint: String, error: String },
    /// The signature is valid if this alteration of the secret is undone.
    SecretAltered { alteration: &'static str, verified: Verified },
    /// The signature is valid if these alterations of the body are undone.
    BodyAltered { alterations: Vec<Alteration>, verified: Verified },
    /// The signature is valid for the same JSON in another layout.
    BodyReserialized { signed_layout: String, verified: Verified },
    /// No known alteration explains the mismatch.
    Mismatch { endpoints: Vec<String>, body: UnmatchedBody },
}

/// Facts about a signature that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    /// The endpoint whose secret matches.
    pub(crate) endpoint: String,
    /// The time of the signature, in seconds since the Unix epoch.
    pub(crate) signed_at: u64,
    pub(crate) now: u64,
}

/// The body of a signature that does not match.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UnmatchedBody {
    Event(EventFacts),
    /// An event, if these alterations are undone. The signature does not match then either.
    Altered {
        alterations: Vec<Alteration>,
        event: EventFacts,
    },
    Unreadable(Unreadable),
    /// JSON, but not an event.
    NoEvent,
}

impl Inputs {
    pub(crate) fn diagnose(&self) -> Diagnosis {
        let unaltered: Secrets = self
            .secret_candidates()
            .filter_map(|(alteration, secret)| alteration.is_none().then_some(secret))
            .collect();
        match self.verify(&self.header, &self.body, &unaltered, self.tolerance) {
            Ok(verified) => return self.verified(verified),
            Err(SignatureError::TooOld { limit, .. }) => {
                if let Some(verified) = self.verify_any_age(&self.header, &self.body, &unaltered) {
                    return Diagnosis::TooOld { verified, limit };
                }
            }
            Err(SignatureError::NoMatch { .. }) => {}
            Err(error) => return self.diagnose_header(error),
        }
        // Includes the restored secrets: a secret with white space around it is invalid as given,
        // and the body may have been altered too.
        let restored: Secrets = self.secret_candidates().map(|(_, secret)| secret).collect();
        self.diagnose_secret()
            .or_else(|| self.diagnose_body(&restored))
            .unwrap_or_else(|| self.mismatch())
    }

    /// Diagnoses a header that cannot be parsed as given.
    fn diagnose_header(&self, error: SignatureError) -> Diagnosis {
        let parses = |header: &str| {
            let any_age = Tolerance::without_age_check();
            let result = self.verify(header, &self.body, &Secrets::from_iter([]), any_age);
            matches!(result, Err(SignatureError::NoMatch { .. }))
        };
        let Some((alteration, header)) =
            header_candidates(&self.header).find(|(_, header)| parses(header))
        else {
            return Diagnosis::MalformedHeader(error);
        };
        match (Self { header, ..self.clone() }).diagnose() {
            Diagnosis::Verified { verified, .. } => {
                Diagnosis::HeaderAltered { alteration, verified }
            }
            // Of two causes, the other one is harder to see.
            other => other,
        }
    }

    /// Looks for an altered secret that explains the mismatch.
    fn diagnose_secret(&self) -> Option<Diagnosis> {
        for (alteration, secret) in self.secret_candidates() {
            let verified = self.verify_any_age(&self.header, &self.body, &secret.into());
            if let (Some(alteration), Some(verified)) = (alteration, verified) {
                return Some(Diagnosis::SecretAltered { alteration, verified });
            }
        }
        None
    }

    /// Looks for an altered body that explains the mismatch.
    fn diagnose_body(&self, secrets: &Secrets) -> Option<Diagnosis> {
        if self.body.is_empty() {
            return Some(Diagnosis::EmptyBody);
        }
        body_candidates(&self.body).find_map(|candidate| {
            let verified = self.verify_any_age(&self.header, &candidate.body.into(), secrets)?;
            Some(match candidate.signed_layout {
                Some(signed_layout) => Diagnosis::BodyReserialized { signed_layout, verified },
                None => Diagnosis::BodyAltered { alterations: candidate.alterations, verified },
            })
        })
    }

    /// Returns the first secret that is invalid, which is then the likeliest cause.
    fn invalid_secret(&self) -> Option<Diagnosis> {
        self.secrets.iter().find_map(|secret| {
            let (endpoint, error) =
                (secret.endpoint().to_owned(), secret.parse().err()?.to_string());
            Some(Diagnosis::InvalidSecret { endpoint, error })
        })
    }

    fn verified(&self, verified: Verified) -> Diagnosis {
        let mut other_endpoints = self.endpoints();
        other_endpoints.retain(|endpoint| *endpoint != verified.endpoint);
        other_endpoints.dedup();
        let is_of_endpoint = |secret: &&SecretInput| secret.endpoint() == verified.endpoint;
        let secrets: Vec<_> = self.secrets.iter().filter(is_of_endpoint).collect();
        let matches = |secret: &SecretInput| {
            secret.parse().is_ok_and(|secret| {
                self.verify_any_age(&self.header, &self.body, &secret.into()).is_some()
            })
        };
        let matching = secrets.iter().zip(1..).filter(|(secret, _)| matches(secret));
        let matching = matching.map(|(_, number)| number).collect();
        Diagnosis::Verified { verified, matching, secrets: secrets.len(), other_endpoints }
    }

    fn mismatch(&self) -> Diagnosis {
        let body = UnmatchedBody::new(&self.body);
        let is_altered =
            matches!(body, UnmatchedBody::Altered { .. } | UnmatchedBody::Unreadable(_));
        // A secret cannot make up for an altered body, so the body is reported first.
        let invalid_secret = self.invalid_secret().filter(|_| !is_altered);
        invalid_secret.unwrap_or_else(|| Diagnosis::Mismatch { endpoints: self.endpoints(), body })
    }

    /// Returns the endpoint of each secret, with repetitions.
    fn endpoints(&self) -> Vec<String> {
        self.secrets.iter().map(|secret| secret.endpoint().to_owned()).collect()
    }

    /// Returns the secrets as given (`None`) and with an alteration undone.
    fn secret_candidates(&self) -> impl Iterator<Item = (Option<&'static str>, SigningSecret)> {
        let candidates = self.secrets.iter().flat_map(SecretInput::candidates);
        candidates.map(|candidate| (candidate.alteration, candidate.secret))
    }

    fn verify_any_age(&self, header: &str, body: &Bytes, secrets: &Secrets) -> Option<Verified> {
        self.verify(header, body, secrets, Tolerance::without_age_check()).ok()
    }

    fn verify(
        &self,
        header: &str,
        body: &Bytes,
        secrets: &Secrets,
        tolerance: Tolerance,
    ) -> Result<Verified, SignatureError> {
        let now = UNIX_EPOCH + Duration::from_secs(self.now);
        let payload = verify(Some(header.as_bytes()), body.clone(), secrets, tolerance, now)?;
        Ok(Verified::new(&payload, self.now))
    }
}

impl Verified {
    fn new(payload: &VerifiedPayload, now: u64) -> Self {
        let signed_at = payload.signed_at().duration_since(UNIX_EPOCH);
        Self {
            endpoint: payload.endpoint().to_string(),
            signed_at: signed_at.map_or(0, |since| since.as_secs()),
            now,
        }
    }
}

impl UnmatchedBody {
    fn new(body: &[u8]) -> Self {
        if let Some(event) = EventFacts::from_body(body) {
            Self::Event(event)
        } else if let Some((event, alterations)) = altered_event(body) {
            Self::Altered { alterations, event }
        } else {
            Unreadable::describe(body).map_or(Self::NoEvent, Self::Unreadable)
        }
    }
}
