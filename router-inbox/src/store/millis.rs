//! Times as stores write them down: milliseconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longer than anything waits, and added to any time it is one.
const LONGEST: i64 = 1_000 * 365 * 24 * 60 * 60 * 1_000;

pub(crate) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).map_or(LONGEST, |millis| millis.min(LONGEST))
}

pub(crate) fn time(millis: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(millis).ok()?))
}
