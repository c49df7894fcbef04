//! Retrying and discarding deliveries.

use std::sync::Arc;

use crate::store::DeliveryState;

/// A delivery that was selected for a change, as it was then.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelectedDelivery {
    /// The number of the delivery, see [`ListEntry::number`](crate::operations::ListEntry::number).
    pub number: i64,
    /// The fencing token of the delivery's latest lease, 0 before the first. It tells whether the
    /// delivery has been claimed since.
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
    /// The number of attempts.
    pub attempts: u32,
}

impl SelectedDelivery {
    /// Creates a delivery of a received event without an account, before its first attempt. The
    /// other fields can be set.
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
    /// The delivery before the change.
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
    /// Makes the delivery due now. A finished one starts over with its first attempt.
    Retry,
    /// Gives the delivery up.
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

    /// Returns [`Applied`](ChangeOutcome::Applied) if a selected delivery may be changed as it is
    /// now, or the reason against it.
    #[must_use]
    pub fn outcome(self, selected: &SelectedDelivery, current: CurrentDelivery) -> ChangeOutcome {
        let CurrentDelivery { state, token, is_leased, is_superseded } = current;
        match self.check_state(state, is_leased) {
            ChangeOutcome::Applied if (state, token) != (selected.state, selected.token) => {
                ChangeOutcome::Changed
            }
            ChangeOutcome::Applied if self == Self::Retry && is_superseded => {
                ChangeOutcome::Superseded
            }
            outcome => outcome,
        }
    }
}

/// The facts about a delivery that decide whether an operator may change it.
///
/// The struct is exhaustive: a store must determine each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentDelivery {
    /// The state of the delivery.
    pub state: DeliveryState,
    /// The fencing token of the latest lease.
    pub token: i64,
    /// `true` if the delivery is running and its lease has not expired.
    pub is_leased: bool,
    /// `true` if a later generation of the event has a delivery for the same handler.
    pub is_superseded: bool,
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
    /// No change: the delivery is no longer as it was selected. It has been claimed, retried,
    /// discarded or restarted since, and may not match the filter any more.
    Changed,
    /// Not retried: the event has been replayed for the same handler.
    Superseded,
    /// No change: the delivery is no longer stored, because its event was purged.
    NotFound,
}
