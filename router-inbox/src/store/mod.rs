//! Where events and deliveries are kept.

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

/// Keeps events and their deliveries. The time is the store's own, so that machines whose clocks differ agree;
/// callers say only how long.
///
/// Every method may be called again after an error: what was done then is found as done, or not at all. That a
/// store keeps these promises is shown by the suite in `conformance`.
///
/// A store fits an engine whose consumers keep the state of one handler each: events are stored once, claims say
/// for which handlers they are, and each delivery is completed by itself, by the lease that its claim gave.
#[async_trait]
pub trait Store: DeliveringService + Send + Sync + 'static {
    /// Stores events with their deliveries: each event with all of its deliveries or not at all, and durably
    /// before this returns. An event whose [key](Event::key) is there already adds nothing. One without
    /// deliveries is unhandled, and is kept as any other.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: of none of them it is known whether it was stored. Whoever sent them is to send them
    /// again.
    async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError>;

    /// Whether an event is such that it could be stored at all, so that one which could not does not fail those that are
    /// stored together with it. By default each is.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it never will be, as the store is now.
    fn check(&self, event: &NewEvent) -> Result<(), StoreError> {
        let _ = event;
        Ok(())
    }

    /// Takes deliveries that are due, the one that has been due longest first, and counts an attempt of each: a
    /// handler that ends its process has had its attempt.
    ///
    /// One whose last lease has run out is claimed too, as [interrupted](Claim::lease_expired), which is no new
    /// attempt: whoever had it has not said how it ended, and running it again at once, beside all that was
    /// interrupted with it, could end the process again.
    ///
    /// Of `ordered` deliveries of one handler and object one is out at a time, and the oldest goes first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: what was claimed, if anything, is interrupted once its lease has run out.
    async fn claim(&self, wanted: &ClaimRequest) -> Result<Vec<Claim>, StoreError>;

    /// Has leases last for this much time from now on; for each, whether it was still held.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the leases last as long as before, or longer.
    async fn extend(&self, leases: &[Lease], time: Duration) -> Result<Vec<bool>, StoreError>;

    /// Records how runs ended, and ends their leases. A lease that has run out and that nobody has claimed since
    /// is still good.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: of none of them it is known whether it was recorded.
    async fn complete(
        &self,
        ends: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<Completed>, StoreError>;

    /// The deliveries of all events with this id, by endpoint, account, generation and handler. (Two endpoints
    /// can have stored one id.)
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn deliveries(&self, event_id: &str) -> Result<Vec<StoredDelivery>, StoreError>;

    /// How much is waiting or running, for each handler that has something.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError>;

    /// Gives a delivery what this store [provides](DeliveringService::provides) to each; what its handler does with that
    /// comes to an end by the [`Effects`]. By default nothing.
    fn prepare(&self, delivery: Delivery) -> (Delivery, Option<Box<dyn Effects>>) {
        (delivery, None)
    }

    /// What people ask of the store, where it can answer that. Workers purge by it what is old.
    fn operations(&self) -> Option<&dyn Operations> {
        None
    }

    /// Waits until another process may have stored something since this was last told. A hint: it may come for
    /// nothing, and what is stored while it cannot be heard is found by claiming now and then. Of several who wait one is
    /// told; any may cease to wait. For ever, where the store hears of nothing.
    async fn notified(&self) {
        std::future::pending::<()>().await;
    }
}

/// What a handler does within the store itself, which is there together with the end of its delivery, or not at all.
#[async_trait]
pub trait Effects: Send + Sync {
    /// Waits until the handler has held the store up for longer than it may, and says how long that is.
    async fn deadline_exceeded(&self) -> Duration;

    /// The run has ended so. Where that is [done](DeliveryOutcome::Done) or [ignored](DeliveryOutcome::Ignored), makes what the handler did
    /// durable and completes the delivery in one, and otherwise undoes it. `None` where the delivery is yet to be
    /// completed, as any other.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the handler is to be tried again. (Should all be there nevertheless, the lease is lost.)
    async fn finish(
        self: Box<Self>,
        lease: &Lease,
        end: &DeliveryOutcome,
    ) -> Result<Option<Completed>, StoreError>;
}

/// What of a handler has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// The name under which its deliveries are kept.
    pub handler: Arc<str>,
    /// How many wait: for their turn, for their time, or for another of their object.
    pub waiting: u64,
    /// How many somebody has claimed.
    pub running: u64,
    /// How long ago the oldest of them was stored.
    pub oldest: Duration,
}

/// An event that came, and the handlers that it is for.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// One for each of its handlers.
    pub deliveries: Vec<NewDelivery>,
}

/// An event is for this handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// The handler's stable name.
    pub handler: Arc<str>,
    /// Whether it is given the events of one object one after the other.
    pub ordered: bool,
}

impl NewDelivery {
    /// One for this handler.
    #[must_use]
    pub fn of(handler: &HandlerSpec) -> Self {
        Self { handler: handler.name.clone(), ordered: handler.ordered }
    }
}

/// What became of an event that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is there now.
    New,
    /// It was there already.
    Duplicate,
}

/// What to claim.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// The stable names of handlers, former ones too, and how many deliveries of each at most.
    pub handlers: Vec<(Arc<str>, usize)>,
    /// How many in all at most.
    pub limit: usize,
    /// How long the leases are to last.
    pub lease: Duration,
}

/// Who may write how a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The delivery, as the store knows it.
    pub delivery: i64,
    /// The name under which it is kept.
    pub handler: Arc<str>,
    /// Greater for each lease of the delivery: only the last one counts.
    pub token: i64,
}

/// A delivery that was claimed.
#[derive(Debug)]
pub struct Claim {
    /// By which its end is recorded.
    pub lease: Lease,
    /// The event; an error where the store has damaged it.
    pub event: Result<Event, EnvelopeError>,
    /// How often the handler was begun for it, this time included.
    pub attempt: u32,
    /// Whether this attempt was begun by somebody else, who has not said how it ended: it is not to be run, but
    /// completed as one that failed.
    pub lease_expired: bool,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The handler is done.
    Done,
    /// It left the event alone.
    Ignored,
    /// It is to be tried again.
    Retry {
        /// In this time, and not before.
        wait: Duration,
        /// What went wrong.
        error: String,
    },
    /// It will never be done: a dead letter, which is kept.
    Dead {
        /// What went wrong.
        error: String,
    },
    /// It was stopped and has not failed: the attempt counts as not made, and the delivery is due at once. Not
    /// for one that was [interrupted](Claim::lease_expired).
    Released,
}

/// What became of an end that was to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completed {
    /// It is recorded.
    Recorded,
    /// The delivery belongs to somebody else now, or has ended.
    LeaseLost,
}

/// A delivery as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDelivery {
    /// The name of the endpoint through which the event came.
    pub endpoint: String,
    /// The connected account that it is about.
    pub account: Option<String>,
    /// How often it was replayed before.
    pub generation: u32,
    /// The handler's stable name.
    pub handler: Arc<str>,
    /// How far it is.
    pub state: DeliveryState,
    /// How often the handler was begun.
    pub attempts: u32,
    /// What went wrong last.
    pub error: Option<String>,
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// It is due, or will be.
    Waiting,
    /// Somebody has claimed it.
    Running,
    /// The handler is done.
    Done,
    /// The handler left the event alone.
    Ignored,
    /// It failed for good.
    Dead,
    /// Somebody has given it up.
    Discarded,
}

/// The store could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(pub BoxError);

impl StoreError {
    /// What the engine says.
    pub fn of(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }
}
