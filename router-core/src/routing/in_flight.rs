//! The events in flight in this process.
//!
//! A duplicate of an event in flight waits for that event's answer. A copy in another API version,
//! and the thin event of a snapshot event, wait until that event is released: other handlers may
//! match them, and a handler may be able to decode only one of the two. A router that closes waits
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
    event::{Event, EventKey},
    handler::Report,
    sharded::{Hasher, Sharded},
};

/// The result of a router's call.
pub(super) type Answer = Result<Report, RouterError>;

/// The events in flight, from the claim to the release.
pub(super) struct InFlight {
    events: Sharded<HashMap<EventKey, RunningEvent, Hasher>>,
    closed: AtomicBool,
    /// Notified by `close`, and by each release after it.
    released: Notify,
}

#[derive(Debug)]
struct RunningEvent {
    event: Event,
    state: EventState,
    /// The waiting variants. They are woken up when the event is released, which drops the senders.
    variants: Vec<oneshot::Sender<()>>,
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
    /// A variant of the event is in flight: a copy in another API version, the thin event of this
    /// snapshot event, or the reverse. The receiver is closed when the variant is released.
    Variant(oneshot::Receiver<()>),
    /// The router is closed.
    Closed,
}

impl InFlight {
    pub(super) fn new() -> Self {
        let events = Sharded::new(16, HashMap::default);
        Self { events, closed: AtomicBool::new(false), released: Notify::new() }
    }

    /// Claims the event with this key.
    pub(super) fn claim(&self, key: &EventKey, event: &Event) -> Claim {
        let mut events = self.events.lock(key);
        // Read `closed` under the shard's lock. `drained` reads the shards after `closed` is set,
        // so it either sees this claim, or this claim sees that the router is closed.
        if self.closed.load(Ordering::Relaxed) {
            return Claim::Closed;
        }
        match events.entry(key.clone()) {
            Entry::Vacant(vacant) => {
                let state = EventState::Running(Vec::new());
                vacant.insert(RunningEvent { event: event.clone(), state, variants: Vec::new() });
                Claim::Acquired
            }
            Entry::Occupied(mut occupied) => match occupied.get_mut() {
                running if !running.event.has_same_form(event) => {
                    let (sender, receiver) = oneshot::channel();
                    running.variants.push(sender);
                    Claim::Variant(receiver)
                }
                RunningEvent { state: EventState::Running(waiters), .. } => {
                    let (sender, receiver) = oneshot::channel();
                    waiters.push(sender);
                    Claim::Running(receiver)
                }
                RunningEvent { state: EventState::Answered(answer), .. } => {
                    Claim::Answered(answer.clone())
                }
            },
        }
    }

    /// Sends the answer to all waiting duplicates, and to later ones until the event is released.
    pub(super) fn publish_answer(&self, key: &EventKey, answer: &Answer) {
        let answered = EventState::Answered(answer.clone());
        let mut events = self.events.lock(key);
        let previous =
            events.get_mut(key).map(|running| std::mem::replace(&mut running.state, answered));
        drop(events);
        if let Some(EventState::Running(waiters)) = previous {
            for sender in waiters {
                // Sending fails if the duplicate was dropped, which is fine.
                drop(sender.send(answer.clone()));
            }
        }
    }

    /// Removes the event, and wakes up its variants. Duplicates that still wait get no answer:
    /// their senders are dropped.
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
