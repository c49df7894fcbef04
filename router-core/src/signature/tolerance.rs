//! How old a signature may be.

use std::time::Duration;

use super::SignatureError;

/// How far the signature's time may lie from ours. The default is 300 s into the past, as in
/// Stripe's own libraries, and without limit into the future: a server whose clock lags must not
/// lose events.
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
    /// Signatures may be as old as this, to the whole second.
    ///
    /// # Errors
    ///
    /// [`ToleranceError`] for less than a second: to do without an age check, say so with
    /// [`Tolerance::without_age_check`].
    pub fn new(max_age: Duration) -> Result<Self, ToleranceError> {
        match max_age.as_secs() {
            0 => Err(ToleranceError),
            seconds => Ok(Self { max_age: Some(seconds), ..Self::default() }),
        }
    }

    /// However old a signature is, it is accepted. Whoever has seen one request can then send it
    /// again for ever; meant for replaying recorded requests.
    #[must_use]
    pub fn without_age_check() -> Self {
        Self { max_age: None, ..Self::default() }
    }

    /// Signatures may be ahead of our clock by as much as this, to the whole second.
    #[must_use]
    pub fn max_ahead(self, max_ahead: Duration) -> Self {
        Self { max_ahead: Some(max_ahead.as_secs()), ..self }
    }

    /// By how much the signature is ahead of our clock, if its time is acceptable.
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

/// A tolerance of zero was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tolerance of less than a second would refuse what Stripe sends; the usual one is 300 s, \
     and `Tolerance::without_age_check()` switches the check off"
)]
pub struct ToleranceError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_hundred_seconds_pass_and_one_more_does_not() {
        let tolerance = Tolerance::default();
        assert_eq!(tolerance.check(1_000, 1_300), Ok(Duration::ZERO));
        assert_eq!(
            tolerance.check(1_000, 1_301),
            Err(SignatureError::TooOld { signed_at: 1_000, now: 1_301, limit: 300 })
        );
    }

    #[test]
    fn ahead_of_our_clock_is_accepted_unless_limited() {
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
    fn zero_is_not_a_tolerance() {
        assert_eq!(Tolerance::new(Duration::ZERO), Err(ToleranceError));
        assert_eq!(Tolerance::new(Duration::from_millis(999)), Err(ToleranceError));
        assert_eq!(Tolerance::without_age_check().check(0, u64::MAX), Ok(Duration::ZERO));
    }
}
