//! Conversion of times to the form in which stores persist them: milliseconds since the Unix epoch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Upper limit of a duration: 1000 years. A point in time plus this does not overflow an `i64`.
const MAX_MILLIS: i64 = 1_000 * 365 * 24 * 60 * 60 * 1_000;

/// Returns the duration in milliseconds, at most 1000 years.
pub(crate) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).map_or(MAX_MILLIS, |millis| millis.min(MAX_MILLIS))
}

/// Converts a difference in milliseconds, or returns `None` if it is negative.
pub(crate) fn elapsed(millis: i64) -> Option<Duration> {
    u64::try_from(millis).ok().map(Duration::from_millis)
}

/// Returns the point in time, or `None` if `millis` is negative or out of range.
pub(crate) fn time(millis: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(millis).ok()?))
}
