//! The settings of a [`Worker`].

use std::{fmt, time::Duration};

use router_core::delivery::DeliveryRouter;

use super::{Worker, health::WorkerHealth, report::unique_name, retention::Retention};
use crate::operations::MIN_RETENTION;

/// Returns the default number of slots. One handler can use at least 16 of them, while one slot is
/// reserved for each other handler.
pub(super) fn default_concurrency(router: &DeliveryRouter) -> usize {
    let handlers = router.handlers().len();
    handlers.max(16) + handlers.saturating_sub(1)
}

impl<S, R> Worker<S, R> {
    /// Sets the beginning of the name under which the worker records in the store that it is
    /// running. The first 64 characters are used. The process id and a random number follow, so
    /// that no two workers have the same name. Default: `$HOSTNAME`, or `worker`.
    pub fn name(self, name: &str) -> Self {
        Self { name: unique_name(name), ..self }
    }

    /// Returns the health of this worker. The health outlives the worker.
    #[must_use]
    pub fn health(&self) -> WorkerHealth {
        self.health.clone()
    }

    /// Sets the maximum number of deliveries in flight. Default: 16, or the number of handlers if
    /// that is more, plus one for each handler after the first.
    ///
    /// One slot is reserved for each handler that has no delivery in flight, so that handlers which
    /// hang cannot stop the others. The other slots go to the handlers with the fewest deliveries
    /// in flight. One handler gets all of them while no other handler has a due delivery.
    ///
    /// At most half of the slots are reserved. With fewer than two slots per handler, handlers that
    /// hang can therefore occupy all slots until they time out.
    pub fn concurrency(self, concurrency: usize) -> Self {
        Self { concurrency, ..self }
    }

    /// Sets the lease duration. Default: 60 s.
    ///
    /// If a worker sends no heartbeat for this long, another worker may claim its deliveries. It is
    /// therefore also the failover time after a crash.
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// Sets the poll interval. Default: 1 s.
    ///
    /// At this interval the worker looks for due retries, and for events stored by other processes
    /// if the store cannot notify.
    pub fn poll_interval(self, poll_interval: Duration) -> Self {
        Self { poll_interval, ..self }
    }

    /// Sets the grace period of a shutdown. Default: 20 s.
    ///
    /// Deliveries still in flight after the grace period are aborted and released.
    pub fn shutdown_grace(self, shutdown_grace: Duration) -> Self {
        Self { shutdown_grace, ..self }
    }

    /// Sets the retention of finished events. Default: 30 days.
    ///
    /// An event is purged once this time has passed since it was stored and since its last delivery
    /// finished. Dead letters are stored until an operator discards or replays them, or a retry
    /// succeeds. [`max_dead_letter_age`](Self::max_dead_letter_age) limits this time.
    ///
    /// # Panics
    ///
    /// Panics if the retention is shorter than [four days](MIN_RETENTION), because Stripe resends
    /// an event for up to three days.
    #[track_caller]
    pub fn retention(self, retention: Duration) -> Self {
        assert!(
            retention >= MIN_RETENTION,
            "the retention {retention:?} given to `Worker::retention` is shorter than the minimum, \
             {MIN_RETENTION:?} (four days): Stripe resends an event for up to three days, and \
             handlers would run again for an event that is no longer stored"
        );
        Self { retention: Retention { finished: retention, ..self.retention }, ..self }
    }

    /// Sets the maximum age of dead letters. Default: none.
    ///
    /// A dead letter is discarded once this time has passed since its last attempt failed. This is
    /// logged as a warning with the handlers and the number of their dead letters. Its event is
    /// purged after the [retention](Self::retention), and until then an operator can retry it. The
    /// limit applies to the dead letters of all handlers in the store. If several workers have
    /// different limits, the shortest applies.
    ///
    /// Without a limit, dead letters that no operator deals with are stored forever, with their
    /// payloads. With a limit, watch the number of dead letters, so that none is discarded
    /// unnoticed.
    ///
    /// # Panics
    ///
    /// Panics if the age is shorter than [four days](MIN_RETENTION): Stripe resends an event for up
    /// to three days, and this restarts a dead letter, but not a discarded delivery.
    #[track_caller]
    pub fn max_dead_letter_age(self, age: Duration) -> Self {
        assert!(
            age >= MIN_RETENTION,
            "the age {age:?} given to `Worker::max_dead_letter_age` is shorter than the minimum, \
             {MIN_RETENTION:?} (four days): Stripe resends an event for up to three days, and would \
             not restart a delivery that has been discarded"
        );
        Self { retention: Retention { dead_letters: Some(age), ..self.retention }, ..self }
    }
}

impl<S, R> fmt::Debug for Worker<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("name", &self.name)
            .field("concurrency", &self.concurrency)
            .field("lease", &self.lease)
            .field("poll_interval", &self.poll_interval)
            .field("shutdown_grace", &self.shutdown_grace)
            .field("retention", &self.retention.finished)
            .field("max_dead_letter_age", &self.retention.dead_letters)
            .finish_non_exhaustive()
    }
}
