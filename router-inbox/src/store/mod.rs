//! The [`Store`] trait and its types: persistence of events and deliveries.

#[cfg(any(feature = "jetstream", feature = "postgres", feature = "sqlite"))]
pub(crate) mod millis;
pub mod operations;
mod order;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) mod rows;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use router_core::{
    BoxError, DeliveringService, Delivery, Event, HandlerSpec, event::EnvelopeError,
};

pub use self::{operations::Operations, order::OrderKey};

/// Durable storage for events and their deliveries.
///
/// A store keeps each event once, and one delivery per event and handler. A worker claims
/// deliveries of the handlers it names and holds each by a [`Lease`]: a time limit, so that the
/// deliveries of a crashed process become claimable again, and a fencing token, so that a worker
/// which has lost its lease cannot change the delivery any more. Each delivery is completed
/// individually, with the lease of its claim.
///
/// # Requirements
///
/// An implementation must meet the requirements of each method. The test suite in the module
/// `conformance` checks them. In addition:
///
/// - All points in time come from the store's own clock, so that clock skew between machines has
///   no effect. Callers pass only durations.
/// - Callers may repeat any call after an error. The failed call may have taken effect for some of
///   the events or deliveries passed to it, but for each either completely or not at all. The
///   repeated call must recognize such an effect instead of repeating it.
#[async_trait]
pub trait Store: DeliveringService + Send + Sync + 'static {
    /// Stores events with their deliveries.
    ///
    /// Each event must be stored atomically with all of its deliveries, and durably before this
    /// method returns. If an event with the same [key](Event::key) exists, nothing is added for
    /// it. An event without deliveries is unhandled, and is stored like any other.
    ///
    /// Returns one result per event, in the same order.
    ///
    /// # Errors
    ///
    /// Fails if the batch could not be committed. The outcome of each event is then unknown;
    /// storing is idempotent, so the caller must retry.
    async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError>;

    /// Checks whether the store can accept an event at all, for example because of its size.
    ///
    /// Called before [`store`](Self::store), so that an unacceptable event does not fail the
    /// other events of its batch. The default implementation accepts every event.
    ///
    /// # Errors
    ///
    /// Fails if the store, as it is configured now, can never store the event.
    fn check(&self, event: &NewEvent) -> Result<(), StoreError> {
        let _ = event;
        Ok(())
    }

    /// Claims deliveries that are due, longest due first, and grants a lease on each.
    ///
    /// A claim counts an attempt before the handler runs, so that a handler which crashes the
    /// process has used up its attempt. A delivery whose lease has expired is claimed with
    /// [`interrupted`](Claim::lease_expired) set and without counting another attempt. The caller
    /// must not run it, but complete it as failed: running it at once, together with everything
    /// else the crashed process had in flight, could crash this process too.
    ///
    /// Of the `ordered` deliveries of one handler and object (a lane), at most one may be leased
    /// at a time, and the oldest is claimed first (see [`OrderKey`]).
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable. Some deliveries may have been claimed nevertheless; their
    /// leases expire.
    async fn claim(&self, wanted: &ClaimRequest) -> Result<Vec<Claim>, StoreError>;

    /// Extends leases (the worker's heartbeat), so that each expires `time` from now.
    ///
    /// Returns for each lease, in the same order, whether it was still held.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable. Each lease then keeps its former expiry or has the new
    /// one.
    async fn extend(&self, leases: &[Lease], time: Duration) -> Result<Vec<bool>, StoreError>;

    /// Records the outcome of attempts, and ends their leases.
    ///
    /// The token decides, not the time: an expired lease is still accepted as long as nobody
    /// else has claimed or changed the delivery. Returns one result per lease, in the same order.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable. Each outcome may or may not have been recorded, so the
    /// caller must retry. The retry may report an outcome that the failed call has recorded as
    /// [`Completed::LeaseLost`].
    async fn complete(
        &self,
        ends: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<Completed>, StoreError>;

    /// Returns the deliveries of all events with this id, sorted by endpoint, account, generation
    /// and handler. (Two endpoints can have stored events with the same id.)
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable.
    async fn deliveries(&self, event_id: &str) -> Result<Vec<StoredDelivery>, StoreError>;

    /// Returns the number of unfinished deliveries, for each handler that has any.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable.
    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError>;

    /// Attaches to a delivery the value this store [provides](DeliveringService::provides), for
    /// example a transaction.
    ///
    /// The returned [`Effects`] commit or roll back the handler's use of that value. The
    /// default implementation attaches nothing.
    fn prepare(&self, delivery: Delivery) -> (Delivery, Option<Box<dyn Effects>>) {
        (delivery, None)
    }

    /// Returns the operator's interface, if this store supports it. Workers also use it to purge
    /// events that are past their retention.
    fn operations(&self) -> Option<&dyn Operations> {
        None
    }

    /// Waits for a notification that another process has stored something.
    ///
    /// Best effort: wake-ups may be spurious or lost, which polling covers. If several tasks
    /// wait, one of them is woken. The default implementation, for stores that cannot notify,
    /// never completes.
    ///
    /// # Cancel safety
    ///
    /// Must be cancel safe.
    async fn notified(&self) {
        std::future::pending::<()>().await;
    }
}

/// The effects of a handler within the store itself, which are committed atomically with the
/// outcome of its delivery.
#[async_trait]
pub trait Effects: Send + Sync {
    /// Waits until the handler has exceeded the time it may block the store, and returns that
    /// time limit. Never completes if there is none.
    async fn deadline_exceeded(&self) -> Duration;

    /// Commits or rolls back the effects at the end of an attempt.
    ///
    /// If the outcome is [`Done`](DeliveryOutcome::Done) or [`Ignored`](DeliveryOutcome::Ignored), the effects are
    /// committed in one transaction with the completion of the delivery. Otherwise they are rolled
    /// back. Returns `None` if the delivery has not been completed here, so that the caller must
    /// [complete](Store::complete) it.
    ///
    /// # Errors
    ///
    /// Fails if the effects could not be committed, or may not have been. The caller retries the
    /// handler. If the commit did succeed, recording that retry yields
    /// [`Completed::LeaseLost`].
    async fn finish(
        self: Box<Self>,
        lease: &Lease,
        end: &DeliveryOutcome,
    ) -> Result<Option<Completed>, StoreError>;
}

/// The unfinished deliveries of a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// The handler name with which the deliveries were stored.
    pub handler: Arc<str>,
    /// The number of deliveries waiting: due, scheduled for a retry, or blocked in their lane.
    pub waiting: u64,
    /// The number of claimed deliveries.
    pub running: u64,
    /// Time since the oldest of them was stored.
    pub oldest: Duration,
}

/// An event to be stored with its deliveries.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// One delivery per handler.
    pub deliveries: Vec<NewDelivery>,
}

/// A delivery to be stored with its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// The handler's stable name.
    pub handler: Arc<str>,
    /// `true` if the handler must receive the events of one object one at a time and in order.
    pub ordered: bool,
}

impl NewDelivery {
    /// Creates a delivery for a handler.
    #[must_use]
    pub fn new(handler: &HandlerSpec) -> Self {
        Self { handler: handler.name.clone(), ordered: handler.ordered }
    }
}

/// The result of storing an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// The event is stored now.
    New,
    /// The event had been stored before; nothing was added.
    Duplicate,
}

/// A request for deliveries.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Stable handler names (including former names), each with the maximum number of its
    /// deliveries.
    pub handlers: Vec<(Arc<str>, usize)>,
    /// Maximum number of deliveries in total.
    pub limit: usize,
    /// Duration of the leases.
    pub lease: Duration,
}

/// The right to record the outcome of a delivery, granted by a claim.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The store's number of the delivery.
    pub delivery: i64,
    /// The handler name with which the delivery was stored.
    pub handler: Arc<str>,
    /// Fencing token: increases with each lease of the delivery, and only the latest is valid.
    pub token: i64,
}

/// A claimed delivery.
#[derive(Debug)]
pub struct Claim {
    /// The lease with which the outcome is recorded.
    pub lease: Lease,
    /// The event, or an error if its stored data is damaged.
    pub event: Result<Event, EnvelopeError>,
    /// The number of attempts so far, including this one.
    pub attempt: u32,
    /// `true` if another worker started this attempt and its lease expired without an outcome.
    /// The handler must not be run; the attempt is completed as failed.
    pub lease_expired: bool,
}

/// The outcome of an attempt.
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
    /// The delivery was released without a result: the attempt is not counted, and the delivery is
    /// due at once. Must not be used for an [`interrupted`](Claim::lease_expired) claim.
    Released,
}

/// The result of recording an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completed {
    /// The outcome is recorded.
    Recorded,
    /// Nothing was recorded, because the lease is no longer the delivery's latest or the delivery
    /// has finished.
    LeaseLost,
}

/// A stored delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDelivery {
    /// The name of the endpoint that received the event.
    pub endpoint: String,
    /// The event's connected account.
    pub account: Option<String>,
    /// The event's generation: 0 for the received event, and one more for each replay.
    pub generation: u32,
    /// The handler's stable name.
    pub handler: Arc<str>,
    /// The state of the delivery.
    pub state: DeliveryState,
    /// The number of attempts.
    pub attempts: u32,
    /// The message of the latest failure.
    pub error: Option<String>,
}

/// The state of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// The delivery is due, scheduled for later, or blocked in its lane.
    Waiting,
    /// A worker has claimed the delivery. Its lease may have expired.
    Running,
    /// The handler succeeded.
    Done,
    /// The handler ignored the event.
    Ignored,
    /// The handler failed for good: a dead letter.
    Dead,
    /// An operator has discarded the delivery, or a replay has superseded a dead letter.
    Discarded,
}

/// An error of the store.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(pub BoxError);

impl StoreError {
    /// Wraps an error of the underlying engine.
    pub fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }
}
