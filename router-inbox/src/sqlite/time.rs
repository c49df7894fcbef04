//! The store's time, and the consequences of a jump of the machine's clock.
//!
//! Times in the file are times of day, because processes that share the file have no other common
//! time. After a jump, the elapsed time of day differs from the elapsed monotonic time.
//!
//! - After a jump forward, leases would seem to have expired although their holders renew them. For
//!   the duration of a lease, the store therefore subtracts the jump when it looks for expired
//!   leases.
//! - After a jump back, deliveries would be due later than intended. The store
//!   [corrects](SetBack) their due times.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, UNIX_EPOCH},
};

use router_core::clock::Clock;

use crate::store::{
    rows::millis,
    set_back::{Reading, SetBack},
};

#[derive(Clone)]
pub(super) struct StoreTime {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    set_back: Arc<SetBack>,
}

struct State {
    last: Reading,
    /// The time by which the clock has jumped forward, in milliseconds, and the instant at which
    /// the last jump was noticed.
    ahead: Option<(i64, Instant)>,
}

/// The time of a claim, in milliseconds since 1970.
#[derive(Clone, Copy)]
pub(super) struct ClaimTime {
    pub(super) now: i64,
    /// The time up to which leases have expired: `now` without a recent jump forward.
    pub(super) for_leases: i64,
}

impl StoreTime {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State { last: read(&*clock), ahead: None };
        Self { clock, state: Arc::new(Mutex::new(state)), set_back: Arc::new(SetBack::new()) }
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Returns the current time in milliseconds since 1970.
    pub(super) fn now(&self) -> i64 {
        self.read(&mut self.state()).time
    }

    /// Returns the time of a claim of leases with this duration.
    pub(super) fn for_claim(&self, lease: Duration) -> ClaimTime {
        let mut state = self.state();
        let Reading { time: now, instant } = self.read(&mut state);
        let is_recent = |since: Instant| instant.saturating_duration_since(since) < lease;
        let ahead = state.ahead.filter(|(_, since)| is_recent(*since));
        ClaimTime { now, for_leases: now - ahead.map_or(0, |(ahead, _)| ahead) }
    }

    /// Runs `correction` if the clock may have been set back, see [`SetBack::correct`].
    pub(super) async fn correct<E>(
        &self,
        correction: impl Future<Output = Result<Option<u64>, E>>,
    ) -> Result<(), E> {
        let now = self.read(&mut self.state()).instant;
        self.set_back.correct(now, correction).await
    }

    /// Reads the clock, and notices a jump since the last reading.
    fn read(&self, state: &mut State) -> Reading {
        let reading = read(&*self.clock);
        let jump = reading.jump_since(state.last);
        if jump < 0 {
            self.set_back.notice();
        }
        if jump != 0 {
            let ahead = state.ahead.map_or(0, |(ahead, _)| ahead).saturating_add(jump);
            state.ahead = (ahead > 0).then_some((ahead, reading.instant));
        }
        state.last = reading;
        reading
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(clock: &dyn Clock) -> Reading {
    let time = millis(clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default());
    Reading { time, instant: clock.monotonic() }
}
