//! The filter and the entries of lists.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use router_core::Event;

#[cfg(doc)]
use super::attempt::MAX_HISTORY;
use super::{attempt::AttemptSummary, order::object_text};
use crate::store::DeliveryState;

/// A filter for lists of deliveries or unhandled events. Fields that are `None` or empty match
/// everything.
///
/// The struct is exhaustive: every field must be applied, so a new one must be a compile error in
/// stores that destructure it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Matches deliveries in one of these states.
    pub states: Vec<DeliveryState>,
    /// If `true`, lists unhandled events instead of deliveries, and ignores `states`, `handler`,
    /// `error` and `min_ended_age`. An event is unhandled if none of its generations has a
    /// delivery.
    pub unhandled: bool,
    /// Matches events that were received with this id, in all generations.
    pub event_id: Option<String>,
    /// Matches this event type. `invoice.*` matches every type with that prefix.
    pub event_type: Option<String>,
    /// Matches events about the object with this id, see [`EventSummary::object`].
    pub object: Option<String>,
    /// Matches deliveries of this handler.
    pub handler: Option<String>,
    /// Matches deliveries whose [error](DeliverySummary::error) contains this text. Upper and lower
    /// case differ.
    pub error: Option<String>,
    /// Maximum age of the event, counted from when it was stored.
    pub max_age: Option<Duration>,
    /// Matches deliveries that finished at least this long ago.
    pub min_ended_age: Option<Duration>,
    /// Matches entries whose number is less than this. To continue a list (pagination), pass the
    /// number of its last entry.
    pub before: Option<i64>,
    /// Maximum number of entries.
    pub limit: usize,
}

impl ListFilter {
    /// Creates a filter for the deliveries of all events with this id, or only those for this
    /// handler.
    #[must_use]
    pub fn of_event(event_id: &str, handler: Option<&str>) -> Self {
        Self {
            event_id: Some(event_id.to_owned()),
            handler: handler.map(str::to_owned),
            limit: usize::MAX,
            ..Self::default()
        }
    }
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
