//! Corrects due times after the clock of a store was set back.
//!
//! A delivery that was scheduled before the jump would be due later than intended. Stores therefore
//! record the delay with each due time. A due time further ahead than its delay is too late.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

#[cfg(any(feature = "postgres", feature = "sqlite"))]
use super::MAX_CLOCK_STEP;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use super::millis::millis;

/// Tracks whether the clock may have been set back since the due times were last found to be right.
pub(crate) struct SetBack(Mutex<State>);

struct State {
    /// The number of times that the clock may have been set back.
    noticed: u64,
    /// The value of `noticed` when the last check began that found nothing to correct.
    corrected: u64,
    /// The earliest time of the next check.
    next_check: Option<Instant>,
}

/// The maximum number of deliveries that one correction changes, so that it does not exceed the
/// time limit of an operation, nor block other writes for long.
pub(crate) const MAX_CORRECTED: u16 = 10_000;

/// Minimum time from one check to the next, so that a check that cannot be completed does not
/// prevent all claims.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

impl SetBack {
    /// Starts as if the clock had just been set back, because that may have happened while no
    /// process was running.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State { noticed: 1, corrected: 0, next_check: None }))
    }

    /// Records that the clock may have been set back.
    pub(crate) fn notice(&self) {
        let mut state = self.state();
        state.noticed += 1;
        state.next_check = None;
    }

    /// Runs `correction`, which returns the number of corrected deliveries, if the clock may have
    /// been set back. Otherwise drops `correction` unpolled.
    ///
    /// Only a correction that finds nothing to correct is the last. Another follows after a minute
    /// if `correction` fails, is dropped or has corrected deliveries, because it may have missed
    /// deliveries that were being scheduled meanwhile. It follows at once after
    /// [`MAX_CORRECTED`] deliveries.
    pub(crate) async fn correct<E>(
        &self,
        now: Instant,
        correction: impl Future<Output = Result<u64, E>>,
    ) -> Result<(), E> {
        let Some(noticed) = self.begin(now) else { return Ok(()) };
        let deliveries = correction.await?;
        if deliveries == 0 {
            self.state().corrected = noticed;
        } else {
            if deliveries >= MAX_CORRECTED.into() {
                self.state().next_check = None;
            }
            tracing::warn!(
                deliveries,
                "the store's clock was set back, so that these deliveries were due too late; their \
                 scheduled delays now start again"
            );
        }
        Ok(())
    }

    /// Returns the number of jumps that a check now takes into account, unless none is needed.
    fn begin(&self, now: Instant) -> Option<u64> {
        let mut state = self.state();
        if state.noticed == state.corrected || state.next_check.is_some_and(|next| now < next) {
            return None;
        }
        state.next_check = Some(now + CHECK_INTERVAL);
        Some(state.noticed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reading of the store's clock.
#[derive(Debug, Clone, Copy)]
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) struct Reading {
    /// The store's time, in milliseconds since 1970.
    pub(crate) time: i64,
    /// The local instant at which the clock showed this time.
    pub(crate) instant: Instant,
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl Reading {
    /// Returns the time by which the clock was set forward since an earlier reading, in
    /// milliseconds. Returns a negative time if it was set back, and 0 if it was not set.
    pub(crate) fn jump_since(self, earlier: Self) -> i64 {
        let passed = millis(self.instant.saturating_duration_since(earlier.instant));
        let jump = self.time.saturating_sub(earlier.time.saturating_add(passed));
        if jump.abs() > millis(MAX_CLOCK_STEP) { jump } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::ready};

    use router_core::clock::{Clock as _, SystemClock};

    use super::*;

    /// Counts the checks, each of which has this result.
    async fn check<E>(set_back: &SetBack, now: Instant, result: Result<u64, E>) -> bool {
        let mut has_run = false;
        let correction = async {
            has_run = true;
            result
        };
        drop(set_back.correct(now, correction).await);
        has_run
    }

    fn found(deliveries: u64) -> Result<u64, Infallible> {
        Ok(deliveries)
    }

    #[tokio::test]
    async fn check_is_repeated_until_nothing_was_corrected() {
        let (set_back, now) = (SetBack::new(), SystemClock.monotonic());
        assert!(check(&set_back, now, Err("unavailable")).await, "at the start");
        assert!(!check(&set_back, now, found(0)).await, "too soon");
        assert!(check(&set_back, now + CHECK_INTERVAL, found(3)).await, "after a failure");
        assert!(check(&set_back, now + CHECK_INTERVAL * 2, found(0)).await, "after a correction");
        assert!(!check(&set_back, now + CHECK_INTERVAL * 3, found(0)).await);
        set_back.notice();
        assert!(check(&set_back, now + CHECK_INTERVAL * 3, found(0)).await);
    }

    /// Clocks that are corrected by small steps must not cause checks.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    #[test]
    fn steps_up_to_the_maximum_are_no_jumps() {
        let (instant, passed, max) =
            (SystemClock.monotonic(), Duration::from_secs(9), millis(MAX_CLOCK_STEP));
        let first = Reading { time: 1_000_000, instant };
        for (step, jump) in [(0, 0), (max, 0), (-max, 0), (max + 1, max + 1), (-max - 1, -max - 1)]
        {
            let time = first.time + millis(passed) + step;
            let second = Reading { time, instant: instant + passed };
            assert_eq!(second.jump_since(first), jump, "{step}");
        }
    }

    #[tokio::test]
    async fn dropped_check_is_repeated() {
        let (set_back, now) = (SetBack::new(), SystemClock.monotonic());
        let never_ends = set_back.correct(now, std::future::pending::<Result<u64, Infallible>>());
        tokio::select! {
            biased;
            _ = never_ends => unreachable!("the correction is pending"),
            () = ready(()) => {}
        }
        assert!(check(&set_back, now + CHECK_INTERVAL, found(0)).await);
    }

    #[tokio::test]
    async fn jump_during_check_causes_another() {
        let (set_back, now) = (SetBack::new(), SystemClock.monotonic());
        let correction = async {
            set_back.notice();
            found(0)
        };
        set_back.correct(now, correction).await.unwrap();
        assert!(check(&set_back, now, found(0)).await);
    }
}
