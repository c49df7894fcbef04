//! The handlers that an operator has paused. Their deliveries wait without being overdue.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use router_core::{delivery::DeliveryRouter, health::Reason};

use crate::{store::PausedHandler, telemetry};

/// The handlers that are or were paused.
#[derive(Default)]
pub(super) struct Pauses {
    /// The time of the latest check that found the handler paused, by the name with which
    /// deliveries are stored.
    last_paused: BTreeMap<Arc<str>, Instant>,
}

impl Pauses {
    /// Records which handlers a check has found paused, and updates the gauges.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        paused: &[PausedHandler],
        router: &DeliveryRouter,
    ) {
        for PausedHandler { handler, .. } in paused {
            self.last_paused.insert(handler.clone(), now);
        }
        for handler in router.handlers() {
            let is_paused = PausedHandler::find(paused, handler).is_some();
            // The pause of one name applies to both. Deliveries and their gauges have either.
            for name in handler.formerly.map(Arc::from).into_iter().chain([handler.name.clone()]) {
                telemetry::paused(&name, is_paused);
                if is_paused {
                    self.last_paused.insert(name, now);
                }
            }
        }
        for (name, last_paused) in &self.last_paused {
            if router.handler(name).is_none() {
                telemetry::paused(name, *last_paused == now);
            }
        }
    }

    /// Returns the time since the handler was resumed: zero while it is paused, and
    /// [`Duration::MAX`] if it was never paused.
    pub(super) fn claimable_for(&self, handler: &str, now: Instant) -> Duration {
        let paused = self.last_paused.get(handler);
        paused.map_or(Duration::MAX, |paused| now.saturating_duration_since(*paused))
    }
}

/// Returns the warning for `/readyz`, with the names to resume, or `None` if no handler is paused.
pub(super) fn warning(paused: &[PausedHandler]) -> Option<Reason> {
    let text = "an operator has paused these handlers, so their deliveries wait; \
                `event-router inbox status` shows since when and why, and `event-router inbox \
                resume NAME` ends the pause";
    let names = paused.iter().map(|paused| &*paused.handler);
    (!paused.is_empty()).then(|| Reason::new("paused", text).handlers(names))
}
