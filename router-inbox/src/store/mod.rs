//! The [`Store`] trait and its types: persistence of events and deliveries.

pub(crate) mod attempt;
mod change;
mod checkpoint;
mod claim;
mod delivery_state;
pub(crate) mod erase;
mod error;
mod event;
#[cfg(any(feature = "jetstream", feature = "postgres", feature = "sqlite"))]
pub(crate) mod history;
#[cfg(any(feature = "jetstream", feature = "postgres", feature = "sqlite"))]
pub(crate) mod identity;
mod listing;
#[cfg(any(feature = "jetstream", feature = "postgres", feature = "sqlite"))]
pub(crate) mod millis;
#[cfg(any(
    feature = "conformance",
    feature = "jetstream",
    feature = "postgres",
    feature = "sqlite"
))]
pub(crate) mod number;
pub mod operations;
pub(crate) mod order;
mod outcome;
#[cfg(any(feature = "jetstream", feature = "postgres", feature = "sqlite"))]
pub(crate) mod parameters;
mod pause;
mod retention;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) mod rows;
#[cfg(any(feature = "jetstream", feature = "postgres", feature = "sqlite"))]
pub(crate) mod set_back;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) mod sql_error;
mod status;
mod trace_parent;
mod worker_info;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use router_core::delivery::{Delivery, DeliveryService};
#[cfg(doc)]
use router_core::{Event, delivery::DeliveryOrder};

pub(crate) use self::error::is_unavailable_to_handler;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use self::order::OUT_OF_ORDER;
#[cfg(feature = "jetstream")]
pub(crate) use self::order::position;
pub use self::{
    claim::{Claim, ClaimRequest, HandlerSlots, Lease},
    delivery_state::DeliveryState,
    error::{StoreError, StoreErrorKind},
    event::{NewDelivery, NewEvent, Redelivery, Stored},
    operations::Operations,
    order::{OrderKey, newest_recency, out_of_order_position},
    outcome::{CompleteResult, DeliveryOutcome},
    pause::PausedHandler,
    trace_parent::TraceParent,
    worker_info::WorkerInfo,
};

/// Maximum difference of two clocks that is not a jump of one of them. NTP steps a clock by more
/// only if the clock was wrong.
pub(crate) const MAX_CLOCK_STEP: Duration = Duration::from_secs(5);

/// Upper limit of a duration: 1000 years. A point in time plus this duration overflows neither a
/// `SystemTime` nor milliseconds in an `i64`.
#[cfg(any(
    feature = "conformance",
    feature = "jetstream",
    feature = "postgres",
    feature = "sqlite"
))]
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(1_000 * 365 * 24 * 60 * 60);

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
///   no effect. Callers pass only durations, of any length up to [`Duration::MAX`]. A store may
///   shorten a duration that would overflow its times.
/// - Callers may repeat any call after an error. The failed call may have processed some of the
///   events or deliveries passed to it, but none of them partially. The repeated call must
///   not process an event or delivery a second time.
/// - Callers drop the future of a call that takes too long, and continue with other calls. Later
///   calls must not depend on a connection that has stopped answering.
#[async_trait]
pub trait Store: DeliveryService + Send + Sync + 'static {
    /// Stores events with their deliveries.
    ///
    /// Each event must be stored atomically with all of its deliveries, and durably before this
    /// method returns. An event without deliveries is unhandled, and is stored like any other.
    ///
    /// An event whose [key](Event::key) is already stored has been redelivered. For each of its
    /// deliveries, the store looks up the handler's latest delivery: the one with the highest
    /// generation, under the handler's name or its former name.
    ///
    /// - If there is none, the delivery is added.
    /// - If it is a dead letter, it starts over: due at once, with its first attempt. It keeps its
    ///   name, generation, position in the lane, and the message of the latest failure.
    /// - If it is waiting or running, it keeps its payload. If it becomes a dead letter, it starts
    ///   over with the last redelivered event in another [form](Event::has_same_form). Two copies
    ///   of an event, in two API versions, can arrive before the handler has tried the first one.
    /// - In any other state it is left unchanged.
    ///
    /// An added or restarted delivery is [claimed](Claim::event) with the payload, endpoint and
    /// signing time of the event that was passed to this call. The other deliveries keep theirs,
    /// because the payload may be in another API version that their handlers cannot decode. The
    /// position in a lane is always that of the event as it was first received.
    ///
    /// If the event's own id is new for this key, the event is stored in any case, so that
    /// [`deliveries`](Self::deliveries) finds both ids of a thin event and its
    /// [snapshot event](Event::snapshot_event).
    ///
    /// Events with equal keys in one call are stored as if in separate calls, in the given order.
    ///
    /// Returns one result per event, in the same order.
    ///
    /// # Errors
    ///
    /// Fails if the batch could not be committed. The outcome of each event is then unknown;
    /// the caller must retry. Repeating the call is safe, and counts as a redelivery.
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

    /// Claims due deliveries, and grants a lease on each.
    ///
    /// For each handler, the deliveries with the earliest due time are claimed first. If more
    /// deliveries are due than the [limit](ClaimRequest::limit) allows, each is claimed from the
    /// handler that then has the fewest deliveries in flight. These are its deliveries
    /// [in flight before the claim](HandlerSlots::in_flight) plus those claimed so far. If several
    /// handlers have equally many, the delivery with the earliest due time is claimed. A handler
    /// with a long backlog thus does not delay the others. The returned claims are in the order of
    /// their due times.
    ///
    /// A claim counts an attempt before the handler runs, so that an attempt which crashes the
    /// process is counted too. A delivery whose lease has expired is claimed with
    /// [`lease_expired`](Claim::lease_expired) set, and no further attempt is counted. The caller
    /// must complete it as failed without running its handler. Running it at once, together with
    /// the other deliveries of the crashed process, could crash this process too.
    ///
    /// A store with [`Operations`] records the time of the claim and the name of the
    /// [worker](ClaimRequest::worker) in the delivery's
    /// [history](operations::DeliverySummary::history). The claim of an expired lease continues the
    /// attempt, and changes neither.
    ///
    /// Of the ordered deliveries of one handler and object (a lane), at most one may be leased
    /// at a time. The one with the smallest [position](OrderKey::position) is claimed first. For
    /// each lane, the store remembers the highest recency of the deliveries that were completed as
    /// [`Done`](DeliveryOutcome::Done), also after they have been purged. A delivery with
    /// [`NewestOnly`](DeliveryOrder::NewestOnly) whose recency is lower is claimed with
    /// [`outdated`](Claim::outdated) set.
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
    /// operator has changed it. A dead letter starts over if its event was redelivered while the
    /// delivery was unfinished, see [`store`](Self::store). Returns one result per lease, in the
    /// same order.
    ///
    /// A store with [`Operations`] records the outcome and its error in the delivery's
    /// [history](operations::DeliverySummary::history). A
    /// [released](DeliveryOutcome::Released) attempt is removed from the history.
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
    /// and handler, and then by the order in which they were stored. (Two endpoints can have stored
    /// events with the same id.)
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

    /// Records that a worker is running, until `ttl` from now or until a later call with the same
    /// name. A `ttl` of zero removes the record, because the worker has stopped.
    ///
    /// The default implementation does nothing. Implement this method together with
    /// [`workers`](Self::workers).
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable.
    async fn report_worker(&self, worker: &WorkerInfo, ttl: Duration) -> Result<(), StoreError> {
        let _ = (worker, ttl);
        Ok(())
    }

    /// Returns the running workers, sorted by name, or `None` if the store does not record them.
    ///
    /// The default implementation returns `None`. Implement this method together with
    /// [`report_worker`](Self::report_worker).
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable.
    async fn workers(&self) -> Result<Option<Vec<WorkerInfo>>, StoreError> {
        Ok(None)
    }

    /// Returns the handlers that an operator has [paused](Operations::pause), sorted by name.
    ///
    /// Workers read the list before a claim, at most once a second, and claim nothing for these
    /// handlers. The default implementation returns none, for a store without [`Operations`].
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable. The worker then claims nothing.
    async fn paused_handlers(&self) -> Result<Vec<PausedHandler>, StoreError> {
        Ok(Vec::new())
    }

    /// Adds the resource that this store [provides](DeliveryService::provides), for example a
    /// transaction, to a delivery.
    ///
    /// The handler writes through that resource, and the returned [`Effects`] commit or roll back
    /// these writes. The default implementation adds nothing.
    fn prepare(&self, delivery: Delivery) -> (Delivery, Option<Box<dyn Effects>>) {
        (delivery, None)
    }

    /// Returns the maximum time for which a handler's transaction blocks all other writes.
    ///
    /// Zero, the default, means that a transaction blocks only the rows that it writes.
    ///
    /// Callers wait at least twice this time for any operation.
    fn blocking_limit(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns the maximum number of transactions that handlers can have open at the same time, if
    /// it is a setting. A worker that may have more such handlers in flight logs a warning at its
    /// start.
    ///
    /// `None`, the default, means that the operator cannot change the number.
    fn max_transactions(&self) -> Option<usize> {
        None
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
///
/// A store that cannot give the handler access to them, for example because no connection is
/// available, returns [`StoreError::unavailable_to_handler`] to the handler.
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
#[non_exhaustive]
pub struct Backlog {
    /// The handler name with which the deliveries were stored.
    pub handler: Arc<str>,
    /// The number of deliveries waiting: due, scheduled for a retry, or blocked in their lane.
    pub waiting: u64,
    /// The number of claimed deliveries.
    pub running: u64,
    /// Time since the oldest unfinished delivery was stored.
    pub oldest: Duration,
    /// Time since the first of the claimable deliveries became due, or `None` if none is claimable.
    /// A waiting delivery is claimable once it is due, and a running one once its lease has
    /// expired. A delivery that is blocked in its lane is not claimable.
    pub oldest_due: Option<Duration>,
}

impl Backlog {
    /// Creates an entry for a handler without unfinished deliveries.
    pub fn new(handler: impl Into<Arc<str>>) -> Self {
        let (handler, oldest) = (handler.into(), Duration::ZERO);
        Self { handler, waiting: 0, running: 0, oldest, oldest_due: None }
    }
}

/// A stored delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
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
    /// The message of the latest failure, or the reason for which the handler runs later.
    pub error: Option<String>,
}

impl StoredDelivery {
    /// Creates a delivery of a received event without an account, before its first attempt.
    pub fn new(
        endpoint: impl Into<String>,
        handler: impl Into<Arc<str>>,
        state: DeliveryState,
    ) -> Self {
        let (endpoint, handler) = (endpoint.into(), handler.into());
        Self { endpoint, account: None, generation: 0, handler, state, attempts: 0, error: None }
    }
}
