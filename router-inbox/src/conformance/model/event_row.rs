//! An event of the model.

use router_core::event::{EventKey, StoredEvent};

use crate::{operations::EventSummary, store::TraceParent};

pub(super) struct EventRow {
    pub(super) key: EventKey,
    pub(super) summary: EventSummary,
    /// The ids with which the event was received. A thin event and its snapshot event have
    /// different ids, and one key.
    pub(super) ids: Vec<String>,
    /// The event as first received.
    pub(super) stored: StoredEvent,
    /// The event as redelivered.
    pub(super) redelivered: Vec<StoredEvent>,
    pub(super) trace_parent: Option<TraceParent>,
}

impl EventRow {
    pub(super) fn has_id(&self, id: &str) -> bool {
        self.ids.iter().any(|received| received == id)
    }

    pub(super) fn is_erased(&self) -> bool {
        self.stored.payload.is_empty()
    }

    /// Returns whether a payload of the event contains this text as a JSON string.
    pub(super) fn mentions(&self, text: &str) -> bool {
        let text = format!("\"{text}\"");
        let mut received = [&self.stored].into_iter().chain(&self.redelivered);
        received.any(|received| {
            received.payload.windows(text.len()).any(|window| window == text.as_bytes())
        })
    }
}
