//! Answers to Stripe that wait for a handler with `answer_after`.
//!
//! The event is stored before the wait, so every answer is 200. The wait is only in memory: if the
//! process ends, another worker runs the delivery.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use router_core::{Event, clock::Clock, delivery::HandlerSpec};
use tokio::sync::watch;

use crate::{
    Store, StoreError,
    bounded::BoundedStore,
    store::{DeliveryState, PausedHandler},
    telemetry,
};

/// Maximum number of answers that wait at the same time: half of the connections that a server
/// accepts by default, so that a handler that hangs does not occupy all of them.
pub(crate) const MAX_WAITING: usize = 512;

/// Time to the first poll of the store. Each further one takes twice as long.
const FIRST_POLL: Duration = Duration::from_millis(100);

/// Maximum time between two polls of the store.
const MAX_POLL: Duration = Duration::from_secs(1);

/// The answers of this process that wait, and the number of workers that may end their waits.
pub(crate) struct WaitingAnswers {
    /// Wakes the answers that wait for an event, by the event's id.
    events: Mutex<HashMap<Arc<str>, watch::Sender<()>>>,
    /// The number of answers that wait. Changed only while `events` is locked.
    number: watch::Sender<usize>,
    /// The number of this process's workers that claim deliveries. `None` until the first one
    /// starts: the workers may be in other processes.
    workers: watch::Sender<Option<usize>>,
}

/// An answer that waits. It is counted until it is dropped.
struct WaitingAnswer<'a> {
    answers: &'a WaitingAnswers,
    event_id: Arc<str>,
    completed: watch::Receiver<()>,
    workers: watch::Receiver<Option<usize>>,
}

/// A worker of this process that claims deliveries, until it is dropped.
pub(crate) struct ClaimingWorker(Arc<WaitingAnswers>);

/// The reason for which a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    /// The delivery has finished, in this state.
    Finished(DeliveryState),
    /// The time of `answer_after` is over.
    TimeOver,
    /// The handler will not run in time: it is paused, or the workers of this process are shutting
    /// down and it has not started. Or too many answers wait.
    Skipped,
}

impl WaitingAnswers {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            events: Mutex::default(),
            number: watch::Sender::new(0),
            workers: watch::Sender::new(None),
        })
    }

    /// Records that a worker of this process claims deliveries until the result is dropped.
    pub(crate) fn add_worker(self: &Arc<Self>) -> ClaimingWorker {
        self.workers.send_modify(|workers| *workers = Some(workers.unwrap_or(0) + 1));
        ClaimingWorker(self.clone())
    }

    /// Wakes the answers that wait for this event, after an attempt of the handler was recorded.
    pub(crate) fn wake(&self, handler: &HandlerSpec, event_id: &str) {
        // The other handlers take no lock.
        if handler.answer_after.is_some()
            && let Some(completed) = self.events().get(event_id)
        {
            completed.send_replace(());
        }
    }

    /// Completes once an answer waits. Cancel safe.
    #[cfg(feature = "testing")]
    pub(crate) async fn any_waits(&self) {
        // The sender is borrowed, so there is no error.
        drop(self.number.subscribe().wait_for(|number| *number > 0).await);
    }

    /// Adds an answer. Returns `None` if too many wait already.
    fn add(&self, event_id: &str) -> Option<WaitingAnswer<'_>> {
        let mut events = self.events();
        if *self.number.borrow() >= MAX_WAITING {
            return None;
        }
        let event_id: Arc<str> = event_id.into();
        let completed = events.entry(event_id.clone()).or_default().subscribe();
        self.number.send_modify(|number| *number += 1);
        let workers = self.workers.subscribe();
        Some(WaitingAnswer { answers: self, event_id, completed, workers })
    }

    fn events(&self) -> MutexGuard<'_, HashMap<Arc<str>, watch::Sender<()>>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitingAnswer<'_> {
    /// Waits until an attempt at the event was recorded, or a worker has started or stopped.
    async fn woken(&mut self) {
        // The senders are in `answers`, so there are no errors.
        tokio::select! {
            Ok(()) = self.completed.changed() => {}
            Ok(()) = self.workers.changed() => {}
        }
    }
}

impl Drop for WaitingAnswer<'_> {
    fn drop(&mut self) {
        let mut events = self.answers.events();
        self.answers.number.send_modify(|number| *number -= 1);
        // The receiver of this answer still counts.
        if events.get(&self.event_id).is_some_and(|completed| completed.receiver_count() == 1) {
            events.remove(&self.event_id);
        }
    }
}

impl Drop for ClaimingWorker {
    fn drop(&mut self) {
        self.0.workers.send_modify(|workers| *workers = workers.map(|workers| workers - 1));
    }
}

/// Waits for the handlers of an event, one after the other.
pub(crate) struct AnswerWait<'a, S> {
    pub(crate) answers: &'a WaitingAnswers,
    pub(crate) store: &'a BoundedStore<S>,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) event: &'a Event,
    /// The time from which `answer_after` counts.
    pub(crate) arrived: Instant,
}

impl<S: Store> AnswerWait<'_, S> {
    /// Waits until the handler has finished the event, or until its time is over. Cancel safe.
    pub(crate) async fn wait_for(&self, handler: &HandlerSpec, limit: Duration) -> WaitEnd {
        let end = tokio::select! {
            biased;
            end = self.until_finished(handler) => end,
            () = self.clock.sleep_until(self.arrived + limit) => WaitEnd::TimeOver,
        };
        telemetry::answer_waited(handler, self.event, limit, end);
        end
    }

    /// Waits until the handler has finished the event, or will not do so in time.
    ///
    /// The store decides, because another process may run the delivery. A worker of this process
    /// wakes the answer, so that it does not wait for the next poll.
    async fn until_finished(&self, handler: &HandlerSpec) -> WaitEnd {
        let Some(mut answer) = self.answers.add(self.event.id()) else { return WaitEnd::Skipped };
        let mut poll = FIRST_POLL;
        loop {
            match self.check(handler).await {
                Ok(Some(end)) => return end,
                Ok(None) => {}
                Err(error) => telemetry::store_failed(
                    "failed to read a delivery for which an answer waits; retrying",
                    &error,
                ),
            }
            tokio::select! {
                biased;
                () = answer.woken() => {}
                () = self.clock.sleep(poll) => poll = MAX_POLL.min(poll * 2),
            }
        }
    }

    /// Returns the end of the wait, or `None` if the handler may still finish in time.
    async fn check(&self, handler: &HandlerSpec) -> Result<Option<WaitEnd>, StoreError> {
        // Read before the state: otherwise a worker could finish the delivery and stop in between.
        let no_worker = *self.answers.workers.borrow() == Some(0);
        match self.state(handler).await? {
            None | Some(DeliveryState::Running) => Ok(None),
            Some(DeliveryState::Waiting) if no_worker => Ok(Some(WaitEnd::Skipped)),
            Some(DeliveryState::Waiting) => {
                let paused = self.store.paused_handlers().await?;
                Ok(PausedHandler::find(&paused, handler).map(|_| WaitEnd::Skipped))
            }
            Some(state) => Ok(Some(WaitEnd::Finished(state))),
        }
    }

    /// Returns the state of the handler's latest delivery of the event.
    async fn state(&self, handler: &HandlerSpec) -> Result<Option<DeliveryState>, StoreError> {
        let key = self.event.key();
        let deliveries = self.store.deliveries(self.event.id()).await?;
        let own = deliveries.iter().filter(|delivery| {
            (&*delivery.endpoint, delivery.account.as_deref()) == (key.endpoint(), key.account())
                && handler.has_name(&delivery.handler)
        });
        Ok(own.max_by_key(|delivery| delivery.generation).map(|delivery| delivery.state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_answers_leave_nothing() {
        let answers = WaitingAnswers::new();
        let first = answers.add("evt_1");
        let second = answers.add("evt_1");
        assert_eq!((answers.events().len(), *answers.number.borrow()), (1, 2));
        drop(first);
        assert_eq!((answers.events().len(), *answers.number.borrow()), (1, 1));
        drop(second);
        assert_eq!((answers.events().len(), *answers.number.borrow()), (0, 0));
    }

    #[test]
    fn number_of_answers_that_wait_is_limited() {
        let answers = WaitingAnswers::new();
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| answers.add("evt_1").unwrap()).collect();
        assert!(answers.add("evt_2").is_none());
        waiting.pop();
        assert!(answers.add("evt_2").is_some());
    }
}
