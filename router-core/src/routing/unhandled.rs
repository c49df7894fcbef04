//! Logs and counts unhandled events.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{event::Event, telemetry};

/// The event types and the mode that have been logged, because each is logged once.
#[derive(Debug)]
pub(super) struct UnhandledEvents {
    /// The event types of the unhandled events received so far.
    types: Mutex<HashSet<Box<str>>>,
    /// The only mode that the router handles, if it is limited to one. `true` is live mode.
    livemode: Option<bool>,
    /// `true` once an event of the other mode has been logged.
    other_mode_logged: AtomicBool,
}

/// Bounds the memory, and the label values of the metric. Stripe has about 600 event types.
const MAX_EVENT_TYPES: usize = 4096;

impl UnhandledEvents {
    pub(super) fn new(livemode: Option<bool>) -> Self {
        Self { types: Mutex::default(), livemode, other_mode_logged: AtomicBool::new(false) }
    }

    /// Logs and counts an event of the mode that the router does not handle. Returns whether it is
    /// one.
    ///
    /// Stripe sends test events to the live endpoint of a Connect platform, so this is expected.
    pub(super) fn log_other_mode(&self, event: &Event) -> bool {
        let Some(expected) = self.livemode.filter(|expected| event.livemode() == Some(!expected))
        else {
            return false;
        };
        if !self.other_mode_logged.swap(true, Ordering::Relaxed) {
            tracing::info!(
                event.id = event.id(),
                event.r#type = event.event_type(),
                "{} event not handled, because the router has `.livemode({expected})`; logged once",
                if expected { "test" } else { "live" }
            );
        }
        telemetry::unhandled("other_mode");
        true
    }

    /// Logs the event at INFO, once per event type, and at DEBUG after that. `has_handlers` is
    /// `true` if the type has handlers, but their filters exclude the event.
    ///
    /// Logging every unhandled event would flood the log of an endpoint that receives all events of
    /// an account.
    pub(super) fn log(&self, event: &Event, has_handlers: bool) {
        let reason = match has_handlers {
            true => "the filters of all handlers of this event type exclude the event",
            false => "no handler for this event type",
        };
        let event_type = event.event_type();
        let mut logged = self.types.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.contains(event_type) {
            drop(logged);
            tracing::debug!("{reason}");
            telemetry::unhandled(event_type);
        } else if logged.len() < MAX_EVENT_TYPES {
            logged.insert(event_type.into());
            drop(logged);
            let known = router_catalog::lookup(event_type).is_some();
            tracing::info!(event.r#type = event_type, known, "{reason}; logged once per type");
            telemetry::unhandled(event_type);
        } else {
            drop(logged);
            // Bound the number of label values.
            telemetry::unhandled("other");
        }
    }
}
