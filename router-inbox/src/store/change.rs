//! Retrying and discarding a delivery.

use crate::store::{DeliveryState, StoredDelivery};

/// The result of retrying or discarding a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangeResult {
    /// The delivery before the change.
    pub delivery: StoredDelivery,
    /// The change that was made, or the reason for making none.
    pub change: ChangeOutcome,
}

impl ChangeResult {
    /// Creates the result for a delivery, as it was before the change.
    #[must_use]
    pub fn new(delivery: StoredDelivery, change: ChangeOutcome) -> Self {
        Self { delivery, change }
    }
}

/// A change that an operator makes to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Makes the delivery due now. A finished one starts over with its first attempt.
    Retry,
    /// Gives the delivery up.
    Discard,
}

impl Change {
    /// Returns [`Applied`](ChangeOutcome::Applied) if the change may be made to a delivery in this
    /// state, or the reason against it.
    ///
    /// `is_leased` is `true` if the delivery is running and its lease has not expired. After that
    /// it counts as waiting, because its worker may have crashed.
    #[must_use]
    pub fn outcome(self, state: DeliveryState, is_leased: bool) -> ChangeOutcome {
        match state {
            DeliveryState::Running if is_leased => ChangeOutcome::StillRunning,
            DeliveryState::Waiting | DeliveryState::Running | DeliveryState::Dead => {
                ChangeOutcome::Applied
            }
            DeliveryState::Discarded if self == Self::Retry => ChangeOutcome::Applied,
            DeliveryState::Done | DeliveryState::Ignored | DeliveryState::Discarded => {
                ChangeOutcome::AlreadyFinished
            }
        }
    }
}

/// The outcome of a requested change to a delivery.
///
/// The enum is exhaustive: programs must show each outcome to the operator, so a new one must be a
/// compile error in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// The requested change was made.
    Applied,
    /// No change: a worker is running the delivery, and its lease has not expired.
    StillRunning,
    /// No change: the delivery has finished, and is not a dead letter.
    AlreadyFinished,
}
