//! The erasure of events' data: its result, and the search for events that mention a text.

use crate::store::DeliveryState;

/// The result of a requested [erasure](crate::store::Operations::erase) of an event's data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EraseResult {
    /// The id of the event as first received (`evt_…`), or `None` if the event is not stored.
    pub event_id: Option<String>,
    /// The change that was made, or the reason for making none.
    pub outcome: EraseOutcome,
}

impl EraseResult {
    /// Creates the result for a stored event.
    pub fn new(event_id: impl Into<String>, outcome: EraseOutcome) -> Self {
        Self { event_id: Some(event_id.into()), outcome }
    }

    /// Creates the result for an event that is not stored.
    #[must_use]
    pub fn not_found() -> Self {
        Self { event_id: None, outcome: EraseOutcome::NotFound }
    }

    /// Logs the number of erased events, if a call has erased any. Stores call this after the
    /// commit.
    pub fn log(results: &[Self]) {
        let events = results.iter().filter(|result| result.outcome == EraseOutcome::Erased).count();
        if events > 0 {
            tracing::info!(
                events,
                "erased the data of events; the database's files may contain it until they are compacted"
            );
        }
    }
}

/// Returns a text as a JSON string with its quotes, by which payloads are searched for
/// [mentions](super::operations::EventSelector::mentions).
#[cfg(any(feature = "jetstream", feature = "postgres", feature = "sqlite"))]
pub(crate) fn json_string(text: &str) -> Vec<u8> {
    serde_json::Value::from(text).to_string().into_bytes()
}

/// The outcome of a requested [erasure](crate::store::Operations::erase) of an event's data.
///
/// The enum is exhaustive, like [`ChangeOutcome`](super::operations::ChangeOutcome).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EraseOutcome {
    /// The data of all generations of the event was erased.
    Erased,
    /// No change: the data was erased before.
    AlreadyErased,
    /// No change: a delivery of the event is waiting or running, and needs the payload.
    Unfinished,
    /// No change: the event is no longer stored, because it was purged.
    NotFound,
}

impl EraseOutcome {
    /// Returns the outcome for an event whose deliveries, in all generations, have these states.
    /// `is_erased` is `true` if the data was erased before.
    pub fn new(states: impl IntoIterator<Item = DeliveryState>, is_erased: bool) -> Self {
        let is_open = |state| matches!(state, DeliveryState::Waiting | DeliveryState::Running);
        if is_erased {
            Self::AlreadyErased
        } else if states.into_iter().any(is_open) {
            Self::Unfinished
        } else {
            Self::Erased
        }
    }
}
