//! The events that are being handled: a duplicate of one waits for it and gets its answer.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::Arc,
};

use tokio::sync::oneshot;

use super::RouterError;
use crate::{
    event::EventKey,
    handler::Report,
    sharded::{Hasher, Sharded},
};

/// What becomes of a delivery.
pub(super) type Answer = Result<Report, RouterError>;

/// The events that are being handled in this process.
#[derive(Debug, Clone)]
pub(super) struct InFlight(Arc<Sharded<Events>>);

type Events = HashMap<EventKey, State, Hasher>;

#[derive(Debug)]
enum State {
    /// Its handlers run, and these wait for the answer.
    Running(Vec<oneshot::Sender<Answer>>),
    /// It is answered, and something of it runs still.
    Answered(Answer),
}

/// What a delivery finds.
pub(super) enum Claim {
    /// The event is not being handled: now it is, by whoever has the place.
    Mine(Place),
    /// Somebody else handles it, and will send the answer.
    Theirs(oneshot::Receiver<Answer>),
    /// It is answered, and something of it runs still.
    Answered(Answer),
}

/// The right to run the handlers of an event. Dropping it gives it up.
pub(super) struct Place {
    events: InFlight,
    key: EventKey,
}

impl InFlight {
    pub(super) fn new() -> Self {
        Self(Arc::new(Sharded::new(16, Events::default)))
    }

    pub(super) fn claim(&self, key: EventKey) -> Claim {
        match self.0.of(&key).entry(key) {
            Entry::Vacant(vacant) => {
                let key = vacant.key().clone();
                vacant.insert(State::Running(Vec::new()));
                Claim::Mine(Place { events: self.clone(), key })
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
}

impl Place {
    pub(super) fn key(&self) -> &EventKey {
        &self.key
    }

    /// Tells whoever waits. Whoever comes from now on gets this answer, until the place is given up.
    pub(super) fn answer(&self, answer: &Answer) {
        let now = State::Answered(answer.clone());
        let before = self.events.0.of(&self.key).insert(self.key.clone(), now);
        if let Some(State::Running(waiting)) = before {
            for sender in waiting {
                // Who has hung up wants no answer.
                drop(sender.send(answer.clone()));
            }
        }
    }
}

/// Whoever waits for an answer that will not come learns it, because its sender is dropped.
impl Drop for Place {
    fn drop(&mut self) {
        self.events.0.of(&self.key).remove(&self.key);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("key", &self.key).finish_non_exhaustive()
    }
}
