//! What whoever runs an inbox asks of its store: what is in it, and to have something tried again.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use router_core::event::StoredEvent;

use crate::{DeliveryState, StoreError, StoredDelivery};

/// What people ask of a store, beside what an inbox does with it. Not every engine can answer it all, so it is
/// no part of [`Store`](crate::Store).
///
/// It is for a store that is in use: what reads holds up nobody, and what writes does so in short turns, which is
/// why [`replay`](Self::replay) and [`purge`](Self::purge) take the events that [`select`](Self::select) has found
/// in as many calls as the caller likes. That a store keeps these promises is shown by
/// the suite in `conformance`.
#[async_trait]
pub trait Operations: Send + Sync {
    /// How much there is, and how long it has waited. What has ended well is counted in all and not by handler:
    /// it may be millions, which a store can count without reading them, or estimates.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn status(&self) -> Result<InboxStatus, StoreError>;

    /// Deliveries, or events that no handler was for; the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn list(&self, filter: &ListFilter) -> Result<Vec<ListEntry>, StoreError>;

    /// All that is kept of the events with this id: those of each endpoint and account, and each replay. By
    /// endpoint, account and generation; the deliveries of each by handler.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn show(&self, event_id: &str) -> Result<Vec<EventDetails>, StoreError>;

    /// Has deliveries of the event tried again now, or those of one handler: what waits is due at once, and what
    /// is dead or discarded begins anew, with its first attempt. What runs and what has ended well is left alone.
    ///
    /// Where the event was replayed, the last delivery of each handler is meant.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was changed.
    async fn retry(
        &self,
        event_id: &str,
        handler: Option<&str>,
    ) -> Result<Vec<ChangeResult>, StoreError>;

    /// Gives deliveries of the event up, or those of one handler: what waits or is dead is
    /// [discarded](DeliveryState::Discarded). What runs is left alone.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was changed.
    async fn discard(
        &self,
        event_id: &str,
        handler: Option<&str>,
    ) -> Result<Vec<ChangeResult>, StoreError>;

    /// The numbers of the events that came from Stripe and are as the selection says, the oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn select(&self, selection: &EventSelector) -> Result<Vec<i64>, StoreError>;

    /// Has events handled once more, whatever became of them: each in a new generation, which no memory of the
    /// earlier ones can take for a duplicate. In one transaction; what becomes of each, in the order of their
    /// numbers here.
    ///
    /// It is for the given handlers, whether the event was for them or not, or for those that its last generation
    /// was for where none are given. Deliveries are ordered where the handler's last one was. A dead letter of a
    /// handler for which the event is replayed is discarded: the replay stands for it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing is replayed.
    async fn replay(
        &self,
        events: &[i64],
        handlers: &[Arc<str>],
    ) -> Result<Vec<Replayed>, StoreError>;

    /// Deletes those of the events that came longer ago than this and of which each delivery has been done, ignored
    /// or discarded for longer than this; with all of their generations, or not at all. In one transaction; how
    /// many it has deleted.
    ///
    /// While an event is kept, it is known when Stripe sends it again, which it does for three days. So nothing is
    /// deleted before it is [four days](MIN_RETENTION) old.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing is deleted; also where `older_than` is less than that.
    async fn purge(&self, events: &[i64], older_than: Duration) -> Result<u64, StoreError>;
}

/// How long an event is kept at least, so that one which Stripe sends again is known.
pub const MIN_RETENTION: Duration = Duration::from_secs(4 * 24 * 60 * 60);

/// How much there is in a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboxStatus {
    /// Events, and each replay as one.
    pub events: u64,
    /// Those that no handler was for.
    pub unhandled: u64,
    /// Deliveries that are done, ignored or discarded.
    pub finished: u64,
    /// Each handler that has had a delivery, by name; also where none is left of them.
    pub handlers: Vec<HandlerStatus>,
}

/// How much there is for a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerStatus {
    /// Its stable name.
    pub handler: Arc<str>,
    /// Deliveries that wait, for whatever.
    pub waiting: BacklogCount,
    /// Those that somebody has claimed.
    pub running: BacklogCount,
    /// Dead letters.
    pub dead: BacklogCount,
    /// Those that could be claimed now: what waits and is due, and what runs under a lease that has run out.
    pub due: u64,
}

/// How many deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BacklogCount {
    /// So many.
    pub number: u64,
    /// How long ago the event of the oldest was stored.
    pub oldest: Option<Duration>,
}

/// What is to be listed. What is `None` or empty makes no difference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Deliveries in one of these states.
    pub states: Vec<DeliveryState>,
    /// Instead of deliveries, the events of which no generation was for any handler.
    pub unhandled: bool,
    /// Of events of this type; `invoice.*` is each that begins so.
    pub event_type: Option<String>,
    /// Of events about the object with this id.
    pub object: Option<String>,
    /// For this handler.
    pub handler: Option<String>,
    /// Those that come after the one with this number in the list.
    pub before: Option<i64>,
    /// So many at most.
    pub limit: usize,
}

/// A line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry {
    /// Of the delivery, or of the event where it is unhandled: greater for a newer one.
    pub number: i64,
    /// The event.
    pub event: EventSummary,
    /// The delivery; `None` where it is unhandled.
    pub delivery: Option<DeliverySummary>,
}

/// An event, without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSummary {
    /// `evt_…`
    pub id: String,
    /// The name of the endpoint through which it came.
    pub endpoint: String,
    /// The connected account that it is about.
    pub account: Option<String>,
    /// How often it was replayed before.
    pub generation: u32,
    /// Its type.
    pub event_type: String,
    /// The id of the object that it is about; its name, where it has none.
    pub object: String,
    /// When it was stored.
    pub stored_at: SystemTime,
}

/// A delivery of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliverySummary {
    /// The handler's stable name.
    pub handler: Arc<str>,
    /// How far it is.
    pub state: DeliveryState,
    /// How often the handler was begun.
    pub attempts: u32,
    /// Where it waits: from when on it can be claimed. Where it runs: until when its lease lasts.
    pub due: Option<SystemTime>,
    /// It waits for another delivery of its handler and object, which goes first.
    pub is_blocked: bool,
    /// When it ended.
    pub ended_at: Option<SystemTime>,
    /// What went wrong last.
    pub error: Option<String>,
}

/// An event, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventDetails {
    /// What is known of it.
    pub event: EventSummary,
    /// What came.
    pub kept: StoredEvent,
    /// One for each of its handlers.
    pub deliveries: Vec<DeliverySummary>,
}

/// What became of a delivery that was to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeResult {
    /// The delivery as it was.
    pub delivery: StoredDelivery,
    /// What was done.
    pub change: ChangeOutcome,
}

/// What was done to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// What was asked for.
    Applied,
    /// Nothing: somebody runs it, under a lease that has not run out.
    StillRunning,
    /// Nothing: it has ended, and not as a dead letter.
    AlreadyFinished,
}

/// Which events. Those that are as all of it says; what is `None` makes no difference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventSelector {
    /// With this id.
    pub event_id: Option<String>,
    /// Of this type; `invoice.*` is each that begins so.
    pub event_type: Option<String>,
    /// That were stored no longer ago than this.
    pub since: Option<Duration>,
    /// That were stored at least so long ago.
    pub until: Option<Duration>,
}

/// What became of an event that was to be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// It is replayed.
    Again {
        /// `evt_…`
        event_id: String,
        /// Which generation it is.
        generation: u32,
        /// For whom, by name.
        handlers: Vec<Arc<str>>,
    },
    /// No handler was given, and none was ever for it.
    NoHandler {
        /// `evt_…`
        event_id: String,
    },
    /// What was kept of it is damaged, or this version cannot read it.
    Damaged {
        /// `evt_…`
        event_id: String,
    },
    /// It is not there any more.
    Gone,
}

/// That what is to be purged may be sent again.
#[derive(Debug, thiserror::Error)]
#[error(
    "events are kept for 4 days at least, because Stripe sends an event again for 3 days, and one that is deleted \
     before would be handled once more; purge what is older than that"
)]
pub struct PurgeTooSoon;

impl PurgeTooSoon {
    /// Refuses an `older_than` that is too short.
    ///
    /// # Errors
    ///
    /// [`PurgeTooSoon`], in a [`StoreError`].
    pub fn check(older_than: Duration) -> Result<(), StoreError> {
        if older_than < MIN_RETENTION { Err(StoreError::of(Self)) } else { Ok(()) }
    }
}
