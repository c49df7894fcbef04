//! The events in flight in this process.
//!
//! A duplicate of an event in flight waits for that event's answer, and a router that closes waits
//! for all events.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::sync::{Notify, oneshot};

use super::RouterError;
use crate::{
    event::EventKey,
    handler::Report,
    sharded::{Hasher, Sharded},
};

/// The result of a router's call.
pub(super) type Answer = Result<Report, RouterError>;

/// The events in flight, from the claim to the release.
pub(super) struct InFlight {
    events: Sharded<HashMap<EventKey, EventState, Hasher>>,
    closed: AtomicBool,
    /// Notified by `close`, and by each release after it.
    released: Notify,
}

#[derive(Debug)]
enum EventState {
    /// The answer is not known yet. Holds the duplicates that wait for it.
    Running(Vec<oneshot::Sender<Answer>>),
    /// The event is answered, but handlers that Stripe does not wait for still run.
    Answered(Answer),
}

/// The result of [`InFlight::claim`].
pub(super) enum Claim {
    /// The event was not in flight. The caller must run its handlers, then
    /// [release](InFlight::release) it.
    Acquired,
    /// Another call runs the event's handlers. The receiver gets the answer; it is closed without
    /// one if the event is released unanswered.
    Running(oneshot::Receiver<Answer>),
    /// The event is answered, but handlers that Stripe does not wait for still run.
    Answered(Answer),
    /// The router is closed.
    Closed,
}

impl InFlight {
    pub(super) fn new() -> Self {
        let events = Sharded::new(16, HashMap::default);
        Self { events, closed: AtomicBool::new(false), released: Notify::new() }
    }

    pub(super) fn claim(&self, key: &EventKey) -> Claim {
        let mut events = self.events.lock(key);
        // Read `closed` under the shard's lock. `drained` reads the shards after `closed` is set,
        // so it either sees this claim, or this claim sees that the router is closed.
        if self.closed.load(Ordering::Relaxed) {
            return Claim::Closed;
        }
        match events.entry(key.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(EventState::Running(Vec::new()));
                Claim::Acquired
            }
            Entry::Occupied(mut occupied) => match occupied.get_mut() {
                EventState::Running(waiters) => {
                    let (sender, receiver) = oneshot::channel();
                    waiters.push(sender);
                    Claim::Running(receiver)
                }
                EventState::Answered(answer) => Claim::Answered(answer.clone()),
            },
        }
    }

    /// Sends the answer to all waiting duplicates, and to later ones until the event is released.
    pub(super) fn publish_answer(&self, key: &EventKey, answer: &Answer) {
        let answered = EventState::Answered(answer.clone());
        let previous =
            self.events.lock(key).get_mut(key).map(|state| std::mem::replace(state, answered));
        if let Some(EventState::Running(waiters)) = previous {
            for sender in waiters {
                // Sending fails if the duplicate was dropped, which is fine.
                drop(sender.send(answer.clone()));
            }
        }
    }

    /// Removes the event. Duplicates that still wait get no answer: their senders are dropped.
    pub(super) fn release(&self, key: &EventKey) {
        self.events.lock(key).remove(key);
        if self.closed.load(Ordering::Relaxed) {
            self.released.notify_waiters();
        }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.released.notify_waiters();
    }

    /// Waits until the router is closed and no event is in flight.
    pub(super) async fn drained(&self) {
        loop {
            let mut released = pin!(self.released.notified());
            // Register before checking, so that a release between the check and the await is not
            // missed.
            released.as_mut().enable();
            if self.closed.load(Ordering::Relaxed)
                && self.events.lock_each().all(|events| events.is_empty())
            {
                return;
            }
            released.await;
        }
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").field("closed", &self.closed).finish_non_exhaustive()
    }
}
