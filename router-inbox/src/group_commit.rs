//! Group commit: events that arrive while a commit is in progress share the next one.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::{NewEvent, Store, StoreError, Stored};

/// Stores events in batches, one commit per batch.
///
/// The first caller to find no writer task spawns one. The writer task drains the queue batch by
/// batch and ends once the queue is empty; callers that arrive during a commit join the next batch.
/// An event is therefore never delayed to fill a batch, and batches grow with the load.
pub(crate) struct GroupCommit<S> {
    store: Arc<S>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    pending: Vec<Pending>,
    /// `true` while a writer task is running.
    has_writer: bool,
}

/// A queued event, and the channel to the caller that waits for it.
struct Pending {
    event: NewEvent,
    reply: oneshot::Sender<StoreResult>,
}

/// The result for one caller. The error is shared by all callers of a batch.
type StoreResult = Result<Stored, Arc<StoreError>>;

/// Maximum number of events per commit.
const MAX_BATCH: usize = 256;

impl<S: Store> GroupCommit<S> {
    pub(crate) fn new(store: Arc<S>) -> Self {
        Self { store, queue: Mutex::default() }
    }

    /// Stores the event in a batch with other pending events.
    ///
    /// If the caller cancels this call, the event is either skipped or still stored.
    pub(crate) async fn store(self: &Arc<Self>, event: NewEvent) -> StoreResult {
        let (reply, result) = oneshot::channel();
        if self.enqueue(Pending { event, reply }) {
            // The writer runs in a task of its own, because this caller may be canceled while
            // others wait for the same commit.
            tokio::spawn(WriterGuard(self.clone()).write());
        }
        let writer_ended = |_| {
            let error = "the inbox's writer task ended before it reported the result: the process \
                         is shutting down, or the store panicked";
            Err(Arc::new(StoreError::new(error)))
        };
        result.await.unwrap_or_else(writer_ended)
    }

    /// Queues an event. Returns `true` if there is no writer task, in which case the caller must
    /// spawn it.
    fn enqueue(&self, pending: Pending) -> bool {
        let mut queue = self.queue();
        queue.pending.push(pending);
        !mem::replace(&mut queue.has_writer, true)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guard held by the writer task, of which there is at most one. If the task panics, dropping the
/// guard resets the queue, so that the next caller spawns a new writer.
struct WriterGuard<S: Store>(Arc<GroupCommit<S>>);

impl<S: Store> WriterGuard<S> {
    /// Stores batch after batch until the queue is empty.
    async fn write(self) {
        while let Some(batch) = self.next_batch() {
            // Events whose callers have stopped waiting are skipped. They were not acknowledged, so
            // Stripe resends them.
            let batch = batch.into_iter().filter(|pending| !pending.reply.is_closed());
            let (events, replies): (Vec<_>, Vec<_>) =
                batch.map(|Pending { event, reply }| (event, reply)).unzip();
            match self.0.store.store(&events).await {
                Ok(results) => {
                    replies
                        .into_iter()
                        .zip(results)
                        .for_each(|(reply, stored)| send(reply, Ok(stored)));
                }
                // A single event that the engine rejects must not fail the others.
                Err(_) if events.len() > 1 => self.store_each(events, replies).await,
                Err(error) => {
                    let error = Arc::new(error);
                    replies.into_iter().for_each(|reply| send(reply, Err(error.clone())));
                }
            }
        }
    }

    /// Stores each event of a failed batch with a commit of its own.
    async fn store_each(&self, events: Vec<NewEvent>, replies: Vec<oneshot::Sender<StoreResult>>) {
        for (event, reply) in events.into_iter().zip(replies) {
            if reply.is_closed() {
                continue;
            }
            let results = self.0.store.store(&[event]).await;
            let no_result = || StoreError::new("the store returned no result for the event");
            let result =
                results.and_then(|results| results.into_iter().next().ok_or_else(no_result));
            send(reply, result.map_err(Arc::new));
        }
    }

    /// Takes the next batch from the queue. If the queue is empty, clears `has_writer` and returns
    /// `None`.
    fn next_batch(&self) -> Option<Vec<Pending>> {
        let mut queue = self.0.queue();
        if queue.pending.is_empty() {
            // `enqueue` takes the same lock, so no event can be queued between the check and this
            // line. The next caller spawns a new writer.
            queue.has_writer = false;
            return None;
        }
        let size = queue.pending.len().min(MAX_BATCH);
        Some(queue.pending.drain(..size).collect())
    }
}

impl<S: Store> Drop for WriterGuard<S> {
    fn drop(&mut self) {
        // The store has panicked. Dropping the pending events closes their channels, so their
        // callers fail.
        if std::thread::panicking() {
            *self.0.queue() = Queue::default();
        }
    }
}

fn send(reply: oneshot::Sender<StoreResult>, result: StoreResult) {
    // Sending fails if the caller has stopped waiting, which is no error.
    drop(reply.send(result));
}
