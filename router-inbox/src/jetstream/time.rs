//! The server's time, so that machines whose clocks differ agree on leases.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use router_core::clock::{Clock, SystemClock};

use crate::store::{millis::millis, set_back::SetBack};

/// An estimate of the server's time: its last answer, plus the local monotonic time since then.
pub(super) struct ServerTime {
    clock: Arc<dyn Clock>,
    /// `true` if `clock` is the only source of time, and answers of the server are ignored.
    ignores_server: bool,
    /// A time, in milliseconds since 1970, and the instant at which it was current.
    reference: Mutex<(i64, Instant)>,
    set_back: SetBack,
}

impl ServerTime {
    /// Starts with this machine's time, until the first answer of the server.
    pub(super) fn new() -> Self {
        Self::from_clock(Arc::new(SystemClock), false)
    }

    /// Uses the time of `clock`, and ignores the server's.
    pub(super) fn fixed_to(clock: Arc<dyn Clock>) -> Self {
        Self::from_clock(clock, true)
    }

    fn from_clock(clock: Arc<dyn Clock>, ignores_server: bool) -> Self {
        let wall = since_1970(clock.wall());
        let reference = Mutex::new((wall, clock.monotonic()));
        Self { clock, ignores_server, reference, set_back: SetBack::new() }
    }

    /// Returns the estimated time, in milliseconds since 1970.
    pub(super) fn now(&self) -> i64 {
        let (time, instant) = *self.reference.lock().unwrap_or_else(PoisonError::into_inner);
        time.saturating_add(millis(self.clock.monotonic().saturating_duration_since(instant)))
    }

    /// Returns whether the server has not answered for [`SYNC_INTERVAL`].
    pub(super) fn is_sync_due(&self) -> bool {
        let (_, instant) = *self.reference.lock().unwrap_or_else(PoisonError::into_inner);
        let since = self.clock.monotonic().saturating_duration_since(instant);
        !self.ignores_server && since > SYNC_INTERVAL
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Adopts the server's time from the answer to a request that was sent at `asked_at`.
    pub(super) fn synchronize(&self, asked_at: Instant, answer: SystemTime) {
        if self.ignores_server {
            return;
        }
        // The server read its clock about halfway between the request and the answer.
        let halfway = asked_at + self.clock.monotonic().saturating_duration_since(asked_at) / 2;
        let mut reference = self.reference.lock().unwrap_or_else(PoisonError::into_inner);
        *reference = (since_1970(answer), halfway);
        // Not only if this estimate was ahead of the answer: another process may have scheduled
        // deliveries by its own estimate, and may have stopped since.
        self.set_back.notice();
    }

    /// Runs `correction` if the server's clock may have been set back, see [`SetBack::correct`].
    pub(super) async fn correct<E>(
        &self,
        correction: impl Future<Output = Result<Option<u64>, E>>,
    ) -> Result<(), E> {
        self.set_back.correct(self.clock.monotonic(), correction).await
    }
}

/// Interval between requests for the server's time. Clocks drift, and the leader may change.
pub(super) const SYNC_INTERVAL: Duration = Duration::from_secs(60);

fn since_1970(time: SystemTime) -> i64 {
    millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use router_core::testing::ManualClock;

    use super::*;

    #[test]
    fn sync_is_due_if_server_has_not_answered() {
        let clock = ManualClock::at(SystemClock.wall());
        let time = ServerTime::from_clock(Arc::new(clock.clone()), false);
        clock.advance(SYNC_INTERVAL);
        assert!(!time.is_sync_due());
        clock.advance(Duration::from_secs(1));
        assert!(time.is_sync_due());
        time.synchronize(clock.monotonic(), clock.wall());
        assert!(!time.is_sync_due());
        clock.advance(SYNC_INTERVAL * 2);
        assert!(!ServerTime::fixed_to(Arc::new(clock)).is_sync_due());
    }
}
