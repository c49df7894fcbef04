//! The outcome of an attempt, and the result of recording it.

use std::time::Duration;

#[cfg(doc)]
use router_core::delivery::DeliveryOrder;

#[cfg(doc)]
use super::{Claim, Effects, out_of_order_position};

/// The outcome of an attempt.
///
/// The enum is exhaustive: every outcome must be recorded, so a new one must be a compile error in
/// each store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The handler succeeded.
    Done,
    /// The handler ignored the event.
    Ignored,
    /// The handler failed and is retried.
    Retry {
        /// Minimum delay before the next attempt.
        wait: Duration,
        /// The failure's message.
        error: String,
    },
    /// The handler failed for good. The delivery is stored as a dead letter.
    Dead {
        /// The failure's message.
        error: String,
    },
    /// The delivery was released without a result, and the attempt is not counted. Must not be used
    /// for a claim with [`lease_expired`](Claim::lease_expired) set.
    Released {
        /// Minimum delay before the next attempt.
        wait: Duration,
    },
    /// The handler asked to run [later](router_core::Outcome::later), and the attempt is not
    /// counted. Must not be used for a claim with [`lease_expired`](Claim::lease_expired) set.
    ///
    /// The store adds the wait to [`Claim::delayed`], until the delivery ends or starts over.
    Later {
        /// Minimum delay before the next attempt.
        wait: Duration,
        /// The reason, which replaces the message of the latest failure.
        reason: Option<String>,
        /// `true` if the delivery moves to the end of its lane: to its
        /// [`out_of_order_position`]. The store ignores it if the delivery is not
        /// [`OldestFirst`](DeliveryOrder::OldestFirst).
        out_of_order: bool,
    },
}

/// The result of recording an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompleteResult {
    /// The outcome is recorded.
    Recorded,
    /// The delivery was to become a dead letter, but its event has been redelivered since it was
    /// stored. It starts over with the event as received last.
    Restarted,
    /// Nothing was recorded, because the delivery is no longer running under this lease.
    LeaseLost,
}

impl DeliveryOutcome {
    /// A release of a delivery that is due again at once.
    pub(crate) const RELEASED: Self = Self::Released { wait: Duration::ZERO };

    /// Returns whether the handler's [`Effects`] are committed.
    pub(crate) fn is_success(&self) -> bool {
        matches!(self, Self::Done | Self::Ignored)
    }
}
