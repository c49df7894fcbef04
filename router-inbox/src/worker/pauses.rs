//! A worker's view of the paused handlers, which may be stale.

use std::time::{Duration, Instant};

use router_core::delivery::{DeliveryRouter, HandlerSpec};

use crate::{
    Store, StoreError,
    bounded::BoundedStore,
    store::{HandlerSlots, PausedHandler},
};

/// Maximum age of the list of paused handlers at a claim.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The paused handlers, as last read from the store.
#[derive(Default)]
pub(super) struct Pauses {
    paused: Vec<PausedHandler>,
    /// The time at which the list was last read, or `None` if it was never read.
    read_at: Option<Instant>,
}

impl Pauses {
    /// Reads the list again if it is older than [`MAX_AGE`], and logs which of the router's
    /// handlers have been paused or resumed.
    pub(super) async fn refresh(
        &mut self,
        store: &BoundedStore<impl Store>,
        router: &DeliveryRouter,
        now: Instant,
    ) -> Result<(), StoreError> {
        if self.read_at.is_some_and(|read_at| now < read_at + MAX_AGE) {
            return Ok(());
        }
        let paused = store.paused_handlers().await?;
        for handler in router.handlers() {
            log_change(handler, self.find(handler), PausedHandler::find(&paused, handler));
        }
        (self.paused, self.read_at) = (paused, Some(now));
        Ok(())
    }

    /// Returns the time at which the worker must wake up to read the list again. Nothing else wakes
    /// it when an operator resumes a handler.
    ///
    /// Returns `None` if no handler is paused, or if that time has passed: then the worker has no
    /// free slots, or could not read the list, and waits for its next round.
    pub(super) fn next_refresh(&self, now: Instant) -> Option<Instant> {
        let refresh = self.read_at? + MAX_AGE;
        (!self.paused.is_empty() && refresh > now).then_some(refresh)
    }

    /// Removes the slots of paused handlers. Their reserved slots stay reserved, so that a resumed
    /// handler starts at once even if other handlers hang.
    pub(super) fn remove_paused(&self, router: &DeliveryRouter, slots: &mut Vec<HandlerSlots>) {
        let is_paused = |slots: &HandlerSlots| {
            router.handler(&slots.handler).is_some_and(|handler| self.find(handler).is_some())
        };
        slots.retain(|slots| !is_paused(slots));
    }

    /// Returns the record that pauses a handler.
    fn find(&self, handler: &HandlerSpec) -> Option<&PausedHandler> {
        PausedHandler::find(&self.paused, handler)
    }
}

/// Logs whether a handler has been paused or resumed.
fn log_change(
    handler: &HandlerSpec,
    before: Option<&PausedHandler>,
    after: Option<&PausedHandler>,
) {
    let handler = &*handler.name;
    match (before, after) {
        (None, Some(PausedHandler { handler: name, note, .. })) => tracing::info!(
            handler,
            note,
            "an operator has paused the handler; its deliveries wait until \
             `event-router inbox resume {name}`"
        ),
        (Some(_), None) => tracing::info!(handler, "an operator has resumed the handler"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use router_core::clock::{Clock as _, SystemClock};

    use super::*;

    /// A worker without free slots does not read the list, and must not try in a busy loop.
    #[test]
    fn list_that_is_due_does_not_wake_the_worker() {
        let now = SystemClock.monotonic();
        let paused = vec![PausedHandler::new("a", SystemTime::UNIX_EPOCH, None)];
        let pauses = Pauses { paused, read_at: Some(now) };
        assert_eq!(pauses.next_refresh(now), Some(now + MAX_AGE));
        assert_eq!(pauses.next_refresh(now + MAX_AGE), None);
        let none = Pauses { paused: Vec::new(), ..pauses };
        assert_eq!(none.next_refresh(now), None);
    }
}
