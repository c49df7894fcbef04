//! The server's time, so that machines whose clocks differ agree about leases.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use router_core::clock::{Clock, SystemClock};

use crate::store::millis::millis;

/// What the time was when the server was asked, and what has passed here since.
pub(super) struct ServerTime {
    clock: Arc<dyn Clock>,
    /// Nobody is asked: what the clock shows is the time.
    is_given: bool,
    asked: Mutex<(i64, Instant)>,
}

impl ServerTime {
    /// This machine's, until the server has been asked.
    pub(super) fn new() -> Self {
        Self::of(SystemClock, false)
    }

    /// As this clock shows it.
    pub(super) fn given(clock: impl Clock) -> Self {
        Self::of(clock, true)
    }

    fn of(clock: impl Clock, is_given: bool) -> Self {
        let wall = since_1970(clock.wall());
        let asked = Mutex::new((wall, clock.monotonic()));
        Self { clock: Arc::new(clock), is_given, asked }
    }

    pub(super) fn now(&self) -> i64 {
        let (then, asked_at) = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        then.saturating_add(millis(self.clock.monotonic().saturating_duration_since(asked_at)))
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The server was asked then, and this was its answer.
    pub(super) fn asked(&self, at: Instant, answer: SystemTime) {
        if self.is_given {
            return;
        }
        // It looked at its clock about halfway between the question and now.
        let halfway = at + self.clock.monotonic().saturating_duration_since(at) / 2;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        *asked = (since_1970(answer), halfway);
    }
}

/// How often it is asked: clocks drift, and another server may lead by then.
pub(super) const EVERY: Duration = Duration::from_secs(60);

fn since_1970(time: SystemTime) -> i64 {
    millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}
