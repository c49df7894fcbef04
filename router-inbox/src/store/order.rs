//! The order of an object's events.

use std::time::UNIX_EPOCH;

use router_core::{Event, Recency};

/// The position of an `ordered` delivery among the deliveries of its handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderKey {
    /// The object, including the account that owns it. With the handler it identifies the lane.
    pub object: String,
    /// The sort key within the lane, smaller for an older event. Deliveries with equal keys keep
    /// the order in which they were stored.
    pub sort_key: i64,
}

impl OrderKey {
    /// Derives the position from an event.
    ///
    /// As in [`Recency`], the stage in the object's life comes first: `*.created` before all
    /// other events, `*.deleted` after them. Within a stage the event's `created` time (in
    /// seconds) decides.
    #[must_use]
    pub fn from_event(event: &Event) -> Self {
        let seconds = || {
            let since = event.created()?.duration_since(UNIX_EPOCH).ok()?;
            i64::try_from(since.as_secs()).ok()
        };
        let sort_key = match Recency::from_event(event) {
            Some(recency) => recency.as_i64(),
            // The stage of a thin event is unknown.
            None => seconds().unwrap_or(0),
        };
        Self { object: event.object_id().to_string(), sort_key }
    }
}
