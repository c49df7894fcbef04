//! Which of an object's events is the older.

use std::time::UNIX_EPOCH;

use router_core::{Event, Recency};

/// What an `ordered` delivery is put in order by, among those of its handler for one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderKey {
    /// The object, and whose.
    pub object: String,
    /// Smaller for an older event. Equal ones go as they came.
    pub age: i64,
}

impl OrderKey {
    /// Of an event. The stage in the object's life comes first, as in a [`Recency`]: `*.created` before all
    /// others, `*.deleted` after them; then the second in which Stripe made the event.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let seconds = || {
            let since = event.created()?.duration_since(UNIX_EPOCH).ok()?;
            i64::try_from(since.as_secs()).ok()
        };
        let age = match Recency::of(event) {
            Some(recency) => recency.as_i64(),
            // A thin event shows no stage.
            None => seconds().unwrap_or(0),
        };
        Self { object: event.object_id().to_string(), age }
    }
}
