//! Detects jumps of the machine's clock.

use std::time::{Duration, Instant, SystemTime};

use router_core::clock::Clock;

use crate::store::MAX_CLOCK_STEP;

/// Compares the time of day with the monotonic time, and logs each jump once.
pub(super) struct ClockWatch {
    last: (SystemTime, Instant),
}

impl ClockWatch {
    pub(super) fn new(clock: &dyn Clock) -> Self {
        Self { last: (clock.wall(), clock.monotonic()) }
    }

    /// Returns whether the clock has jumped since the previous call, and logs the jump.
    pub(super) fn has_jumped(&mut self, clock: &dyn Clock) -> bool {
        let (last_wall, last_instant) = self.last;
        self.last = (clock.wall(), clock.monotonic());
        let (wall, instant) = self.last;
        let expected = last_wall + instant.saturating_duration_since(last_instant);
        match wall.duration_since(expected) {
            Ok(ahead) if ahead > MAX_CLOCK_STEP => tracing::warn!(
                jump = %in_seconds(ahead),
                "the machine's clock was set forward, or the machine was suspended; renewing all \
                 leases now; scheduled retries may come early"
            ),
            Err(behind) if behind.duration() > MAX_CLOCK_STEP => tracing::warn!(
                jump = %in_seconds(behind.duration()),
                "the machine's clock was set back; renewing all leases now; scheduled retries may \
                 come late"
            ),
            _ => return false,
        }
        true
    }
}

fn in_seconds(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs()))
}
