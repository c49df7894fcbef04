//! How several processes keep out of each other's way.

use std::sync::atomic::{AtomicUsize, Ordering};

/// So many times as much as is wanted is chosen from at most.
const SPREAD: usize = 64;

/// Several processes that each take what has been due longest would all take the same, and all but one for nothing.
/// Whoever meets others chooses by chance among more, and among less again once it is alone.
pub(super) struct Spread(AtomicUsize);

impl Spread {
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(1))
    }

    /// How many times as much as is wanted to choose from.
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether nobody else was met of late.
    pub(super) fn is_alone(&self) -> bool {
        self.get() == 1
    }

    pub(super) fn tried(&self, picks: usize, conflicts: usize) {
        let spread = self.get();
        let spread = if conflicts * 4 > picks {
            (spread * 2).min(SPREAD)
        } else if conflicts == 0 {
            (spread - 1).max(1)
        } else {
            spread
        };
        self.0.store(spread, Ordering::Relaxed);
    }
}
