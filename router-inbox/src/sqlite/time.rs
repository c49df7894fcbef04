//! The store's time, and the consequences of a jump of the machine's clock.
//!
//! Times in the file are times of day, because processes that share the file have no other common
//! time. After a jump, the elapsed time of day differs from the elapsed monotonic time.
//!
//! - After a jump forward, leases would seem to have expired although their holders renew them. For
//!   the duration of a lease, the store therefore subtracts the jump when it looks for expired
//!   leases.
//! - After a jump back, deliveries would be due later than intended. The store
//!   [corrects](StoreTime::take_set_back) their due times.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, UNIX_EPOCH},
};

use router_core::clock::Clock;

use crate::{store::rows::millis, worker::MAX_CLOCK_STEP};

#[derive(Clone)]
pub(super) struct StoreTime {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

struct State {
    /// The last time read, in milliseconds since 1970, and the instant at which it was read.
    last: (i64, Instant),
    /// The time by which the clock has jumped forward, in milliseconds, and the instant at which
    /// the last jump was noticed.
    ahead: Option<(i64, Instant)>,
    /// `true` if the clock may have been set back since the due times were corrected.
    set_back: bool,
}

/// The time of a claim, in milliseconds since 1970.
#[derive(Clone, Copy)]
pub(super) struct ClaimTime {
    pub(super) now: i64,
    /// The time up to which leases have expired: `now` without a recent jump forward.
    pub(super) for_leases: i64,
}

impl StoreTime {
    /// Starts as if the clock had just been set back, because that may have happened while no
    /// process was running.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let last = (since_1970(&*clock), clock.monotonic());
        let state = State { last, ahead: None, set_back: true };
        Self { clock, state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Returns the current time in milliseconds since 1970.
    pub(super) fn now(&self) -> i64 {
        self.state().read(&*self.clock).0
    }

    /// Returns the time of a claim of leases with this duration.
    pub(super) fn for_claim(&self, lease: Duration) -> ClaimTime {
        let mut state = self.state();
        let (now, instant) = state.read(&*self.clock);
        let ahead = state.ahead.filter(|(_, since)| instant < *since + lease);
        ClaimTime { now, for_leases: now - ahead.map_or(0, |(ahead, _)| ahead) }
    }

    /// Returns whether the clock may have been set back since the previous call.
    pub(super) fn take_set_back(&self) -> bool {
        let mut state = self.state();
        state.read(&*self.clock);
        std::mem::take(&mut state.set_back)
    }

    /// Makes the next [`take_set_back`](Self::take_set_back) return `true`.
    pub(super) fn mark_set_back(&self) {
        self.state().set_back = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads the clock, and notices a jump since the last reading.
    fn read(&mut self, clock: &dyn Clock) -> (i64, Instant) {
        let (now, instant) = (since_1970(clock), clock.monotonic());
        let (last, last_instant) = self.last;
        let passed = millis(instant.saturating_duration_since(last_instant));
        let jump = now.saturating_sub(last.saturating_add(passed));
        if jump.abs() > millis(MAX_CLOCK_STEP) {
            self.set_back |= jump < 0;
            let ahead = self.ahead.map_or(0, |(ahead, _)| ahead).saturating_add(jump);
            self.ahead = (ahead > 0).then_some((ahead, instant));
        }
        self.last = (now, instant);
        self.last
    }
}

fn since_1970(clock: &dyn Clock) -> i64 {
    millis(clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default())
}
