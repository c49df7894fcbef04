//! Group commit: events that arrive while a commit is in progress share the next one.

use std::{
    collections::BTreeMap,
    iter, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::{
    Store, StoreError,
    bounded::{BoundedStore, LimitExceeded},
    store::{NewEvent, Stored},
};

/// Stores events in batches, one commit per batch.
///
/// The first caller to find no writer task spawns one. The writer task drains the queue batch by
/// batch and ends once the queue is empty; callers that arrive during a commit join the next batch.
/// An event is therefore never delayed to fill a batch, and batches grow with the load.
///
/// The memory is bounded while the store is slow: a full queue refuses further events, and an event
/// leaves the queue when its caller stops waiting.
pub(crate) struct GroupCommit<S> {
    store: BoundedStore<S>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// The queued events, in the order of their arrival.
    pending: BTreeMap<u64, Pending>,
    /// The number of events that were ever queued.
    arrivals: u64,
    /// The total size of the queued payloads.
    bytes: usize,
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

/// Maximum size of the payloads per commit, in bytes. An event with a larger payload has a commit
/// of its own.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Maximum number of queued events.
pub(crate) const MAX_QUEUE: usize = 10_000;

/// Maximum size of the queued payloads, in bytes. An event with a larger payload is queued only if
/// the queue is empty.
pub(crate) const MAX_QUEUE_BYTES: usize = 64 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
enum QueueFull {
    #[error(
        "{MAX_QUEUE} events are waiting to be stored, which is the limit: the store is too slow, \
         or does not answer; check its load and its log"
    )]
    Events,
    #[error(
        "events of {bytes} bytes are waiting to be stored, and with this one they would exceed the \
         limit of {MAX_QUEUE_BYTES} bytes: the store is too slow, or does not answer; check its \
         load and its log"
    )]
    Bytes { bytes: usize },
}

impl<S: Store> GroupCommit<S> {
    pub(crate) fn new(store: BoundedStore<S>) -> Self {
        Self { store, queue: Mutex::default() }
    }

    /// Stores the event in a batch with other pending events.
    ///
    /// If the caller cancels this call, an event that is still queued is dropped. An event whose
    /// commit has begun is still stored.
    pub(crate) async fn store(self: &Arc<Self>, event: NewEvent) -> StoreResult {
        let (reply, result) = oneshot::channel();
        let (number, must_spawn_writer) = self.queue().enqueue(Pending { event, reply })?;
        let _queued = QueuedEvent { commit: self, number };
        if must_spawn_writer {
            // The writer runs in a task of its own, because this caller may be canceled while
            // others wait for the same commit.
            tokio::spawn(WriterGuard(self.clone()).write());
        }
        let writer_ended = |_| {
            let error = "the inbox's writer task ended before it reported the result: the process \
                         is shutting down, or the store panicked";
            Err(Arc::new(StoreError::unavailable(error)))
        };
        result.await.unwrap_or_else(writer_ended)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Queues an event. Returns its number, and `true` if there is no writer task, in which case
    /// the caller must spawn it.
    ///
    /// # Errors
    ///
    /// Fails if the queue is full.
    fn enqueue(&mut self, pending: Pending) -> Result<(u64, bool), Arc<StoreError>> {
        let full = match (self.pending.len(), self.bytes) {
            (MAX_QUEUE.., _) => Some(QueueFull::Events),
            (1.., bytes) if bytes + size(&pending) > MAX_QUEUE_BYTES => {
                Some(QueueFull::Bytes { bytes })
            }
            _ => None,
        };
        if let Some(full) = full {
            return Err(Arc::new(StoreError::busy(full)));
        }
        let number = self.arrivals;
        self.arrivals += 1;
        self.bytes += size(&pending);
        self.pending.insert(number, pending);
        Ok((number, !mem::replace(&mut self.has_writer, true)))
    }

    fn remove(&mut self, number: u64) -> Option<Pending> {
        let pending = self.pending.remove(&number)?;
        self.bytes -= size(&pending);
        Some(pending)
    }

    /// Takes the next batch from the queue. If the queue is empty, clears `has_writer` and returns
    /// `None`.
    fn next_batch(&mut self) -> Option<Vec<Pending>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some((&number, pending)) = self.pending.first_key_value() {
            bytes += size(pending);
            if batch.len() == MAX_BATCH || (bytes > MAX_BATCH_BYTES && !batch.is_empty()) {
                break;
            }
            batch.extend(self.remove(number));
        }
        // `enqueue` takes the same lock, so no event can be queued between the check and this
        // line. The next caller spawns a new writer.
        self.has_writer = !batch.is_empty();
        self.has_writer.then_some(batch)
    }
}

fn size(pending: &Pending) -> usize {
    pending.event.event.payload().len()
}

/// A caller's event in the queue. If the caller stops waiting, dropping this guard removes the
/// event. The event was not acknowledged, so Stripe resends it.
struct QueuedEvent<'c, S: Store> {
    commit: &'c GroupCommit<S>,
    number: u64,
}

impl<S: Store> Drop for QueuedEvent<'_, S> {
    fn drop(&mut self) {
        let removed = self.commit.queue().remove(self.number);
        // Dropped here, after the lock is released, because the event may be large.
        drop(removed);
    }
}

/// A guard held by the writer task, of which there is at most one. If the task panics, dropping the
/// guard resets the queue, so that the next caller spawns a new writer.
struct WriterGuard<S: Store>(Arc<GroupCommit<S>>);

impl<S: Store> WriterGuard<S> {
    /// Stores batch after batch until the queue is empty.
    async fn write(self) {
        loop {
            let Some(batch) = self.0.queue().next_batch() else { break };
            let (events, replies): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|Pending { event, reply }| (event, reply)).unzip();
            match self.0.store.store(&events).await {
                Ok(results) => {
                    replies
                        .into_iter()
                        .zip(results)
                        .for_each(|(reply, stored)| send(reply, Ok(stored)));
                }
                // A single event that the engine rejects must not fail the others.
                Err(error) if events.len() > 1 && !exceeded_limit(&error) => {
                    self.store_each(events, replies).await;
                }
                Err(error) => send_error(replies, error),
            }
        }
    }

    /// Stores each event of a failed batch with a commit of its own, until the store exceeds the
    /// time limit.
    async fn store_each(&self, events: Vec<NewEvent>, replies: Vec<oneshot::Sender<StoreResult>>) {
        let mut pending = events.into_iter().zip(replies);
        while let Some((event, reply)) = pending.next() {
            if reply.is_closed() {
                continue;
            }
            let results = self.0.store.store(&[event]).await;
            let no_result =
                || StoreError::unavailable("the store returned no result for the event");
            match results.and_then(|results| results.into_iter().next().ok_or_else(no_result)) {
                Err(error) if exceeded_limit(&error) => {
                    let others = pending.map(|(_, reply)| reply);
                    return send_error(iter::once(reply).chain(others), error);
                }
                result => send(reply, result.map_err(Arc::new)),
            }
        }
    }
}

impl<S: Store> Drop for WriterGuard<S> {
    fn drop(&mut self) {
        // The store has panicked. Dropping the pending events closes their channels, so their
        // callers fail.
        if std::thread::panicking() {
            let mut queue = self.0.queue();
            *queue = Queue { arrivals: queue.arrivals, ..Queue::default() };
        }
    }
}

fn exceeded_limit(error: &StoreError) -> bool {
    error.is::<LimitExceeded>()
}

fn send_error(replies: impl IntoIterator<Item = oneshot::Sender<StoreResult>>, error: StoreError) {
    let error = Arc::new(error);
    replies.into_iter().for_each(|reply| send(reply, Err(error.clone())));
}

fn send(reply: oneshot::Sender<StoreResult>, result: StoreResult) {
    // Sending fails if the caller has stopped waiting, which is no error.
    drop(reply.send(result));
}
