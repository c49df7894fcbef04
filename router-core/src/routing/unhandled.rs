//! What no handler is for is not passed over in silence.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use crate::{event::Event, telemetry};

/// The types of events that no handler is for, as far as they have come.
#[derive(Debug, Default)]
pub(super) struct UnhandledTypes(Mutex<HashSet<Box<str>>>);

/// How many are remembered as already logged. Stripe has some 600.
const MAX: usize = 4096;

impl UnhandledTypes {
    /// Once per event type at INFO, so that an endpoint which gets every event of an account does
    /// not drown what matters.
    pub(super) fn log(&self, event: &Event) {
        let event_type = event.event_type();
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.contains(event_type) {
            drop(logged);
            tracing::debug!("no handler for this event type");
            telemetry::unhandled(event_type);
        } else if logged.len() < MAX {
            logged.insert(event_type.into());
            drop(logged);
            let known = router_catalog::lookup(event_type).is_some();
            tracing::info!(
                event.r#type = event_type,
                known,
                "no handler for this event type; said once per type"
            );
            telemetry::unhandled(event_type);
        } else {
            drop(logged);
            // A metric has no end of labels otherwise.
            telemetry::unhandled("other");
        }
    }
}
