//! Limits on the age of a signature.

use std::time::Duration;

use super::SignatureError;

/// Limits on the difference between a signature's time and our clock.
///
/// By default a signature may be 300 s old, as in Stripe's own libraries. There is no limit on
/// signatures from the future, so that a server whose clock lags does not lose events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    max_age: Option<u64>,
    max_ahead: Option<u64>,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { max_age: Some(300), max_ahead: None }
    }
}

impl Tolerance {
    /// Creates a tolerance with this maximum age, truncated to whole seconds.
    ///
    /// # Errors
    ///
    /// Fails if the age is less than a second. To disable the age check, use
    /// [`Tolerance::without_age_check`].
    pub fn new(max_age: Duration) -> Result<Self, ToleranceError> {
        match max_age.as_secs() {
            0 => Err(ToleranceError),
            seconds => Ok(Self { max_age: Some(seconds), ..Self::default() }),
        }
    }

    /// Creates a tolerance that accepts signatures of any age. A recorded request can then be sent
    /// again at any later time, so use it only to replay your own recordings.
    #[must_use]
    pub fn without_age_check() -> Self {
        Self { max_age: None, ..Self::default() }
    }

    /// Sets how far a signature may be ahead of our clock, truncated to whole seconds. Default: no
    /// limit.
    #[must_use]
    pub fn max_ahead(self, max_ahead: Duration) -> Self {
        Self { max_ahead: Some(max_ahead.as_secs()), ..self }
    }

    /// Checks a signature's time, in seconds since the Unix epoch. Returns how far it is ahead of
    /// our clock.
    pub(super) fn check(self, signed_at: u64, now: u64) -> Result<Duration, SignatureError> {
        let age = now.saturating_sub(signed_at);
        let ahead = signed_at.saturating_sub(now);
        match self {
            Self { max_age: Some(limit), .. } if age > limit => {
                Err(SignatureError::TooOld { signed_at, now, limit })
            }
            Self { max_ahead: Some(limit), .. } if ahead > limit => {
                Err(SignatureError::TooFarAhead { signed_at, now, limit })
            }
            _ => Ok(Duration::from_secs(ahead)),
        }
    }
}

/// The error for a tolerance of less than a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tolerance of less than a second would refuse requests of Stripe; the usual tolerance is \
     300 s, and `Tolerance::without_age_check()` disables the check"
)]
pub struct ToleranceError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_accepts_300_s_and_refuses_301_s() {
        let tolerance = Tolerance::default();
        assert_eq!(tolerance.check(1_000, 1_300), Ok(Duration::ZERO));
        assert_eq!(
            tolerance.check(1_000, 1_301),
            Err(SignatureError::TooOld { signed_at: 1_000, now: 1_301, limit: 300 })
        );
    }

    #[test]
    fn future_signature_is_accepted_unless_limited() {
        let day = Duration::from_secs(86_400);
        assert_eq!(Tolerance::default().check(86_400, 0), Ok(day));
        let limited = Tolerance::default().max_ahead(Duration::from_secs(60));
        assert_eq!(limited.check(60, 0), Ok(Duration::from_secs(60)));
        assert_eq!(
            limited.check(61, 0),
            Err(SignatureError::TooFarAhead { signed_at: 61, now: 0, limit: 60 })
        );
    }

    #[test]
    fn less_than_a_second_is_not_a_tolerance() {
        assert_eq!(Tolerance::new(Duration::ZERO), Err(ToleranceError));
        assert_eq!(Tolerance::new(Duration::from_millis(999)), Err(ToleranceError));
        assert_eq!(Tolerance::without_age_check().check(0, u64::MAX), Ok(Duration::ZERO));
    }
}
