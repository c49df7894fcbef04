//! Logs and counts unhandled events.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use crate::{event::Event, telemetry};

/// The event types of the unhandled events received so far.
#[derive(Debug, Default)]
pub(super) struct UnhandledTypes(Mutex<HashSet<Box<str>>>);

/// Bounds the memory, and the label values of the metric. Stripe has about 600 event types.
const MAX_EVENT_TYPES: usize = 4096;

impl UnhandledTypes {
    /// Logs the event at INFO, once per event type, and at DEBUG after that.
    ///
    /// Logging every unhandled event would flood the log of an endpoint that receives all events of
    /// an account.
    pub(super) fn log(&self, event: &Event) {
        let event_type = event.event_type();
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.contains(event_type) {
            drop(logged);
            tracing::debug!("no handler for this event type");
            telemetry::unhandled(event_type);
        } else if logged.len() < MAX_EVENT_TYPES {
            logged.insert(event_type.into());
            drop(logged);
            let known = router_catalog::lookup(event_type).is_some();
            tracing::info!(
                event.r#type = event_type,
                known,
                "no handler for this event type; logged once per type"
            );
            telemetry::unhandled(event_type);
        } else {
            drop(logged);
            // Bound the number of label values.
            telemetry::unhandled("other");
        }
    }
}
