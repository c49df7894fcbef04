//! Retry policies for stored deliveries.

use std::time::Duration;

/// The retry policy of a stored delivery: exponential backoff by a factor of four, up to a maximum.
/// Corresponds to `attempts`, `backoff` and `max_backoff` of `#[on_event]`.
///
/// The default is 12 attempts within 66 hours, about as long as Stripe retries. The waits are 15 s,
/// 1 min, 4 min, 16 min, 64 min, 4 h 16 min, and then 12 h each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The maximum number of attempts, including the first; at least 1.
    pub max_attempts: u32,
    /// The wait after the first attempt.
    pub initial_backoff: Duration,
    /// The maximum wait between two attempts.
    pub max_backoff: Duration,
}

/// The factor by which each wait exceeds the previous one.
const BACKOFF_FACTOR: u32 = 4;

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 12,
            initial_backoff: Duration::from_secs(15),
            max_backoff: Duration::from_secs(12 * 60 * 60),
        }
    }
}

impl RetryPolicy {
    /// Returns the wait after an attempt, or `None` after the last. Attempts count from 1.
    #[must_use]
    pub fn wait_after(&self, attempt: u32) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let factor = BACKOFF_FACTOR.checked_pow(attempt.saturating_sub(1));
        let wait = factor.and_then(|factor| self.initial_backoff.checked_mul(factor));
        Some(wait.unwrap_or(self.max_backoff).min(self.max_backoff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_attempts_span_about_three_days() {
        let policy = RetryPolicy::default();
        let waits: Vec<u64> =
            (1..12).map(|attempt| policy.wait_after(attempt).unwrap().as_secs()).collect();
        assert_eq!(
            waits,
            [15, 60, 240, 960, 3840, 15360, 43200, 43200, 43200, 43200, 43200],
            "in seconds"
        );
        assert_eq!(waits.iter().sum::<u64>() / 3600, 65);
        assert_eq!(policy.wait_after(12), None);
    }

    #[test]
    fn wait_never_overflows() {
        let policy = RetryPolicy { max_attempts: u32::MAX, ..RetryPolicy::default() };
        assert_eq!(policy.wait_after(0), Some(policy.initial_backoff));
        assert_eq!(policy.wait_after(40), Some(policy.max_backoff));
        assert_eq!(policy.wait_after(u32::MAX - 1), Some(policy.max_backoff));
    }

    #[test]
    fn single_attempt_is_not_retried() {
        let policy = RetryPolicy { max_attempts: 1, ..RetryPolicy::default() };
        assert_eq!(policy.wait_after(1), None);
    }
}
