//! The retries of stored deliveries: how many there are, and the wait before each.

use std::time::Duration;

/// The retry policy of stored deliveries: the number of attempts, and exponential backoff by a
/// factor of four, up to a maximum, with jitter (±25 %).
///
/// The default is 12 attempts within 66 hours, about as long as Stripe retries. The waits are 15 s,
/// 1 min, 4 min, 16 min, 64 min, 4 h 16 min, and then 12 h each.
///
/// A handler that returns [`Outcome::later`](crate::Outcome::later) chooses the wait itself, and
/// the attempt does not count. [`max_delay`](Self::max_delay) limits the total time of such waits.
///
/// [`DeliveryRouterBuilder::retry`](crate::build::DeliveryRouterBuilder::retry) sets the policy of
/// all handlers. `retry(…)` of `#[on_event]` replaces single values of it for one handler.
///
/// ```
/// use std::time::Duration;
///
/// use router_core::delivery::RetryPolicy;
///
/// let policy = RetryPolicy::new(5).backoff(Duration::from_secs(1));
/// assert_eq!(policy.wait_after(2, None, 0.5), Some(Duration::from_secs(4)));
/// assert_eq!(policy.wait_after(5, None, 0.5), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The maximum number of attempts, including the first; at least 1.
    pub max_attempts: u32,
    /// The wait after the first attempt.
    pub initial_backoff: Duration,
    /// The maximum wait between two attempts.
    pub max_backoff: Duration,
    /// The maximum total time by which a handler may delay a delivery with
    /// [`Outcome::later`](crate::Outcome::later).
    pub max_delay: Duration,
}

/// The minimum wait of [`Outcome::later`](crate::Outcome::later), so that a handler cannot run in a
/// busy loop.
const MIN_LATER_WAIT: Duration = Duration::from_secs(1);

/// The factor by which each wait exceeds the previous one.
const BACKOFF_FACTOR: u32 = 4;

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 12,
            initial_backoff: Duration::from_secs(15),
            max_backoff: Duration::from_secs(12 * 60 * 60),
            max_delay: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}

impl RetryPolicy {
    /// Creates a policy with this maximum number of attempts, including the first, and the default
    /// waits.
    #[must_use]
    pub fn new(max_attempts: u32) -> Self {
        Self { max_attempts, ..Self::default() }
    }

    /// Sets the wait after the first attempt. Default: 15 s.
    #[must_use]
    pub fn backoff(self, initial_backoff: Duration) -> Self {
        Self { initial_backoff, ..self }
    }

    /// Sets the maximum wait between two attempts. Default: 12 h.
    #[must_use]
    pub fn max_backoff(self, max_backoff: Duration) -> Self {
        Self { max_backoff, ..self }
    }

    /// Sets the maximum total time by which a handler may delay a delivery with
    /// [`Outcome::later`](crate::Outcome::later). Default: 7 days.
    ///
    /// Only the waits count, and not the time in which no worker runs the handler. When the maximum
    /// is reached, the handler runs once more. If it then returns `later` again, the delivery
    /// becomes a dead letter.
    #[must_use]
    pub fn max_delay(self, max_delay: Duration) -> Self {
        Self { max_delay, ..self }
    }

    /// Returns the time to wait after a handler has returned
    /// [`Outcome::later(wait)`](crate::Outcome::later), or `None` if the delivery has been delayed
    /// for the maximum. `delayed` is the total of the delivery's waits so far.
    ///
    /// The result is `wait`, but at most the rest of the maximum delay, and at least one second.
    #[must_use]
    pub fn wait_later(&self, wait: Duration, delayed: Duration) -> Option<Duration> {
        let remaining = self.max_delay.checked_sub(delayed).filter(|time| !time.is_zero())?;
        Some(wait.min(remaining).max(MIN_LATER_WAIT))
    }

    /// Returns the wait after a failed attempt, or `None` after the last. Attempts count from 1.
    ///
    /// `retry_after` is the [minimum wait](crate::Failure::retry_after) that the failure asks for.
    /// It is not subject to the maximum. `random` is a random number from 0 to 1 for the jitter.
    #[must_use]
    pub fn wait_after(
        &self,
        attempt: u32,
        retry_after: Option<Duration>,
        random: f64,
    ) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let factor = BACKOFF_FACTOR.checked_pow(attempt.saturating_sub(1));
        let backoff = factor.and_then(|factor| self.initial_backoff.checked_mul(factor));
        let backoff = backoff.unwrap_or(self.max_backoff).min(self.max_backoff);
        Some(Self::jitter(backoff, random).max(retry_after.unwrap_or_default()))
    }

    /// Returns the wait changed by up to 25 %, so that deliveries which failed together are not
    /// retried together. `random` is a random number from 0 to 1; 0.5 changes nothing.
    #[must_use]
    pub fn jitter(wait: Duration, random: f64) -> Duration {
        let factor = 0.75 + random.clamp(0.0, 1.0) / 2.0;
        Duration::try_from_secs_f64(wait.as_secs_f64() * factor).unwrap_or(wait)
    }

    /// Returns the mistake in the policy, if there is one.
    pub(crate) fn mistake(&self) -> Option<&'static str> {
        if self.max_attempts == 0 {
            Some("its `max_attempts` is 0: allow at least 1")
        } else if self.initial_backoff.is_zero() {
            Some("its `backoff` is zero: without a wait all retries would run at once")
        } else if self.max_backoff < self.initial_backoff {
            Some("its `max_backoff` is shorter than its `backoff`: increase it")
        } else if self.max_delay.is_zero() {
            Some("its `max_delay` is zero: no handler could return `Outcome::later`")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn default_attempts_span_about_three_days() {
        let policy = RetryPolicy::default();
        let waits: Vec<u64> = (1..12)
            .map(|attempt| policy.wait_after(attempt, None, 0.5).unwrap().as_secs())
            .collect();
        assert_eq!(
            waits,
            [15, 60, 240, 960, 3840, 15360, 43200, 43200, 43200, 43200, 43200],
            "in seconds"
        );
        assert_eq!(waits.iter().sum::<u64>() / 3600, 65);
        assert_eq!(policy.wait_after(12, None, 0.5), None);
    }

    #[test]
    fn jitter_is_a_quarter_of_the_wait_at_most() {
        let policy = RetryPolicy::new(3).backoff(SECOND * 100);
        let wait = |random| policy.wait_after(1, None, random);
        assert_eq!([0.0, 0.5, 1.0].map(wait), [75, 100, 125].map(|wait| Some(SECOND * wait)));
        let out_of_range = [-1.0, 2.0, f64::NAN].map(wait);
        assert_eq!(out_of_range, [75, 125, 100].map(|wait| Some(SECOND * wait)));
    }

    #[test]
    fn requested_wait_is_the_minimum() {
        let policy = RetryPolicy::new(2).backoff(SECOND * 10).max_backoff(SECOND * 10);
        let wait = |retry_after| policy.wait_after(1, Some(SECOND * retry_after), 0.0);
        assert_eq!(wait(3), Some(Duration::from_millis(7500)), "less than the backoff");
        assert_eq!(wait(60), Some(SECOND * 60), "more than the maximum backoff");
        assert_eq!(policy.wait_after(2, Some(SECOND), 0.0), None, "the last attempt");
    }

    #[test]
    fn later_ends_at_the_maximum_delay() {
        let policy = RetryPolicy::default().max_delay(SECOND * 100);
        let wait = |wait, delayed| policy.wait_later(SECOND * wait, SECOND * delayed);
        assert_eq!(wait(30, 0), Some(SECOND * 30));
        assert_eq!(wait(30, 90), Some(SECOND * 10), "the rest of the maximum");
        assert_eq!(wait(30, 100), None);
        assert_eq!(wait(0, 0), Some(SECOND), "the minimum");
        assert_eq!(policy.wait_later(Duration::MAX, Duration::ZERO), Some(SECOND * 100));
    }

    #[test]
    fn wait_never_overflows() {
        let policy = RetryPolicy::new(u32::MAX);
        assert_eq!(policy.wait_after(0, None, 0.5), Some(policy.initial_backoff));
        assert_eq!(policy.wait_after(40, None, 0.5), Some(policy.max_backoff));
        assert_eq!(policy.wait_after(u32::MAX - 1, None, 0.5), Some(policy.max_backoff));
        let endless = policy.max_backoff(Duration::MAX);
        assert_eq!(endless.wait_after(40, None, 1.0), Some(Duration::MAX));
    }
}
