//! The [`Store`] trait and its types: persistence of events and deliveries.

#[cfg(any(feature = "jetstream", feature = "postgres", feature = "sqlite"))]
pub(crate) mod millis;
pub mod operations;
mod order;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) mod rows;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use router_core::{BoxError, Delivery, DeliveryService, Event, HandlerSpec, event::EnvelopeError};

pub use self::{operations::Operations, order::OrderKey};

/// Durable storage for events and their deliveries.
///
/// A store contains each event once, and one delivery per event and handler. A worker claims
/// deliveries for the handlers it names, and receives a [`Lease`] on each. A lease expires, so that
/// the deliveries of a crashed process can be claimed again. It contains a fencing token, so that a
/// worker which has lost the lease can no longer change the delivery. Each delivery is completed
/// individually, with the lease of its claim.
///
/// # Requirements
///
/// An implementation must meet the requirements of each method. The test suite in the module
/// `conformance` checks them. In addition:
///
/// - All points in time come from the store's own clock, so that clock skew between machines has
///   no effect. Callers pass only durations.
/// - Callers may repeat any call after an error. The failed call may have processed some of the
///   events or deliveries passed to it, but none of them partially. The repeated call must
///   not process an event or delivery a second time.
#[async_trait]
pub trait Store: DeliveryService + Send + Sync + 'static {
    /// Stores events with their deliveries.
    ///
    /// Each event must be stored atomically with all of its deliveries, and durably before this
    /// method returns. An event whose [key](Event::key) is already stored is a duplicate, and
    /// nothing is added. An event without deliveries is unhandled, and is stored like any other.
    ///
    /// Returns one result per event, in the same order.
    ///
    /// # Errors
    ///
    /// Fails if the batch could not be committed. The outcome of each event is then unknown;
    /// storing is idempotent, so the caller must retry.
    async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError>;

    /// Checks whether the store accepts an event. It may reject one that is too large, for example.
    ///
    /// The inbox calls this method before [`store`](Self::store), so that a rejected event does not
    /// fail the other events of its batch. The default implementation accepts every event.
    ///
    /// # Errors
    ///
    /// Fails if the store, in its current configuration, cannot store the event.
    fn check(&self, event: &NewEvent) -> Result<(), StoreError> {
        let _ = event;
        Ok(())
    }

    /// Claims due deliveries, those with the earliest due time first, and grants a lease on each.
    ///
    /// A claim counts an attempt before the handler runs, so that an attempt which crashes the
    /// process is counted too. A delivery whose lease has expired is claimed with
    /// [`lease_expired`](Claim::lease_expired) set, and no further attempt is counted. The caller
    /// must complete it as failed without running its handler. Running it at once, together with
    /// the other deliveries of the crashed process, could crash this process too.
    ///
    /// Of the `ordered` deliveries of one handler and object (a lane), at most one may be leased
    /// at a time, and the oldest is claimed first (see [`OrderKey`]).
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable. Some deliveries may have been claimed nevertheless; their
    /// leases expire.
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, StoreError>;

    /// Extends leases (the worker's heartbeat), so that each expires `duration` from now.
    ///
    /// Returns one value per lease, in the same order: `true` if it was extended. An expired lease
    /// is extended too, unless the delivery has finished, has been claimed again, or has been
    /// changed by an operator.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable. Each lease may or may not have been extended.
    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError>;

    /// Records the outcomes of attempts, and ends their leases.
    ///
    /// An expired lease is still accepted, unless another worker has claimed the delivery or an
    /// operator has changed it. Returns one result per lease, in the same order.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable. Each outcome may or may not have been recorded, so the
    /// caller must retry. For an outcome that the failed call has recorded, the retry may return
    /// [`CompleteResult::LeaseLost`].
    async fn complete(
        &self,
        outcomes: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<CompleteResult>, StoreError>;

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

    /// Adds the resource that this store [provides](DeliveryService::provides), for example a
    /// transaction, to a delivery.
    ///
    /// The handler writes through that resource, and the returned [`Effects`] commit or roll back
    /// these writes. The default implementation adds nothing.
    fn prepare(&self, delivery: Delivery) -> (Delivery, Option<Box<dyn Effects>>) {
        (delivery, None)
    }

    /// Returns the operator's interface, if this store supports it. Workers also use it to purge
    /// events that are past their retention.
    fn operations(&self) -> Option<&dyn Operations> {
        None
    }

    /// Waits for a notification that another process has stored events or made deliveries due.
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

/// The writes a handler makes in the store itself. They are committed atomically with the outcome
/// of the delivery.
#[async_trait]
pub trait Effects: Send + Sync {
    /// Waits until the handler has blocked other writes for the store's maximum duration.
    ///
    /// Returns this maximum. Never completes if the store sets none.
    async fn deadline_exceeded(&self) -> Duration;

    /// Commits or rolls back the effects at the end of an attempt.
    ///
    /// If the outcome is [`Done`](DeliveryOutcome::Done) or [`Ignored`](DeliveryOutcome::Ignored),
    /// the effects are committed in one transaction with the completion of the delivery. Otherwise
    /// they are rolled back. Returns `None` if this method has not completed the delivery; the
    /// caller must then [complete](Store::complete) it.
    ///
    /// # Errors
    ///
    /// Fails if the effects could not be committed, or if the result of the commit is unknown. The
    /// caller must then [complete](Store::complete) the delivery as failed. If the commit did
    /// succeed, `complete` returns [`CompleteResult::LeaseLost`], and the handler is not run again.
    async fn finish(
        self: Box<Self>,
        lease: &Lease,
        outcome: &DeliveryOutcome,
    ) -> Result<Option<CompleteResult>, StoreError>;
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
    /// Time since the oldest unfinished delivery was stored.
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
    /// The event was new and has been stored.
    New,
    /// The event was already stored; nothing was added.
    Duplicate,
}

/// The parameters of a [claim](Store::claim).
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// The stable names of handlers, current and former, each with the maximum number of deliveries
    /// to claim for that name.
    pub handlers: Vec<(Arc<str>, usize)>,
    /// Maximum number of deliveries to claim in total.
    pub limit: usize,
    /// Duration of the leases.
    pub lease: Duration,
}

/// The right to record the outcome of a delivery, granted by a claim.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// A number that, together with the handler name, identifies the delivery in the store.
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
    /// `true` if this attempt was started under an earlier lease, which expired before an outcome
    /// was recorded. The caller must not run the handler, and must complete the attempt as failed.
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
    /// The delivery was released without a result. The attempt is not counted, and the delivery is
    /// due at once. Must not be used for a claim with [`lease_expired`](Claim::lease_expired) set.
    Released,
}

/// The result of recording an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompleteResult {
    /// The outcome is recorded.
    Recorded,
    /// Nothing was recorded, because the delivery is no longer running under this lease.
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
    /// An operator has discarded the delivery, or it was a dead letter that a replay superseded.
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
