//! The times at which a warning is repeated.

use std::time::{Duration, Instant};

/// The schedule of a warning: at once, and then repeatedly after 1, 2, 4, … minutes, up to an hour.
pub(super) struct WarningSchedule {
    pub(super) began: Instant,
    next: Instant,
    interval: Duration,
}

const FIRST_INTERVAL: Duration = Duration::from_secs(60);

const MAX_INTERVAL: Duration = Duration::from_secs(60 * 60);

impl WarningSchedule {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, next: now, interval: FIRST_INTERVAL }
    }

    /// Begins again after a short break: the next warning is due within a minute, but not at once,
    /// so that a problem that comes and goes is logged once a minute at most.
    pub(super) fn resume(&mut self, now: Instant) {
        self.next = self.next.min(now + FIRST_INTERVAL);
        self.interval = FIRST_INTERVAL;
    }

    /// Returns whether the warning is due, and if so schedules the next one.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + self.interval;
        self.interval = (self.interval * 2).min(MAX_INTERVAL);
        true
    }
}
