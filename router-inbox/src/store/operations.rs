//! The [`Operations`] trait and its types: the operator's interface to a store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use router_core::event::StoredEvent;

pub use super::{
    attempt::{AttemptOutcome, AttemptSummary, MAX_ATTEMPT_ERROR, MAX_HISTORY},
    change::{Change, ChangeOutcome, ChangeResult, CurrentDelivery, SelectedDelivery},
    checkpoint::{InvalidCheckpoint, MAX_CHECKPOINT},
    erase::{EraseOutcome, EraseResult},
    listing::{DeliverySummary, EventSummary, ListEntry, ListFilter},
    retention::{MIN_RETENTION, PurgeTooSoon},
    status::{BacklogCount, HandlerStatus, InboxStatus},
};
use crate::{StoreError, store::PausedHandler};

/// An operator's interface to a store: inspecting, retrying, discarding, replaying, purging,
/// erasing and pausing. It also stores checkpoints of programs.
///
/// This trait is separate from [`Store`](crate::Store), because not every engine can implement it.
///
/// A program can do what `event-router inbox` does, such as retrying all dead letters of a handler
/// after an outage:
///
/// ```
/// use router_inbox::{
///     StoreError,
///     operations::{Change, ListFilter},
///     store::{DeliveryState, Operations},
/// };
///
/// async fn retry_dead_letters(operations: &dyn Operations) -> Result<(), StoreError> {
///     let filter = ListFilter {
///         states: vec![DeliveryState::Dead],
///         handler: Some("orders.fulfil".into()),
///         limit: usize::MAX,
///         ..ListFilter::default()
///     };
///     let dead = operations.select_deliveries(&filter).await?;
///     for batch in dead.chunks(100) {
///         operations.change(batch, Change::Retry).await?;
///     }
///     Ok(())
/// }
/// ```
///
/// # Requirements
///
/// All methods may be called on a store in production. Methods that read must not block other users
/// of the store, and methods that write may block them only briefly. For that reason
/// [`replay`](Self::replay), [`purge`](Self::purge) and [`erase`](Self::erase) take a list of
/// events: the caller finds all events with [`select`](Self::select), and passes them in batches.
/// In the same way, the caller finds deliveries with
/// [`select_deliveries`](Self::select_deliveries), and passes them to [`change`](Self::change). The
/// test suite in the module `conformance` checks the requirements.
///
/// No method has a time limit: an operation on millions of events may take minutes. A caller that
/// must not wait for a server or a disk that hangs limits the time, and drops the future. A dropped
/// change may or may not have been made.
#[async_trait]
pub trait Operations: Send + Sync {
    /// Counts events and deliveries, determines the age of the oldest deliveries, and lists the
    /// running workers and the paused handlers.
    ///
    /// Finished deliveries are counted only in total, not by handler. There may be millions of
    /// them, so a store must be able to count or estimate them without reading each.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable.
    async fn status(&self) -> Result<InboxStatus, StoreError>;

    /// Lists deliveries or unhandled events, newest first.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable.
    async fn list(&self, filter: &ListFilter) -> Result<Vec<ListEntry>, StoreError>;

    /// Returns everything stored about the events with this id, in all endpoints, accounts and
    /// generations.
    ///
    /// The events are sorted by endpoint, account and generation, and the deliveries of each event
    /// by handler.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable.
    async fn show(&self, event_id: &str) -> Result<Vec<EventDetails>, StoreError>;

    /// Finds the deliveries that [`list`](Self::list) would list with this filter, and returns them
    /// oldest first. If the filter is for unhandled events, returns none.
    ///
    /// A store should read error texts only if the filter has one, because there may be millions of
    /// deliveries.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable.
    async fn select_deliveries(
        &self,
        filter: &ListFilter,
    ) -> Result<Vec<SelectedDelivery>, StoreError>;

    /// Retries or discards deliveries, each atomically.
    ///
    /// [`Change::outcome`] decides about each delivery, and [`Change`] documents the effects. If
    /// the event has been replayed, only the latest delivery of each handler is retried. If the
    /// lease of a running delivery has expired, the attempt is [failed](AttemptOutcome::Failed) in
    /// the [history](DeliverySummary::history).
    ///
    /// The passed deliveries are snapshots. A delivery is changed only if its state and its token
    /// are still those of the snapshot. A dead letter that was selected for its error is thus not
    /// discarded if it has been retried since, even if it has died again.
    ///
    /// A store should change all deliveries of a call in one transaction, but may split a large
    /// call into several. The deliveries of one event are changed together: all that permit the
    /// change, or none. Returns one outcome per delivery, in the same order. The caller must not
    /// pass a delivery twice.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable, or if concurrent changes keep conflicting. Then the
    /// deliveries of each event may or may not have been changed. The call can be repeated with the
    /// same snapshots: a delivery that has started over is then
    /// [`ChangedMeanwhile`](ChangeOutcome::ChangedMeanwhile), and a discarded one is
    /// [`AlreadyFinished`](ChangeOutcome::AlreadyFinished).
    async fn change(
        &self,
        deliveries: &[SelectedDelivery],
        change: Change,
    ) -> Result<Vec<ChangeOutcome>, StoreError>;

    /// Retries the deliveries of all events with this id, or only those for the given handler, see
    /// [`change`](Self::change). Returns one result per delivery, sorted by endpoint, account,
    /// generation and handler. Deliveries that a replay has superseded are left out.
    ///
    /// # Errors
    ///
    /// Fails like [`change`](Self::change).
    async fn retry(
        &self,
        event_id: &str,
        handler: Option<&str>,
    ) -> Result<Vec<ChangeResult>, StoreError> {
        let deliveries = self.select_deliveries(&ListFilter::of_event(event_id, handler)).await?;
        let outcomes = self.change(&deliveries, Change::Retry).await?;
        let mut results = ChangeResult::sorted(deliveries, outcomes);
        results.retain(|result| result.change != ChangeOutcome::Superseded);
        Ok(results)
    }

    /// Discards the deliveries of all events with this id, or only those for the given handler, see
    /// [`change`](Self::change). Returns one result per delivery, sorted by endpoint, account,
    /// generation and handler.
    ///
    /// # Errors
    ///
    /// Fails like [`change`](Self::change).
    async fn discard(
        &self,
        event_id: &str,
        handler: Option<&str>,
    ) -> Result<Vec<ChangeResult>, StoreError> {
        let deliveries = self.select_deliveries(&ListFilter::of_event(event_id, handler)).await?;
        let outcomes = self.change(&deliveries, Change::Discard).await?;
        Ok(ChangeResult::sorted(deliveries, outcomes))
    }

    /// Finds the received events that match the selection, and returns the numbers by which the
    /// store identifies them, oldest first. Replays are not included.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable.
    async fn select(&self, selection: &EventSelector) -> Result<Vec<i64>, StoreError>;

    /// Replays events, regardless of the state of their deliveries.
    ///
    /// Each event is stored again as a new generation, with a key of its own, so that it is not
    /// deduplicated against the earlier ones. It is delivered to the given handlers, even if they
    /// never had a delivery of the event. If no handlers are given, it is delivered to those of
    /// its latest generation. A delivery has the order of the handler's latest delivery of any
    /// event, and the payload of the handler's latest delivery of this event. A handler without one
    /// gets the event as it was first received.
    ///
    /// The event's earlier dead letters of these handlers are discarded, because the replay
    /// supersedes them.
    ///
    /// Each event is replayed atomically. A store should replay all events of a call in one
    /// transaction, but may split a large call into several. Returns one result per event, in the
    /// same order.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable, or if concurrent changes keep conflicting. Then each
    /// event may or may not have been replayed. Repeating the call replays all of them; an event
    /// that was already replayed gets another generation.
    async fn replay(
        &self,
        events: &[i64],
        handlers: &[Arc<str>],
    ) -> Result<Vec<ReplayResult>, StoreError>;

    /// Deletes those of the given events that finished long enough ago, and returns their number.
    ///
    /// An event is finished when each of its deliveries is done, ignored or discarded. `older_than`
    /// is the minimum time since the event was stored and since its last delivery finished. An
    /// event is deleted with all of its generations, or not at all. A store should delete all
    /// events of a call in one transaction, but may split a large call into several.
    ///
    /// Stripe resends an event for up to three days, and an event is deduplicated only while it is
    /// stored. Therefore the minimum for `older_than` is [`MIN_RETENTION`] (four days).
    ///
    /// # Errors
    ///
    /// - Fails with [`PurgeTooSoon`] if `older_than` is less than [`MIN_RETENTION`].
    /// - Fails if the store is unavailable, or if concurrent changes keep conflicting. Then each
    ///   event may or may not have been deleted; the call can be repeated.
    async fn purge(&self, events: &[i64], older_than: Duration) -> Result<u64, StoreError>;

    /// Erases the data of those of the given events that have finished, and returns one result per
    /// event, in the same order.
    ///
    /// The store empties the payloads of each event, as received and as redelivered, and removes
    /// the errors of its deliveries and their attempts. The keys, the states and the times remain,
    /// so the event is still listed, counted, deduplicated and purged. The object's id remains too,
    /// because it is part of the event's order key.
    ///
    /// An event with a delivery that is waiting or running is not changed. Dead letters become
    /// [`Discarded`](crate::store::DeliveryState::Discarded). An erased event cannot be retried or
    /// replayed, and a redelivery stores nothing, so that the data does not come back.
    ///
    /// After the call, no method of the store returns the data. The files of its database may still
    /// contain the data until the engine reuses the space.
    ///
    /// An event is erased with all of its generations, or not at all. A store should erase all
    /// events of a call in one transaction, but may split a large call into several.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable, or if concurrent changes keep conflicting. Then each
    /// event may or may not have been erased; the call can be repeated.
    async fn erase(&self, events: &[i64]) -> Result<Vec<EraseResult>, StoreError>;

    /// Pauses a handler until it is [resumed](Self::resume), also across restarts: workers claim
    /// none of its deliveries. Every worker notices this within about a second. Deliveries in
    /// flight finish, and are retried only after the handler is resumed.
    ///
    /// The inbox need not have had a delivery for the handler. If the handler is already paused,
    /// the time of the pause does not change, and a `note` replaces the earlier one.
    ///
    /// Returns the earlier record if the handler was already paused.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable, or if concurrent changes keep conflicting. The handler
    /// may or may not have been paused; the call can be repeated.
    async fn pause(
        &self,
        handler: &str,
        note: Option<&str>,
    ) -> Result<Option<PausedHandler>, StoreError>;

    /// Resumes a paused handler: workers claim its due deliveries again, within about a second.
    ///
    /// Returns the record of the pause, or `None` if the handler was not paused.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable, or if concurrent changes keep conflicting. The handler
    /// may or may not have been resumed; the call can be repeated.
    async fn resume(&self, handler: &str) -> Result<Option<PausedHandler>, StoreError>;

    /// Returns the value of the checkpoint with this name, or `None` if it has never been
    /// [set](Self::set_checkpoint).
    ///
    /// # Errors
    ///
    /// - Fails with [`InvalidCheckpoint`] if the name is too long, or has a control character.
    /// - Fails if the store is unavailable.
    async fn checkpoint(&self, name: &str) -> Result<Option<String>, StoreError>;

    /// Sets a checkpoint: a short text that a program stores under a name of its choice, to
    /// continue from there after a restart. An example is the time up to which the program has
    /// read an account's events from Stripe's API.
    ///
    /// The value replaces an earlier one atomically, and the last write wins. A checkpoint is never
    /// deleted: purging and erasing do not change it. Names that differ in a byte are different.
    /// A name and a value may have up to [`MAX_CHECKPOINT`] bytes each, without control characters.
    ///
    /// # Errors
    ///
    /// - Fails with [`InvalidCheckpoint`] if the name or the value is too long, or has a control
    ///   character.
    /// - Fails if the store is unavailable. Then the checkpoint may or may not have been set; the
    ///   call can be repeated.
    async fn set_checkpoint(&self, name: &str, value: &str) -> Result<(), StoreError>;
}

/// A stored event with its deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventDetails {
    /// A summary of the event.
    pub event: EventSummary,
    /// The event as first received. Its payload is empty if it was [erased](Operations::erase).
    pub stored: StoredEvent,
    /// The event as redelivered, oldest first. Contains only the redeliveries that the store had to
    /// store, see [`Store::store`](crate::Store::store).
    pub redelivered: Vec<StoredEvent>,
    /// One delivery per handler.
    pub deliveries: Vec<DeliverySummary>,
}

impl EventDetails {
    /// Creates the details of an event that has not been redelivered and has no deliveries.
    #[must_use]
    pub fn new(event: EventSummary, stored: StoredEvent) -> Self {
        Self { event, stored, redelivered: Vec::new(), deliveries: Vec::new() }
    }

    /// Returns whether the event's data was [erased](Operations::erase).
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.stored.payload.is_empty()
    }
}

/// A selection of events. An event must match every field; `None` matches everything.
///
/// The struct is exhaustive, like [`ListFilter`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventSelector {
    /// Matches the event id.
    pub event_id: Option<String>,
    /// Matches this event type. `invoice.*` matches every type with that prefix.
    pub event_type: Option<String>,
    /// Matches the event's object, see [`EventSummary::object`].
    pub object: Option<String>,
    /// Matches if a payload of the event, as received or as redelivered, contains this text as a
    /// whole JSON string, such as the id of a customer in an invoice. A string with optional escape
    /// sequences does not match. The store reads all payloads.
    pub mentions: Option<String>,
    /// Maximum age of the event, counted from when it was stored.
    pub max_age: Option<Duration>,
    /// Minimum age of the event, counted from when it was stored.
    pub min_age: Option<Duration>,
}

/// The result of replaying an event.
///
/// The enum is exhaustive, like [`ChangeOutcome`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayResult {
    /// The event was replayed.
    Replayed {
        /// The event's id (`evt_…`).
        event_id: String,
        /// The number of the new generation.
        generation: u32,
        /// The stable names of its handlers, sorted.
        handlers: Vec<Arc<str>>,
    },
    /// Not replayed: no handler was given, and the event's latest generation has none.
    NoHandler {
        /// The event's id (`evt_…`).
        event_id: String,
    },
    /// Not replayed: the stored data is damaged, or this version cannot read it.
    Damaged {
        /// The event's id (`evt_…`).
        event_id: String,
    },
    /// Not replayed: the event's data was [erased](Operations::erase).
    Erased {
        /// The event's id (`evt_…`).
        event_id: String,
    },
    /// Not replayed: the event is not in the store.
    NotFound,
}
