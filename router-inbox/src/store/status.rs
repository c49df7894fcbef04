//! [`InboxStatus`], an overview of a store.

use std::{sync::Arc, time::Duration};

use super::{PausedHandler, WorkerInfo};

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
