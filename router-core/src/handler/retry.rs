//! When a handler that failed is tried again, by whoever keeps its deliveries.

use std::time::Duration;

/// How often a delivery is tried, and how long is waited in between: the `max_attempts`, `backoff` and
/// `max_backoff` of `#[on_event]`. Each wait is four times the one before, up to the longest.
///
/// By default 12 attempts in 66 hours, about as long as Stripe itself would try: the waits are 15 s, 1 min, 4
/// min, 16 min, 64 min, 4 h 16 min, and then 12 h each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How often it is tried at most, the first time included; at least 1.
    pub max_attempts: u32,
    /// How long is waited after the first attempt.
    pub initial_backoff: Duration,
    /// How long is waited at most.
    pub max_backoff: Duration,
}

const GROWTH: u32 = 4;

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
    /// How long to wait after this attempt, counted from 1; `None` after the last.
    #[must_use]
    pub fn wait_after(&self, attempt: u32) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let growth = GROWTH.checked_pow(attempt.saturating_sub(1));
        let wait = growth.and_then(|growth| self.initial_backoff.checked_mul(growth));
        Some(wait.unwrap_or(self.max_backoff).min(self.max_backoff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_the_last_of_twelve_attempts_is_made_after_about_three_days() {
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
    fn no_number_of_attempts_overflows() {
        let policy = RetryPolicy { max_attempts: u32::MAX, ..RetryPolicy::default() };
        assert_eq!(policy.wait_after(0), Some(policy.initial_backoff));
        assert_eq!(policy.wait_after(40), Some(policy.max_backoff));
        assert_eq!(policy.wait_after(u32::MAX - 1), Some(policy.max_backoff));
    }

    #[test]
    fn one_attempt_is_never_followed_by_another() {
        let policy = RetryPolicy { max_attempts: 1, ..RetryPolicy::default() };
        assert_eq!(policy.wait_after(1), None);
    }
}
