//! Conversion of times to the form in which stores persist them: milliseconds since the Unix epoch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::MAX_DURATION;

/// Returns the duration in milliseconds, at most [`MAX_DURATION`].
pub(crate) fn millis(time: Duration) -> i64 {
    i64::try_from(time.min(MAX_DURATION).as_millis()).expect("maximum duration fits")
}

/// Converts a difference in milliseconds, or returns `None` if it is negative.
pub(crate) fn elapsed(millis: i64) -> Option<Duration> {
    u64::try_from(millis).ok().map(Duration::from_millis)
}

/// Returns the point in time, or `None` if `millis` is negative or out of range.
pub(crate) fn time(millis: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(millis).ok()?))
}
