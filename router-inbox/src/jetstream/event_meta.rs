//! An event's metadata, and the subjects of its messages.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::record::Stage;
use crate::{NewEvent, OrderKey, operations::EventSummary, store::millis};

/// An event's metadata: what is known of the event without its payload.
///
/// It is part of the event's record, and a header of its payload message. Times are in
/// milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EventMeta {
    pub(super) id: String,
    pub(super) endpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) account: Option<String>,
    pub(super) generation: u32,
    #[serde(rename = "type")]
    pub(super) event_type: String,
    pub(super) object: String,
    /// A hash of the object's identity, which is the same for all events of the object.
    pub(super) object_hash: Arc<str>,
    /// The number of the event's deliveries.
    pub(super) handlers: usize,
    pub(super) stored_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) signed_at: Option<i64>,
}

impl EventMeta {
    /// Returns the metadata of a new event with this position among its object's events.
    pub(super) fn new(
        NewEvent { event, deliveries }: &NewEvent,
        order_key: &OrderKey,
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
            object_hash: hash(&[&order_key.object]).into(),
            handlers: deliveries.len(),
            stored_at,
            signed_at: event.signed_at().and_then(|time| since_1970(time).ok()).map(millis::millis),
        }
    }

    /// Returns whether both are generations of the same event.
    pub(super) fn is_same_event(&self, other: &Self) -> bool {
        (&self.id, &self.endpoint, &self.account) == (&other.id, &other.endpoint, &other.account)
    }

    pub(super) fn summary(&self) -> EventSummary {
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

    /// Returns the two subject tokens that identify the event: its id, which is readable, and a
    /// hash of its whole key.
    fn subject_tokens(&self) -> String {
        let generation = self.generation.to_string();
        let has_account = if self.account.is_some() { "1" } else { "0" };
        let account = self.account.as_deref().unwrap_or_default();
        let key = hash(&[&self.id, &self.endpoint, has_account, account, &generation]);
        format!("{}.{key}", subject_token(&self.id))
    }
}

/// The subjects of an inbox. All begin with the inbox's name.
#[derive(Debug, Clone)]
pub(super) struct Subjects(Arc<str>);

impl Subjects {
    pub(super) fn new(inbox: &str) -> Self {
        Self(inbox.into())
    }

    /// Returns the filter for all subjects of the inbox.
    pub(super) fn all(&self) -> String {
        format!("{}.>", self.0)
    }

    /// Returns the subject of an event's payload message.
    pub(super) fn event(&self, meta: &EventMeta) -> String {
        format!("{}.event.{}", self.0, meta.subject_tokens())
    }

    /// Returns the filter for all payload messages.
    pub(super) fn events(&self) -> String {
        format!("{}.event.>", self.0)
    }

    /// Returns the filter for the payload messages of all events with this id.
    pub(super) fn events_with_id(&self, id: &str) -> String {
        format!("{}.event.{}.*", self.0, subject_token(id))
    }

    /// Returns the subject of an event's record at this stage.
    pub(super) fn record(&self, meta: &EventMeta, stage: Stage) -> String {
        let (inbox, event) = (&self.0, meta.subject_tokens());
        match stage {
            Stage::Open => format!("{inbox}.open.{}.{event}", meta.object_hash),
            Stage::Dead => format!("{inbox}.dead.{event}"),
            Stage::Ended => format!("{inbox}.ended.{}.{event}", meta.handlers),
            Stage::Unhandled => format!("{inbox}.unhandled.{event}"),
        }
    }

    /// Returns the filter for all records at this stage.
    pub(super) fn records(&self, stage: Stage) -> String {
        let stage = match stage {
            Stage::Open => "open",
            Stage::Dead => "dead",
            Stage::Ended => "ended",
            Stage::Unhandled => "unhandled",
        };
        format!("{}.{stage}.>", self.0)
    }

    /// Returns the filter for the ended records with this number of deliveries.
    pub(super) fn ended_with(&self, handlers: usize) -> String {
        format!("{}.ended.{handlers}.>", self.0)
    }

    /// Returns the filter for the open records of one object.
    pub(super) fn open_records_of(&self, object_hash: &str) -> String {
        format!("{}.open.{object_hash}.*.*", self.0)
    }

    /// Returns the subject of a handler's entry.
    pub(super) fn handler(&self, name: &str) -> String {
        format!("{}.handler.{}", self.0, subject_token(name))
    }

    /// Returns the filter for the entries of all handlers.
    pub(super) fn handlers(&self) -> String {
        format!("{}.handler.*", self.0)
    }
}

/// Returns the text if it is valid as a token of a subject, as Stripe's ids are, and otherwise a
/// hash of it.
fn subject_token(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':');
    if (1..=120).contains(&text.len()) && text.bytes().all(is_plain) {
        text.to_owned()
    } else {
        format!("={}", hash(&[text]))
    }
}

/// Returns a hash of the parts, as 16 characters.
fn hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..12])
}
