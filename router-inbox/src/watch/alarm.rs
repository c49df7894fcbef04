//! The times at which a warning is repeated.

use std::time::{Duration, Instant};

/// A warning that is logged at once, and then repeated after 1, 2, 4, … minutes, up to an hour.
pub(super) struct Alarm {
    pub(super) began: Instant,
    next: Instant,
    pause: Duration,
}

const FIRST_PAUSE: Duration = Duration::from_secs(60);

const MAX_PAUSE: Duration = Duration::from_secs(60 * 60);

impl Alarm {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, next: now, pause: FIRST_PAUSE }
    }

    /// Returns whether the warning is due, and if so schedules the next one.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        true
    }
}
