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
    store::{DeliveryState, PausedHandler, StoredDelivery},
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
    /// The answers that wait for an event, by the event's id.
    events: Mutex<HashMap<Arc<str>, AnswersOfEvent>>,
    /// The number of answers that wait. Changed only while `events` is locked.
    number: watch::Sender<usize>,
    /// The number of this process's workers that claim deliveries. `None` until the first one
    /// starts: the workers may be in other processes.
    workers: watch::Sender<Option<usize>>,
}

/// The answers that wait for one event.
#[derive(Default)]
struct AnswersOfEvent {
    /// Wakes the answers after the outcome of an attempt was recorded.
    recorded: watch::Sender<()>,
    /// The number of the answers. The receivers are not counted instead, because they are dropped
    /// after the lock of the map is released.
    number: usize,
}

/// An answer that waits. It is counted until it is dropped.
struct WaitingAnswer<'a> {
    answers: &'a WaitingAnswers,
    event_id: Arc<str>,
    recorded: watch::Receiver<()>,
    workers: watch::Receiver<Option<usize>>,
}

/// A worker of this process that claims deliveries, until it is dropped.
pub(crate) struct ClaimingWorker(Arc<WaitingAnswers>);

/// The reason why the wait for a handler ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    /// The handler's delivery has finished, in this state.
    Finished(DeliveryState),
    /// The handler has not finished within its `answer_after`.
    TimedOut,
    /// The answer does not wait for the handler: the handler is paused, it is not running and all
    /// workers of this process have stopped claiming, or [`MAX_WAITING`] answers wait already.
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

    /// Wakes the answers that wait for events with this id. Called after the outcome of an attempt
    /// of the handler was recorded.
    ///
    /// The id may be that of an event at another endpoint, so an answer that wakes up reads the
    /// state of its own event.
    pub(crate) fn wake(&self, handler: &HandlerSpec, event_id: &str) {
        // No answer waits for other handlers, so their outcomes need no lock.
        if handler.answer_after.is_some()
            && let Some(answers) = self.events().get(event_id)
        {
            answers.recorded.send_replace(());
        }
    }

    /// Completes once an answer waits. Cancel safe.
    #[cfg(feature = "testing")]
    pub(crate) async fn any_waits(&self) {
        // The sender is borrowed, so there is no error.
        drop(self.number.subscribe().wait_for(|number| *number > 0).await);
    }

    /// Adds an answer that waits. Returns `None` if [`MAX_WAITING`] answers wait already.
    fn add(&self, event_id: &str) -> Option<WaitingAnswer<'_>> {
        let mut events = self.events();
        if *self.number.borrow() >= MAX_WAITING {
            return None;
        }
        let event_id: Arc<str> = event_id.into();
        let of_event = events.entry(event_id.clone()).or_default();
        of_event.number += 1;
        let recorded = of_event.recorded.subscribe();
        self.number.send_modify(|number| *number += 1);
        let workers = self.workers.subscribe();
        Some(WaitingAnswer { answers: self, event_id, recorded, workers })
    }

    fn events(&self) -> MutexGuard<'_, HashMap<Arc<str>, AnswersOfEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitingAnswer<'_> {
    /// Waits until the outcome of an attempt was recorded, or a worker of this process has started
    /// or stopped claiming. Wake-ups between two calls are not lost. Cancel safe.
    async fn woken(&mut self) {
        // The senders are in `answers`, so there are no errors.
        tokio::select! {
            Ok(()) = self.recorded.changed() => {}
            Ok(()) = self.workers.changed() => {}
        }
    }
}

impl Drop for WaitingAnswer<'_> {
    fn drop(&mut self) {
        let mut events = self.answers.events();
        self.answers.number.send_modify(|number| *number -= 1);
        if let Some(of_event) = events.get_mut(&self.event_id) {
            of_event.number -= 1;
            if of_event.number == 0 {
                events.remove(&self.event_id);
            }
        }
    }
}

impl Drop for ClaimingWorker {
    fn drop(&mut self) {
        self.0.workers.send_modify(|workers| *workers = workers.map(|workers| workers - 1));
    }
}

/// An answer's wait for the handlers of its event.
pub(crate) struct AnswerWait<'a, S> {
    pub(crate) answers: &'a WaitingAnswers,
    pub(crate) store: &'a BoundedStore<S>,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) event: &'a Event,
    /// The time from which `answer_after` counts.
    pub(crate) arrived: Instant,
}

/// A handler for which an answer waits, and its `answer_after`.
pub(crate) type Awaited<'h> = (&'h HandlerSpec, Duration);

impl<S: Store> AnswerWait<'_, S> {
    /// Waits until each handler has finished the event, has timed out, or is skipped. Returns the
    /// handlers that have finished, each with the state of its delivery. Returns at once if too
    /// many answers wait already. Cancel safe.
    ///
    /// The answer waits for all handlers at the same time, so that a handler that hangs does not
    /// hide that another has finished in time.
    pub(crate) async fn wait_for(
        &self,
        mut awaited: Vec<Awaited<'_>>,
    ) -> Vec<(Arc<str>, DeliveryState)> {
        let Some(mut answer) = self.answers.add(self.event.id()) else {
            for (handler, limit) in awaited {
                telemetry::answer_waited(handler, self.event, limit, WaitEnd::Skipped);
            }
            return Vec::new();
        };
        let mut finished = Vec::new();
        let mut poll = FIRST_POLL;
        while let Some(first) = awaited.iter().map(|(_, limit)| *limit).min() {
            let ends = tokio::select! {
                biased;
                ends = self.until_one_ends(&awaited, &mut answer, &mut poll) => ends,
                () = self.clock.sleep_until(self.arrived + first) => {
                    let end = |(_, limit): &Awaited<'_>| {
                        (*limit == first).then_some(WaitEnd::TimedOut)
                    };
                    awaited.iter().map(end).collect()
                }
            };
            let mut ends = ends.into_iter();
            awaited.retain(|(handler, limit)| {
                let Some(end) = ends.next().flatten() else { return true };
                telemetry::answer_waited(handler, self.event, *limit, end);
                if let WaitEnd::Finished(state) = end {
                    finished.push((handler.name.clone(), state));
                }
                false
            });
        }
        finished
    }

    /// Waits until one of the handlers has finished the event or is skipped. Returns the end of the
    /// wait for each handler, or `None` if the handler may still finish in time. Cancel safe.
    ///
    /// The state in the store decides, because another process may run the delivery. The store is
    /// read at each poll and after each wake-up. The next of them repeats a failed read.
    async fn until_one_ends(
        &self,
        awaited: &[Awaited<'_>],
        answer: &mut WaitingAnswer<'_>,
        poll: &mut Duration,
    ) -> Vec<Option<WaitEnd>> {
        loop {
            match self.check(awaited).await {
                Ok(ends) if ends.iter().any(Option::is_some) => return ends,
                Ok(_) => {}
                Err(error) => telemetry::store_failed(
                    "failed to read the deliveries for which an answer waits; retrying",
                    &error,
                ),
            }
            tokio::select! {
                biased;
                () = answer.woken() => {}
                () = self.clock.sleep(*poll) => *poll = MAX_POLL.min(*poll * 2),
            }
        }
    }

    /// Reads the store. Returns the end of the wait for each handler, or `None` if the handler may
    /// still finish in time.
    async fn check(&self, awaited: &[Awaited<'_>]) -> Result<Vec<Option<WaitEnd>>, StoreError> {
        // Read before the states. Otherwise a worker could finish the delivery and stop in between,
        // and the delivery would be skipped.
        let no_worker = *self.answers.workers.borrow() == Some(0);
        let deliveries = self.store.deliveries(self.event.id()).await?;
        let states: Vec<_> =
            awaited.iter().map(|(handler, _)| self.state(&deliveries, handler)).collect();
        let paused = match states.contains(&Some(DeliveryState::Waiting)) && !no_worker {
            true => self.store.paused_handlers().await?,
            false => Vec::new(),
        };
        let end = |((handler, _), state): (&Awaited<'_>, Option<DeliveryState>)| match state {
            None | Some(DeliveryState::Running) => None,
            Some(DeliveryState::Waiting) => {
                let is_skipped = no_worker || PausedHandler::find(&paused, handler).is_some();
                is_skipped.then_some(WaitEnd::Skipped)
            }
            Some(state) => Some(WaitEnd::Finished(state)),
        };
        Ok(awaited.iter().zip(states).map(end).collect())
    }

    /// Returns the state of the handler's delivery in the event's latest generation. Ignores the
    /// events with the same id at other endpoints or of other accounts.
    fn state(&self, deliveries: &[StoredDelivery], handler: &HandlerSpec) -> Option<DeliveryState> {
        let key = self.event.key();
        let own = deliveries.iter().filter(|delivery| {
            (&*delivery.endpoint, delivery.account.as_deref()) == (key.endpoint(), key.account())
                && handler.has_name(&delivery.handler)
        });
        own.max_by_key(|delivery| delivery.generation).map(|delivery| delivery.state)
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

    /// Answers for one event often end together, because the same outcome wakes them.
    #[test]
    fn answers_that_end_at_the_same_time_leave_nothing() {
        let answers = WaitingAnswers::new();
        for _ in 0..2_000 {
            let waiting = [answers.add("evt_1"), answers.add("evt_1")];
            let barrier = std::sync::Barrier::new(waiting.len());
            std::thread::scope(|scope| {
                for answer in waiting {
                    scope.spawn(|| {
                        barrier.wait();
                        drop(answer);
                    });
                }
            });
            assert_eq!((answers.events().len(), *answers.number.borrow()), (0, 0));
        }
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
