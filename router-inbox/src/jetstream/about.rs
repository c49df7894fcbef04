//! Which event it is, and on which subjects of the stream its messages are.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::record::Stage;
use crate::{NewEvent, OrderKey, operations::EventSummary, store::millis};

/// What is known of an event without its payload. It is beside the payload, and in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) id: String,
    pub(super) endpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) account: Option<String>,
    pub(super) generation: u32,
    #[serde(rename = "type")]
    pub(super) event_type: String,
    pub(super) object: String,
    /// The same for all events of one object, whatever else is different.
    pub(super) lane: Arc<str>,
    /// How many deliveries it has.
    pub(super) handlers: usize,
    pub(super) stored_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) signed_at: Option<i64>,
}

impl About {
    /// Of an event that is at this place among those of its object.
    pub(super) fn of(
        NewEvent { event, deliveries }: &NewEvent,
        place: &OrderKey,
        stored_at: i64,
    ) -> Self {
        let since_1970 = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH);
        let key = event.key();
        Self {
            id: key.id().to_owned(),
            endpoint: key.endpoint().to_owned(),
            account: key.account().map(str::to_owned),
            generation: key.generation(),
            event_type: event.event_type().to_owned(),
            object: event.object_id().as_str().to_owned(),
            lane: hash(&[&place.object]).into(),
            handlers: deliveries.len(),
            stored_at,
            signed_at: event.signed_at().and_then(|time| since_1970(time).ok()).map(millis::millis),
        }
    }

    /// Whether both are generations of one event.
    pub(super) fn is_of_the_same(&self, other: &Self) -> bool {
        (&self.id, &self.endpoint, &self.account) == (&other.id, &other.endpoint, &other.account)
    }

    pub(super) fn listed(&self) -> EventSummary {
        EventSummary {
            id: self.id.clone(),
            endpoint: self.endpoint.clone(),
            account: self.account.clone(),
            generation: self.generation,
            event_type: self.event_type.clone(),
            object: self.object.clone(),
            stored_at: millis::time(self.stored_at).unwrap_or(std::time::UNIX_EPOCH),
        }
    }

    /// Tokens that say which event it is, for people too: its id, and what else its key is made of.
    fn tokens(&self) -> String {
        let generation = self.generation.to_string();
        let of_account = if self.account.is_some() { "1" } else { "0" };
        let account = self.account.as_deref().unwrap_or_default();
        let key = hash(&[&self.id, &self.endpoint, of_account, account, &generation]);
        format!("{}.{key}", token(&self.id))
    }
}

/// The subjects of an inbox, which all begin with its name.
#[derive(Debug, Clone)]
pub(super) struct Subjects(Arc<str>);

impl Subjects {
    pub(super) fn of(inbox: &str) -> Self {
        Self(inbox.into())
    }

    pub(super) fn all(&self) -> String {
        format!("{}.>", self.0)
    }

    /// Of the payload.
    pub(super) fn event(&self, about: &About) -> String {
        format!("{}.event.{}", self.0, about.tokens())
    }

    pub(super) fn events(&self) -> String {
        format!("{}.event.>", self.0)
    }

    /// Of the payloads of all events with this id.
    pub(super) fn events_with_id(&self, id: &str) -> String {
        format!("{}.event.{}.*", self.0, token(id))
    }

    /// Of the record, once it is so far.
    pub(super) fn record(&self, about: &About, stage: Stage) -> String {
        let (inbox, event) = (&self.0, about.tokens());
        match stage {
            Stage::Open => format!("{inbox}.open.{}.{event}", about.lane),
            Stage::Dead => format!("{inbox}.dead.{event}"),
            Stage::Ended => format!("{inbox}.ended.{}.{event}", about.handlers),
            Stage::Unhandled => format!("{inbox}.unhandled.{event}"),
        }
    }

    /// Of all records that are so far.
    pub(super) fn records(&self, stage: Stage) -> String {
        let stage = match stage {
            Stage::Open => "open",
            Stage::Dead => "dead",
            Stage::Ended => "ended",
            Stage::Unhandled => "unhandled",
        };
        format!("{}.{stage}.>", self.0)
    }

    /// Of the records of events with so many deliveries that have all ended.
    pub(super) fn ended_with(&self, handlers: usize) -> String {
        format!("{}.ended.{handlers}.>", self.0)
    }

    /// Of the open records of one object.
    pub(super) fn lane(&self, lane: &str) -> String {
        format!("{}.open.{lane}.*.*", self.0)
    }

    /// That there is such a handler.
    pub(super) fn handler(&self, name: &str) -> String {
        format!("{}.handler.{}", self.0, token(name))
    }

    pub(super) fn handlers(&self) -> String {
        format!("{}.handler.*", self.0)
    }
}

/// A text as it can stand in a subject: itself if it can, as Stripe's ids do, or a hash of it.
fn token(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':');
    if (1..=120).contains(&text.len()) && text.bytes().all(is_plain) {
        text.to_owned()
    } else {
        format!("={}", hash(&[text]))
    }
}

/// Sixteen characters.
fn hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // Or the end of one could be the beginning of the next.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..12])
}
