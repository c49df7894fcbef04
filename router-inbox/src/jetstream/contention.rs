//! Adaptive random selection that keeps claims of several processes from conflicting.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Upper bound for the oversampling factor.
const MAX_FACTOR: usize = 64;

/// An estimate of the contention of several processes for the same deliveries.
///
/// If all processes claimed the deliveries that have been due longest, all but one would get
/// conflicts. A process that gets conflicts therefore picks at random from a larger set of
/// candidates, and narrows the set again while it gets none.
pub(super) struct Contention(AtomicUsize);

impl Contention {
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(1))
    }

    /// Returns the oversampling factor: the number of candidates to consider per delivery wanted.
    pub(super) fn factor(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns whether recent claims had few or no conflicts.
    pub(super) fn is_low(&self) -> bool {
        self.factor() == 1
    }

    /// Adapts the factor to the result of a round: doubles it if more than a quarter of the
    /// attempts had conflicts, and decrements it if none had.
    pub(super) fn record_round(&self, attempts: usize, conflicts: usize) {
        let factor = self.factor();
        let factor = if conflicts * 4 > attempts {
            (factor * 2).min(MAX_FACTOR)
        } else if conflicts == 0 {
            (factor - 1).max(1)
        } else {
            factor
        };
        self.0.store(factor, Ordering::Relaxed);
    }
}
