//! The events that are being handled: a duplicate of one waits for it and gets its answer, and a router
//! that closes waits for all of them.

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

/// What becomes of a delivery.
pub(super) type Answer = Result<Report, RouterError>;

/// The events that are being handled in this process.
pub(super) struct InFlight {
    events: Sharded<HashMap<EventKey, State, Hasher>>,
    closed: AtomicBool,
    /// Once closed: something has ended.
    ended: Notify,
}

#[derive(Debug)]
enum State {
    /// Its handlers run, and these wait for the answer.
    Running(Vec<oneshot::Sender<Answer>>),
    /// It is answered, and something of it runs still.
    Answered(Answer),
}

/// What a delivery finds.
pub(super) enum Claim {
    /// The event was not being handled: now it is, until whoever claimed it [gives it up](InFlight::give_up).
    Mine,
    /// Somebody else handles it, and will send the answer.
    Theirs(oneshot::Receiver<Answer>),
    /// It is answered, and something of it runs still.
    Answered(Answer),
    /// No event is taken any more.
    Closed,
}

impl InFlight {
    pub(super) fn new() -> Self {
        let events = Sharded::new(16, HashMap::default);
        Self { events, closed: AtomicBool::new(false), ended: Notify::new() }
    }

    pub(super) fn claim(&self, key: &EventKey) -> Claim {
        let mut events = self.events.of(key);
        // Under the lock: who waits until nothing runs either sees what is claimed here, or has closed before.
        if self.closed.load(Ordering::Relaxed) {
            return Claim::Closed;
        }
        match events.entry(key.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(State::Running(Vec::new()));
                Claim::Mine
            }
            Entry::Occupied(mut there) => match there.get_mut() {
                State::Running(waiting) => {
                    let (sender, receiver) = oneshot::channel();
                    waiting.push(sender);
                    Claim::Theirs(receiver)
                }
                State::Answered(answer) => Claim::Answered(answer.clone()),
            },
        }
    }

    /// Tells whoever waits. Whoever comes from now on gets this answer, until the event is given up.
    pub(super) fn answer(&self, key: &EventKey, answer: &Answer) {
        let now = State::Answered(answer.clone());
        let before = self.events.of(key).get_mut(key).map(|state| std::mem::replace(state, now));
        if let Some(State::Running(waiting)) = before {
            for sender in waiting {
                // Who has hung up wants no answer.
                drop(sender.send(answer.clone()));
            }
        }
    }

    /// Whoever waits for an answer that will not come learns it, because its sender is dropped.
    pub(super) fn give_up(&self, key: &EventKey) {
        self.events.of(key).remove(key);
        if self.closed.load(Ordering::Relaxed) {
            self.ended.notify_waiters();
        }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.ended.notify_waiters();
    }

    /// Waits until nothing is claimed, nor will be.
    pub(super) async fn drained(&self) {
        loop {
            let mut ended = pin!(self.ended.notified());
            // From now on, so that nothing ends unseen between the question and the waiting.
            ended.as_mut().enable();
            if self.closed.load(Ordering::Relaxed)
                && self.events.all().all(|events| events.is_empty())
            {
                return;
            }
            ended.await;
        }
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").field("closed", &self.closed).finish_non_exhaustive()
    }
}
