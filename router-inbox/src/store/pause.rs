//! [`PausedHandler`], the record of a handler that an operator has paused.

use std::{sync::Arc, time::SystemTime};

use router_core::delivery::HandlerSpec;

/// A handler that an operator has paused: workers claim none of its deliveries until it is resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PausedHandler {
    /// The handler's stable name, or a former one.
    pub handler: Arc<str>,
    /// The time at which the handler was paused, by the store's clock.
    pub paused_at: SystemTime,
    /// The operator's reason.
    pub note: Option<String>,
}

impl PausedHandler {
    /// Creates the record of a paused handler.
    pub fn new(handler: impl Into<Arc<str>>, paused_at: SystemTime, note: Option<String>) -> Self {
        Self { handler: handler.into(), paused_at, note }
    }

    /// Creates a record from its stored form, with the time in milliseconds since 1970.
    #[cfg(any(feature = "jetstream", feature = "postgres", feature = "sqlite"))]
    pub(crate) fn from_stored(
        handler: impl Into<Arc<str>>,
        paused_at: i64,
        note: Option<String>,
    ) -> Self {
        // A time that is damaged must not resume the handler.
        let paused_at = super::millis::time(paused_at).unwrap_or(SystemTime::UNIX_EPOCH);
        Self::new(handler, paused_at, note)
    }

    /// Returns the record that pauses a handler, under its name or its former name.
    pub(crate) fn find<'p>(paused: &'p [Self], handler: &HandlerSpec) -> Option<&'p Self> {
        paused.iter().find(|paused| handler.has_name(&paused.handler))
    }
}
