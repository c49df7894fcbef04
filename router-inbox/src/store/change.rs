//! Retrying and discarding deliveries.

use std::sync::Arc;

use crate::store::DeliveryState;

/// A snapshot of a delivery, taken when the delivery was selected for a change.
///
/// [`Operations::change`](crate::store::Operations::change) compares [`state`](Self::state) and
/// [`token`](Self::token) with those that the delivery has now, and does not change a delivery that
/// differs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelectedDelivery {
    /// The number of the delivery, see [`ListEntry::number`](crate::operations::ListEntry::number).
    pub number: i64,
    /// The fencing token of the delivery's latest lease, or 0 before the first claim. Each claim
    /// gives the delivery a new token, so an equal token means that it has not been claimed since
    /// the snapshot.
    pub token: i64,
    /// The event's id (`evt_…`).
    pub event_id: String,
    /// The name of the endpoint that received the event.
    pub endpoint: String,
    /// The event's connected account.
    pub account: Option<String>,
    /// The event's generation.
    pub generation: u32,
    /// The handler's stable name.
    pub handler: Arc<str>,
    /// The state of the delivery.
    pub state: DeliveryState,
    /// The number of attempts since the delivery was stored or last started over.
    pub attempts: u32,
}

impl SelectedDelivery {
    /// Creates a snapshot of a waiting delivery before its first claim. The event has no account
    /// and is not a replay. The other fields can be set.
    pub fn new(number: i64, event_id: &str, endpoint: &str, handler: impl Into<Arc<str>>) -> Self {
        Self {
            number,
            token: 0,
            event_id: event_id.to_owned(),
            endpoint: endpoint.to_owned(),
            account: None,
            generation: 0,
            handler: handler.into(),
            state: DeliveryState::Waiting,
            attempts: 0,
        }
    }

    fn order(&self) -> impl Ord + '_ {
        let Self { endpoint, account, generation, handler, number, .. } = self;
        (&**endpoint, account.as_deref(), *generation, &**handler, *number)
    }
}

/// The result of retrying or discarding a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangeResult {
    /// The delivery as it was selected, before the change.
    pub delivery: SelectedDelivery,
    /// The change that was made, or the reason for making none.
    pub change: ChangeOutcome,
}

impl ChangeResult {
    /// Pairs deliveries with the outcomes of a change, sorted by endpoint, account, generation,
    /// handler and number.
    pub(crate) fn sorted(
        deliveries: Vec<SelectedDelivery>,
        outcomes: Vec<ChangeOutcome>,
    ) -> Vec<Self> {
        let results = deliveries.into_iter().zip(outcomes);
        let mut results: Vec<_> =
            results.map(|(delivery, change)| Self { delivery, change }).collect();
        results.sort_by(|one, other| one.delivery.order().cmp(&other.delivery.order()));
        results
    }
}

/// A change that an operator makes to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Makes a waiting delivery due now, or one that is running under an expired lease. Its number
    /// of attempts does not change. A dead or discarded delivery starts over with its first
    /// attempt.
    Retry,
    /// Gives up a delivery that is waiting, dead, or running under an expired lease. It becomes
    /// [`Discarded`](DeliveryState::Discarded).
    Discard,
}

impl Change {
    /// Returns [`Applied`](ChangeOutcome::Applied) if deliveries in this state may be changed, or
    /// the reason against it.
    ///
    /// `is_leased` is `true` if the delivery is running and its lease has not expired. After that
    /// it counts as waiting, because its worker may have crashed.
    #[must_use]
    pub fn check_state(self, state: DeliveryState, is_leased: bool) -> ChangeOutcome {
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

    /// Returns [`Applied`](ChangeOutcome::Applied) if a delivery may be changed, or the reason
    /// against it. `selected` is the snapshot of the delivery, and `current` its data now.
    ///
    /// The state is checked first: a delivery that has finished since the snapshot is
    /// [`AlreadyFinished`](ChangeOutcome::AlreadyFinished), and not
    /// [`ChangedMeanwhile`](ChangeOutcome::ChangedMeanwhile).
    #[must_use]
    pub fn outcome(self, selected: &SelectedDelivery, current: CurrentDelivery) -> ChangeOutcome {
        let CurrentDelivery { state, token, is_leased, is_superseded, is_erased } = current;
        match self.check_state(state, is_leased) {
            ChangeOutcome::Applied if is_erased => ChangeOutcome::Erased,
            ChangeOutcome::Applied if (state, token) != (selected.state, selected.token) => {
                ChangeOutcome::ChangedMeanwhile
            }
            ChangeOutcome::Applied if self == Self::Retry && is_superseded => {
                ChangeOutcome::Superseded
            }
            outcome => outcome,
        }
    }
}

/// The current data of a delivery on which a change depends.
///
/// The struct is exhaustive: a store must determine each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentDelivery {
    /// The state of the delivery.
    pub state: DeliveryState,
    /// The fencing token of the latest lease, or 0 before the first claim.
    pub token: i64,
    /// `true` if the delivery is running and its lease has not expired.
    pub is_leased: bool,
    /// `true` if a later generation of the event has a delivery for the same handler.
    pub is_superseded: bool,
    /// `true` if the event's data was [erased](crate::store::Operations::erase).
    pub is_erased: bool,
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
    /// No change: the delivery is done or ignored, or a discarded one would be discarded again.
    AlreadyFinished,
    /// No change: the state or the token of the delivery differs from the snapshot. The delivery
    /// has been claimed, retried, discarded or redelivered since, and may no longer match the
    /// filter.
    ChangedMeanwhile,
    /// Not retried: a later generation of the event has a delivery for the same handler.
    Superseded,
    /// Not retried: the event's data was [erased](crate::store::Operations::erase).
    Erased,
    /// No change: the delivery is no longer stored, because its event was purged.
    NotFound,
}
