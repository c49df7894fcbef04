//! An event's metadata.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    operations::EventSummary,
    store::{NewEvent, OrderKey, TraceParent, identity, millis, order::object_text},
};

/// An event's metadata: the facts about the event that are stored besides its payload.
///
/// It is part of the event's record, and a header of its payload message. Times are in
/// milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EventMeta {
    /// The event's own id.
    pub(super) id: String,
    /// The id in the event's key, if it differs from the event's own: that of the snapshot event
    /// if this is a thin event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    /// A hash of the event's key without the generation.
    pub(super) identity: String,
    pub(super) endpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) account: Option<String>,
    pub(super) generation: u32,
    /// See [`StoredEvent::serial`](router_core::event::StoredEvent::serial).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) serial: Option<u64>,
    #[serde(rename = "type")]
    pub(super) event_type: String,
    pub(super) object: String,
    /// A hash of [`OrderKey::object`], which is the same for all events of the object.
    pub(super) object_hash: Arc<str>,
    pub(super) stored_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) signed_at: Option<i64>,
    /// See [`TraceParent`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace_parent: Option<Arc<str>>,
    /// The event's number if its data was erased, in each generation. The payload message that had
    /// this sequence has been replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) erased: Option<i64>,
}

impl EventMeta {
    /// Returns the metadata of an event with this position among its object's events.
    pub(super) fn new(new: &NewEvent, order_key: &OrderKey, stored_at: i64) -> Self {
        let NewEvent { event, trace_parent, .. } = new;
        let since_1970 = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH);
        let key = event.key();
        Self {
            id: event.id().to_owned(),
            key_id: (key.id() != event.id()).then(|| key.id().to_owned()),
            identity: short(identity::identity(&key)),
            endpoint: key.endpoint().to_owned(),
            account: key.account().map(str::to_owned),
            generation: key.generation(),
            serial: key.serial(),
            event_type: event.event_type().to_owned(),
            object: object_text(event),
            object_hash: hash(&[&order_key.object]).into(),
            stored_at,
            signed_at: event.signed_at().and_then(|time| since_1970(time).ok()).map(millis::millis),
            trace_parent: trace_parent.as_ref().map(|parent| parent.as_str().into()),
            erased: None,
        }
    }

    /// Returns the id in the event's key.
    pub(super) fn key_id(&self) -> &str {
        self.key_id.as_deref().unwrap_or(&self.id)
    }

    /// Returns whether both are of the same event, in the same generation or in two.
    pub(super) fn is_same_event(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// Returns whether the event's data was erased.
    pub(super) fn is_erased(&self) -> bool {
        self.erased.is_some()
    }

    /// Returns the trace context of the request that stored the event. A value that this version
    /// cannot read counts as none, because the delivery does not depend on it.
    pub(super) fn trace_parent(&self) -> Option<TraceParent> {
        self.trace_parent.as_deref().and_then(TraceParent::parse)
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
}

/// Returns a hash of the parts, as 16 characters.
pub(super) fn hash(parts: &[&str]) -> String {
    short(identity::hash(parts))
}

/// Shortens a hash to 96 bits, so that subjects are short.
fn short(hash: [u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(&hash[..12])
}
