//! Events that come at once are stored with one commit.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::{NewEvent, Store, StoreError, Stored};

/// What is to be stored with the next commit. Whoever comes first begins to write; who comes while something is being
/// written goes with the commit after that. So nobody waits for others to come, and the more come, the more share a
/// commit.
pub(crate) struct GroupCommit<S> {
    store: Arc<S>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Whether somebody is at it.
    is_served: bool,
}

struct Waiting {
    event: NewEvent,
    told: oneshot::Sender<Told>,
}

/// Several may be told the same.
type Told = Result<Stored, Arc<StoreError>>;

/// So many are stored with one commit at most.
const GROUP: usize = 256;

impl<S: Store> GroupCommit<S> {
    pub(crate) fn new(store: Arc<S>) -> Self {
        Self { store, queue: Mutex::default() }
    }

    /// Stores the event, with whatever else is there to be stored.
    pub(crate) async fn store(self: &Arc<Self>, event: NewEvent) -> Told {
        let (told, answer) = oneshot::channel();
        if self.enqueue(Waiting { event, told }) {
            // In a task, since whoever came first may hang up, and others wait for the same commit.
            tokio::spawn(Served(self.clone()).serve());
        }
        let gone = |_| Err(Arc::new(StoreError::of("the process is shutting down")));
        answer.await.unwrap_or_else(gone)
    }

    /// Whether nobody is at it, so that whoever asks is to begin.
    fn enqueue(&self, waiting: Waiting) -> bool {
        let mut queue = self.queue();
        queue.waiting.push(waiting);
        !mem::replace(&mut queue.is_served, true)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue, while somebody is at it. However that ends, the next who comes begins anew.
struct Served<S: Store>(Arc<GroupCommit<S>>);

impl<S: Store> Served<S> {
    /// Stores what waits, a group after the other, until nothing does.
    async fn serve(self) {
        while let Some(group) = self.next_group() {
            // Who has hung up will send it again.
            let group = group.into_iter().filter(|waiting| !waiting.told.is_closed());
            let (events, tell): (Vec<_>, Vec<_>) =
                group.map(|Waiting { event, told }| (event, told)).unzip();
            match self.0.store.store(&events).await {
                Ok(stored) => {
                    tell.into_iter().zip(stored).for_each(|(tell, stored)| say(tell, Ok(stored)));
                }
                // One that the engine does not take must not keep the others out.
                Err(_) if events.len() > 1 => self.store_each(events, tell).await,
                Err(error) => {
                    let error = Arc::new(error);
                    tell.into_iter().for_each(|tell| say(tell, Err(error.clone())));
                }
            }
        }
    }

    async fn store_each(&self, events: Vec<NewEvent>, tell: Vec<oneshot::Sender<Told>>) {
        for (event, tell) in events.into_iter().zip(tell) {
            if tell.is_closed() {
                continue;
            }
            let stored = self.0.store.store(&[event]).await;
            let silent = || StoreError::of("the store does not say what became of the event");
            let stored = stored.and_then(|stored| stored.first().copied().ok_or_else(silent));
            say(tell, stored.map_err(Arc::new));
        }
    }

    fn next_group(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.0.queue();
        if queue.waiting.is_empty() {
            // Under the same lock as whoever comes next, so that nobody is left waiting.
            queue.is_served = false;
            return None;
        }
        let size = queue.waiting.len().min(GROUP);
        Some(queue.waiting.drain(..size).collect())
    }
}

impl<S: Store> Drop for Served<S> {
    fn drop(&mut self) {
        // Only where a store has panicked: what waited is told so, since its senders go.
        if std::thread::panicking() {
            *self.0.queue() = Queue::default();
        }
    }
}

fn say(tell: oneshot::Sender<Told>, told: Told) {
    // Who has hung up need not know.
    drop(tell.send(told));
}
