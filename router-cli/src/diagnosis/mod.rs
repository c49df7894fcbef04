//! Why a signature is not right: what was given is tried as it is, and then as it may have been before
//! something on its way changed it.

mod forms;
mod given;
mod json;

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use router_core::{
    Secrets, SigningSecret,
    signature::{SignatureError, Tolerance, VerifiedPayload, verify},
};

pub(crate) use self::given::GivenSecret;
use self::{
    forms::{Change, forms},
    given::headers,
};

/// What was given.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) header: String,
    pub(crate) body: Bytes,
    pub(crate) secrets: Vec<GivenSecret>,
    pub(crate) tolerance: Tolerance,
    /// In seconds since the Unix epoch.
    pub(crate) now: u64,
}

/// What is to be said of a signature.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Diagnosis {
    /// It is right, by these of its endpoint's secrets, counted from 1, and not of these other endpoints,
    /// whose secrets were given too.
    Verified { verified: Verified, by: Vec<usize>, of: usize, others: Vec<String> },
    /// It is Stripe's, and too old.
    TooOld { verified: Verified, limit: u64 },
    /// There is nothing to verify.
    EmptyBody,
    /// The header is none that can be read.
    Header(SignatureError),
    /// It is right, once this is put right in the header.
    HeaderChanged { how: &'static str, verified: Verified },
    /// What was given is no secret, for this reason.
    NoSecret { endpoint: String, error: String },
    /// It is right, once this is put right in the secret.
    SecretChanged { how: &'static str, verified: Verified },
    /// It is right for a body whose bytes were touched.
    BodyTouched { how: String, verified: Verified },
    /// It is right for a body that was parsed and written anew.
    BodyRewritten { signed: String, verified: Verified },
    /// Nothing that was tried makes it right.
    Mismatch { endpoints: Vec<String>, event: Option<EventFacts> },
}

/// What is known of a signature that is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    /// The endpoint whose secret made it.
    pub(crate) endpoint: String,
    /// When it was signed, in seconds since the Unix epoch.
    pub(crate) signed_at: u64,
    pub(crate) now: u64,
}

/// What an event says about the endpoint that it was sent to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EventFacts {
    pub(crate) livemode: Option<bool>,
    pub(crate) is_thin: bool,
    pub(crate) is_connect: bool,
}

impl Given {
    pub(crate) fn diagnose(&self) -> Diagnosis {
        let as_given: Secrets =
            self.candidates().filter_map(|(how, secret)| how.is_none().then_some(secret)).collect();
        match self.verify(&self.header, &self.body, &as_given, self.tolerance) {
            Ok(verified) => return self.verified(verified),
            Err(SignatureError::TooOld { limit, .. }) => {
                if let Some(verified) = self.at_any_age(&self.header, &self.body, &as_given) {
                    return Diagnosis::TooOld { verified, limit };
                }
            }
            Err(SignatureError::NoMatch { .. }) => {}
            Err(error) => return self.header(error),
        }
        // Put right too: a secret with white space around it is none, and the body may be the other cause.
        let put_right: Secrets = self.candidates().map(|(_, secret)| secret).collect();
        self.secret()
            .or_else(|| self.body(&put_right))
            .or_else(|| self.no_secret())
            .unwrap_or_else(|| self.mismatch())
    }

    /// A header that cannot be read, and may be once it is put right.
    fn header(&self, error: SignatureError) -> Diagnosis {
        let is_readable = |header: &str| {
            let read = self.verify(header, &self.body, &Secrets::from_iter([]), self.tolerance);
            matches!(read, Err(SignatureError::NoMatch { .. }))
        };
        let Some((how, header)) = headers(&self.header).find(|(_, header)| is_readable(header))
        else {
            return Diagnosis::Header(error);
        };
        match (Self { header, ..self.clone() }).diagnose() {
            Diagnosis::Verified { verified, .. } => Diagnosis::HeaderChanged { how, verified },
            // Of two causes, the one that cannot be seen.
            other => other,
        }
    }

    /// A secret that is right once it is put right, or is none.
    fn secret(&self) -> Option<Diagnosis> {
        for (how, secret) in self.candidates() {
            let verified = self.at_any_age(&self.header, &self.body, &secret.into());
            if let (Some(how), Some(verified)) = (how, verified) {
                return Some(Diagnosis::SecretChanged { how, verified });
            }
        }
        None
    }

    /// A body that is right once it is what it was.
    fn body(&self, secrets: &Secrets) -> Option<Diagnosis> {
        if self.body.is_empty() {
            return Some(Diagnosis::EmptyBody);
        }
        forms(&self.body).find_map(|form| {
            let verified = self.at_any_age(&self.header, &form.body.into(), secrets)?;
            Some(match form.change {
                Change::Touched(how) => Diagnosis::BodyTouched { how, verified },
                Change::Rewritten(signed) => Diagnosis::BodyRewritten { signed, verified },
            })
        })
    }

    /// A secret that is none, which is then the likeliest cause.
    fn no_secret(&self) -> Option<Diagnosis> {
        self.secrets.iter().find_map(|secret| {
            let (endpoint, error) = (secret.name().to_owned(), secret.secret().err()?.to_string());
            Some(Diagnosis::NoSecret { endpoint, error })
        })
    }

    fn verified(&self, verified: Verified) -> Diagnosis {
        let mut others = self.endpoints();
        others.retain(|name| *name != verified.endpoint);
        others.dedup();
        let is_of_it = |secret: &&GivenSecret| secret.name() == verified.endpoint;
        let secrets: Vec<_> = self.secrets.iter().filter(is_of_it).collect();
        let is_right = |secret: &GivenSecret| {
            let secret = secret.secret();
            secret.is_ok_and(|secret| {
                self.at_any_age(&self.header, &self.body, &secret.into()).is_some()
            })
        };
        let by = secrets.iter().zip(1..).filter(|(secret, _)| is_right(secret));
        let by = by.map(|(_, number)| number).collect();
        Diagnosis::Verified { verified, by, of: secrets.len(), others }
    }

    fn mismatch(&self) -> Diagnosis {
        Diagnosis::Mismatch { endpoints: self.endpoints(), event: EventFacts::of(&self.body) }
    }

    /// The names of the endpoints, as often as there are secrets.
    fn endpoints(&self) -> Vec<String> {
        self.secrets.iter().map(|secret| secret.name().to_owned()).collect()
    }

    fn candidates(&self) -> impl Iterator<Item = (Option<&'static str>, SigningSecret)> {
        let candidates = self.secrets.iter().flat_map(GivenSecret::candidates);
        candidates.map(|candidate| (candidate.change, candidate.secret))
    }

    fn at_any_age(&self, header: &str, body: &Bytes, secrets: &Secrets) -> Option<Verified> {
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
        Ok(Verified::of(&payload, self.now))
    }
}

impl Verified {
    fn of(payload: &VerifiedPayload, now: u64) -> Self {
        let signed_at = payload.signed_at().duration_since(UNIX_EPOCH);
        Self {
            endpoint: payload.endpoint().to_string(),
            signed_at: signed_at.map_or(0, |since| since.as_secs()),
            now,
        }
    }
}

impl EventFacts {
    fn of(body: &[u8]) -> Option<Self> {
        let event: serde_json::Value = serde_json::from_slice(body).ok()?;
        let event = event.as_object()?;
        event.get("type")?.as_str()?;
        Some(Self {
            livemode: event.get("livemode").and_then(serde_json::Value::as_bool),
            is_thin: event.get("object")?.as_str()? == "v2.core.event",
            is_connect: event.get("account").is_some_and(|account| !account.is_null()),
        })
    }
}
