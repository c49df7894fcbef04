//! Corrects due times after the clock of a store was set back.
//!
//! A delivery that was scheduled before that is due later than intended. Stores therefore record
//! the delay with each due time. A due time that is further in the future than its delay is too
//! late.

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
    /// The value of `noticed` when the last check began that found no delivery due too late.
    checked: u64,
    /// The earliest time of the next check.
    next_check: Option<Instant>,
}

/// The maximum number of deliveries (on JetStream: of records) that one correction changes. A
/// larger one could exceed the time limit of an operation, and block other writes for long.
pub(crate) const MAX_CORRECTED: u16 = 10_000;

/// The time after which a check is repeated. A check that fails also fails the claim that runs it,
/// so not every claim runs one.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

impl SetBack {
    /// Starts as if the clock had just been set back, because that may have happened while no
    /// process was running.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State { noticed: 1, checked: 0, next_check: None }))
    }

    /// Records that the clock may have been set back.
    pub(crate) fn notice(&self) {
        let mut state = self.state();
        state.noticed += 1;
        state.next_check = None;
    }

    /// Runs `correction` if the clock may have been set back and a check is due. Otherwise drops
    /// `correction` unpolled.
    ///
    /// `correction` returns the number of deliveries that it corrected, or `None` if no delivery
    /// was due too late. The check is repeated until that is the result, because a correction may
    /// have missed deliveries that were locked or being scheduled. The first call after
    /// [`CHECK_INTERVAL`] repeats it, and the next call after [`MAX_CORRECTED`] deliveries or after
    /// [`notice`](Self::notice).
    ///
    /// # Errors
    ///
    /// Fails if `correction` fails.
    pub(crate) async fn correct<E>(
        &self,
        now: Instant,
        correction: impl Future<Output = Result<Option<u64>, E>>,
    ) -> Result<(), E> {
        let Some(noticed) = self.begin(now) else { return Ok(()) };
        let Some(deliveries) = correction.await? else {
            self.state().checked = noticed;
            return Ok(());
        };
        if deliveries >= MAX_CORRECTED.into() {
            self.state().next_check = None;
        }
        if deliveries > 0 {
            tracing::warn!(
                deliveries,
                "the store's clock was set back, so that these deliveries were due too late; their \
                 scheduled delays now start again"
            );
        }
        Ok(())
    }

    /// Begins a check if one is due. Returns the value of `noticed` that it takes into account.
    fn begin(&self, now: Instant) -> Option<u64> {
        let mut state = self.state();
        if state.noticed == state.checked || state.next_check.is_some_and(|next| now < next) {
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
    /// milliseconds. Returns a negative time if it was set back, and 0 for differences up to
    /// [`MAX_CLOCK_STEP`].
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

    /// Calls [`SetBack::correct`] once with this result. Returns whether the correction ran.
    async fn check<E>(set_back: &SetBack, now: Instant, result: Result<Option<u64>, E>) -> bool {
        let mut has_run = false;
        let correction = async {
            has_run = true;
            result
        };
        drop(set_back.correct(now, correction).await);
        has_run
    }

    const NONE_LATE: Result<Option<u64>, Infallible> = Ok(None);

    fn corrected(deliveries: u64) -> Result<Option<u64>, Infallible> {
        Ok(Some(deliveries))
    }

    #[tokio::test]
    async fn check_is_repeated_until_no_delivery_is_late() {
        let (set_back, now) = (SetBack::new(), SystemClock.monotonic());
        assert!(check(&set_back, now, Err("unavailable")).await, "at the start");
        assert!(!check(&set_back, now, NONE_LATE).await, "too soon");
        assert!(check(&set_back, now + CHECK_INTERVAL, corrected(3)).await, "after a failure");
        assert!(check(&set_back, now + CHECK_INTERVAL * 2, NONE_LATE).await, "after a correction");
        assert!(!check(&set_back, now + CHECK_INTERVAL * 3, NONE_LATE).await);
        set_back.notice();
        assert!(check(&set_back, now + CHECK_INTERVAL * 3, NONE_LATE).await);
    }

    /// PostgreSQL skips deliveries that are locked.
    #[tokio::test]
    async fn check_that_skipped_every_late_delivery_is_repeated() {
        let (set_back, now) = (SetBack::new(), SystemClock.monotonic());
        assert!(check(&set_back, now, corrected(0)).await);
        assert!(check(&set_back, now + CHECK_INTERVAL, NONE_LATE).await);
    }

    #[tokio::test]
    async fn full_correction_is_continued_at_once() {
        let (set_back, now) = (SetBack::new(), SystemClock.monotonic());
        assert!(check(&set_back, now, corrected(MAX_CORRECTED.into())).await);
        assert!(check(&set_back, now, corrected(1)).await, "the rest");
        assert!(!check(&set_back, now, NONE_LATE).await, "too soon");
    }

    /// NTP corrects a clock in small steps.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    #[test]
    fn only_steps_above_the_maximum_are_jumps() {
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
        let never_ends =
            set_back.correct(now, std::future::pending::<Result<Option<u64>, Infallible>>());
        tokio::select! {
            biased;
            _ = never_ends => unreachable!("the correction is pending"),
            () = ready(()) => {}
        }
        assert!(check(&set_back, now + CHECK_INTERVAL, NONE_LATE).await);
    }

    #[tokio::test]
    async fn jump_during_check_causes_another() {
        let (set_back, now) = (SetBack::new(), SystemClock.monotonic());
        let correction = async {
            set_back.notice();
            NONE_LATE
        };
        set_back.correct(now, correction).await.unwrap();
        assert!(check(&set_back, now, NONE_LATE).await);
    }
}
