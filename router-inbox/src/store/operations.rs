//! The [`Operations`] trait and its types: the operator's interface to a store.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use router_core::{Event, event::StoredEvent};

use super::order::object_text;
pub use super::{
    attempt::{AttemptOutcome, AttemptSummary, MAX_ATTEMPT_ERROR, MAX_HISTORY},
    change::{Change, ChangeOutcome, ChangeResult},
    retention::{MIN_RETENTION, PurgeTooSoon},
};
use crate::{
    StoreError,
    store::{DeliveryState, PausedHandler, WorkerInfo},
};

/// An operator's interface to a store: inspecting, retrying, discarding, replaying, purging and
/// pausing.
///
/// This trait is separate from [`Store`](crate::Store), because not every engine can implement it.
///
/// # Requirements
///
/// All methods may be called on a store in production. Methods that read must not block other users
/// of the store, and methods that write may block them only briefly. For that reason
/// [`replay`](Self::replay) and [`purge`](Self::purge) take a list of events: the caller finds all
/// events with [`select`](Self::select), and passes them in batches. The test suite in the module
/// `conformance` checks the requirements.
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

    /// Retries the event's deliveries now, or only the given handler's.
    ///
    /// A waiting delivery becomes due at once, and so does a running one whose lease has expired.
    /// A dead or discarded delivery starts over with its first attempt. Other running deliveries,
    /// and those that are done or ignored, are left alone. If the event has been replayed, only the
    /// latest delivery of each handler is retried.
    ///
    /// An attempt whose lease has expired is [failed](AttemptOutcome::Failed) in the
    /// [history](DeliverySummary::history), also if the delivery is [discarded](Self::discard).
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable, or if concurrent changes keep conflicting. Then either
    /// all or none of the deliveries have been changed.
    async fn retry(
        &self,
        event_id: &str,
        handler: Option<&str>,
    ) -> Result<Vec<ChangeResult>, StoreError>;

    /// [Discards](DeliveryState::Discarded) the event's waiting and dead deliveries, or only the
    /// given handler's. A running delivery is left alone unless its lease has expired.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable, or if concurrent changes keep conflicting. Then either
    /// all or none of the deliveries have been changed.
    async fn discard(
        &self,
        event_id: &str,
        handler: Option<&str>,
    ) -> Result<Vec<ChangeResult>, StoreError>;

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
}

/// An overview of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InboxStatus {
    /// The number of events, counting each replay.
    pub events: u64,
    /// The number of events without any handler.
    pub unhandled: u64,
    /// The number of deliveries that are done, ignored or discarded.
    pub finished: u64,
    /// Every handler that has ever had a delivery, sorted by name.
    pub handlers: Vec<HandlerStatus>,
    /// The running workers, sorted by name, or `None` if the store does not record them. See
    /// [`Store::workers`](crate::Store::workers).
    pub workers: Option<Vec<WorkerInfo>>,
    /// The paused handlers, sorted by name. See
    /// [`Store::paused_handlers`](crate::Store::paused_handlers).
    pub paused: Vec<PausedHandler>,
}

/// An overview of a handler's deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerStatus {
    /// The handler's stable name.
    pub handler: Arc<str>,
    /// Waiting deliveries: due, scheduled for a retry, or blocked in their lane.
    pub waiting: BacklogCount,
    /// Claimed deliveries.
    pub running: BacklogCount,
    /// Dead letters.
    pub dead: BacklogCount,
    /// The number of deliveries that can be claimed now: waiting ones that are due, and running
    /// ones whose lease has expired.
    pub due: u64,
    /// Time since the first of the claimable deliveries became due, or `None` if none is claimable.
    pub oldest_due: Option<Duration>,
}

impl HandlerStatus {
    /// Creates the status of a handler without unfinished deliveries and dead letters.
    pub fn new(handler: impl Into<Arc<str>>) -> Self {
        let none = BacklogCount::default();
        Self {
            handler: handler.into(),
            waiting: none,
            running: none,
            dead: none,
            due: 0,
            oldest_due: None,
        }
    }
}

/// A number of deliveries, and the age of the oldest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BacklogCount {
    /// The number of deliveries.
    pub number: u64,
    /// Time since the oldest delivery's event was stored.
    pub oldest: Option<Duration>,
}

impl BacklogCount {
    /// Creates a count of deliveries.
    #[must_use]
    pub fn new(number: u64, oldest: Option<Duration>) -> Self {
        Self { number, oldest }
    }
}

/// A filter for lists of deliveries or unhandled events. Fields that are `None` or empty match
/// everything.
///
/// The struct is exhaustive: every field must be applied, so a new one must be a compile error in
/// stores that destructure it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Matches deliveries in one of these states.
    pub states: Vec<DeliveryState>,
    /// If `true`, lists unhandled events instead of deliveries, and ignores `states` and `handler`.
    /// An event is unhandled if none of its generations has a delivery.
    pub unhandled: bool,
    /// Matches this event type. `invoice.*` matches every type with that prefix.
    pub event_type: Option<String>,
    /// Matches events about the object with this id, see [`EventSummary::object`].
    pub object: Option<String>,
    /// Matches deliveries of this handler.
    pub handler: Option<String>,
    /// Matches entries whose number is less than this. To continue a list (pagination), pass the
    /// number of its last entry.
    pub before: Option<i64>,
    /// Maximum number of entries.
    pub limit: usize,
}

/// An entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListEntry {
    /// The number of the delivery, or of the event if it is unhandled. Newer entries have greater
    /// numbers.
    pub number: i64,
    /// The event.
    pub event: EventSummary,
    /// The delivery, or `None` if the event is unhandled.
    pub delivery: Option<DeliverySummary>,
}

impl ListEntry {
    /// Creates an entry for a delivery, or for an unhandled event.
    #[must_use]
    pub fn new(number: i64, event: EventSummary, delivery: Option<DeliverySummary>) -> Self {
        Self { number, event, delivery }
    }
}

/// A summary of an event, without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventSummary {
    /// The event's id (`evt_…`).
    pub id: String,
    /// The name of the endpoint that received the event.
    pub endpoint: String,
    /// The event's connected account.
    pub account: Option<String>,
    /// The event's generation: 0 for the received event, and one more for each replay.
    pub generation: u32,
    /// The event's type.
    pub event_type: String,
    /// The id of the event's object, or what identifies an object without an id, such as
    /// `invoice:sub_…` (see [`ObjectId`](router_core::event::ObjectId)). Empty if nothing
    /// identifies it.
    pub object: String,
    /// The time at which the event was stored.
    pub stored_at: SystemTime,
}

impl EventSummary {
    /// Creates a summary of a stored event.
    #[must_use]
    pub fn new(event: &Event, stored_at: SystemTime) -> Self {
        let key = event.key();
        Self {
            id: event.id().to_owned(),
            endpoint: key.endpoint().to_owned(),
            account: key.account().map(str::to_owned),
            generation: key.generation(),
            event_type: event.event_type().to_owned(),
            object: object_text(event),
            stored_at,
        }
    }
}

/// A summary of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliverySummary {
    /// The handler's stable name.
    pub handler: Arc<str>,
    /// The state of the delivery.
    pub state: DeliveryState,
    /// The number of attempts.
    pub attempts: u32,
    /// If the delivery is waiting, the time from which it can be claimed. If it is running, the
    /// time at which its lease expires.
    pub due: Option<SystemTime>,
    /// `true` if the delivery waits behind another one of its lane (handler and object).
    pub is_blocked: bool,
    /// The time at which the delivery finished.
    pub ended_at: Option<SystemTime>,
    /// The message of the latest failure, or the reason for which the handler runs later.
    pub error: Option<String>,
    /// The latest attempts, at most [`MAX_HISTORY`], the oldest first. The last one may be running.
    ///
    /// A delivery that starts over keeps its history. Released attempts are not part of it.
    pub history: Vec<AttemptSummary>,
}

impl DeliverySummary {
    /// Creates a summary of a delivery without attempts, due time and failure.
    pub fn new(handler: impl Into<Arc<str>>, state: DeliveryState, attempts: u32) -> Self {
        Self {
            handler: handler.into(),
            state,
            attempts,
            due: None,
            is_blocked: false,
            ended_at: None,
            error: None,
            history: Vec::new(),
        }
    }
}

/// A stored event with its deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventDetails {
    /// A summary of the event.
    pub event: EventSummary,
    /// The event as first received.
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
    /// Not replayed: the event is not in the store.
    NotFound,
}
