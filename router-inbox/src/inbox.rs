//! The receiving side of the inbox: stores each event, then answers Stripe.

use std::{
    fmt,
    future::Future,
    panic::resume_unwind,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use router_core::{
    Event,
    clock::{Clock, SystemClock},
    delivery::{DeliveryRouter, HandlerSpec},
    routing::{ReportFuture, RouterError},
};
use tokio::{sync::watch, task::JoinError};
use tower_service::Service;
use tracing::Instrument as _;

use crate::{
    Receipt, Store, StoreError,
    answers::{self, AnswerWait, WaitingAnswers},
    bounded::BoundedStore,
    group_commit::{self, GroupCommit},
    monitor::{BacklogMonitor, InboxHealth},
    store::{NewDelivery, NewEvent, StoreErrorKind, Stored},
    telemetry, trace,
};

/// A durable inbox: a tower [`Service`] that stores each event with a delivery per handler, and
/// then answers.
///
/// Every event answered with 200 is durably stored. Events that arrive while a commit is in
/// progress are stored together in the next one (group commit). If a handler has the key
/// `answer_after`, the answer then waits until the handler has finished the event, or its time is
/// over.
///
/// A handler that [replies](router_core::Reply) runs first, in the call itself. The event is then
/// stored for its other handlers, and only then answered with the reply. If the reply fails, the
/// event is stored all the same. An event that has no other handler is not stored.
///
/// The handlers are run by a [`worker`](Self::worker), in this process or in another one that uses
/// the same store. If no worker claims the deliveries, the inbox logs a
/// [warning](Self::claim_warning), and its [`health`](Self::health) reports it. Cloning is cheap,
/// and clones share the inbox.
///
/// ```
/// use router_core::{Event, Router, testing::SyntheticEvent};
/// use router_inbox::{Inbox, SqliteStore, store::Stored};
/// use tower_service::Service as _;
///
/// async fn fulfil(_: Event) {}
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let url = format!("sqlite:{}/inbox.db", folder.path().display());
/// let store = SqliteStore::open(&url).await?; // "sqlite:inbox.db"
/// let router = Router::builder().without_linked();
/// let router = router.handler("shop.fulfil", ["invoice.paid"], fulfil);
/// let router = router.delivered_by(&store).build()?;
///
/// // Behind an endpoint: `Endpoint::new(secret, inbox)`.
/// let mut inbox = Inbox::new(store, router.clone());
/// let event = SyntheticEvent::new("invoice.paid").build()?.event().clone();
/// assert_eq!(inbox.call(event.clone()).await?.stored(), Some(&Stored::New));
/// assert!(inbox.call(event).await?.stored().is_some_and(Stored::is_duplicate));
///
/// // A server runs the worker until its shutdown: `run(shutdown_signal()?)`.
/// inbox.worker(router).run_until_idle().await;
/// # Ok(())
/// # }
/// ```
pub struct Inbox<S> {
    monitor: Arc<BacklogMonitor<S>>,
    group_commit: Arc<GroupCommit<S>>,
    store_timeout: Duration,
    clock: Arc<dyn Clock>,
    /// Wakes this process's workers when an event has been stored.
    wakeups: watch::Sender<()>,
    /// The answers that wait for handlers with `answer_after`.
    answers: Arc<WaitingAnswers>,
}

/// The error of an event that was not stored, or whose reply is not available.
///
/// The endpoint answers with 503, so that Stripe resends the event.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum InboxError {
    /// The event could not be stored. A reply, if there is one, is not sent.
    #[error("the event could not be stored in the inbox{}", advice(.0.kind()))]
    Store(#[source] Arc<StoreError>),
    /// The report of the handler that replies is not available. The event is stored for its other
    /// handlers.
    #[error("the reply to the event is not available")]
    Reply(#[source] RouterError),
}

fn advice(kind: StoreErrorKind) -> String {
    kind.advice().map(|advice| format!(" ({advice})")).unwrap_or_default()
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the store did not store the event within {}: it is overloaded, or blocked by a long-running \
     write transaction",
    humantime::format_duration(*.0)
)]
struct StoreTimeoutExceeded(Duration);

impl<S: Store> Inbox<S> {
    /// Creates an inbox that stores events for the handlers of `router`.
    #[must_use]
    pub fn new(store: S, router: DeliveryRouter) -> Self {
        telemetry::describe();
        let store = BoundedStore::new(Arc::new(store));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self {
            group_commit: Arc::new(GroupCommit::new(store.clone())),
            monitor: BacklogMonitor::new(store, router, clock.clone()),
            store_timeout: Duration::from_secs(5),
            clock,
            wakeups: watch::Sender::new(()),
            answers: WaitingAnswers::new(),
        }
    }

    /// Sets the maximum time for storing an event. Default: 5 s.
    ///
    /// If it is exceeded, the endpoint answers with 503, so that Stripe resends the event. The wait
    /// for a handler with `answer_after` is not part of it.
    #[must_use]
    pub fn store_timeout(self, store_timeout: Duration) -> Self {
        Self { store_timeout, ..self }
    }

    /// Sets the time after which a due delivery that no worker has claimed is reported: by a
    /// repeated warning in the log, which names the handlers and the cause, and by
    /// [`health`](Self::health). Default: 60 s.
    ///
    /// If a periodic job runs the deliveries with
    /// [`run_until_idle`](crate::Worker::run_until_idle), set a time that is longer than the period
    /// of the job. The setting holds for all clones of this inbox.
    #[must_use]
    pub fn claim_warning(self, claim_warning: Duration) -> Self {
        self.monitor.set_claim_warning(claim_warning);
        self
    }

    /// Sets the clock of this inbox, its workers and the monitor of its backlog. Default: the
    /// system clock.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(clock);
        self.monitor.set_clock(clock.clone());
        Self { clock, ..self }
    }

    /// Returns the health of this inbox: whether its store can be reached, and whether workers
    /// claim its deliveries.
    #[must_use]
    pub fn health(&self) -> InboxHealth {
        InboxHealth::new(self.monitor.clone())
    }

    /// Returns the store.
    #[must_use]
    pub fn store(&self) -> &Arc<S> {
        self.monitor.store().unbounded()
    }

    pub(crate) fn monitor(&self) -> &Arc<BacklogMonitor<S>> {
        &self.monitor
    }

    /// Returns the router. The inbox stores events for its handlers.
    #[must_use]
    pub fn router(&self) -> &DeliveryRouter {
        self.monitor.router()
    }

    pub(crate) fn wakeups(&self) -> watch::Receiver<()> {
        self.wakeups.subscribe()
    }

    pub(crate) fn answers(&self) -> &Arc<WaitingAnswers> {
        &self.answers
    }

    pub(crate) fn shared_clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    async fn receive(self, event: Event) -> Result<Receipt, InboxError> {
        self.monitor.ensure_started();
        self.router().log_unmatched(&event);
        if let Some(reply) = self.router().reply(&event) {
            // In a task, so that the event is stored even if Stripe stops waiting for the reply.
            let task = tokio::spawn(self.receive_after(reply, event).in_current_span());
            return match task.await.map_err(JoinError::try_into_panic) {
                Ok(result) => result,
                Err(Ok(panic)) => resume_unwind(panic),
                Err(Err(_)) => Err(InboxError::Reply(RouterError::RuntimeShutDown)),
            };
        }
        let start = self.clock.monotonic();
        let handlers: Vec<&HandlerSpec> = self.router().plan(&event).collect();
        let mut receipt = self.store_event(&event, &handlers).await?;
        self.wait_for_handlers(&event, &handlers, start, &mut receipt).await;
        Ok(receipt)
    }

    /// Waits for the reply, then stores the event for its other handlers. The answer waits for none
    /// of these, because Stripe waits for the reply.
    async fn receive_after(self, reply: ReportFuture, event: Event) -> Result<Receipt, InboxError> {
        let report = reply.await.map_err(InboxError::Reply);
        let handlers: Vec<&HandlerSpec> = self.router().plan(&event).collect();
        if handlers.is_empty() {
            return report.map(Receipt::reply_only);
        }
        // The event is stored even if the reply failed, because Stripe may not resend it.
        let receipt = self.store_event(&event, &handlers).await?;
        Ok(receipt.with_reply(report?))
    }

    /// Stores the event with a delivery to each of these handlers.
    async fn store_event(
        &self,
        event: &Event,
        handlers: &[&HandlerSpec],
    ) -> Result<Receipt, InboxError> {
        let start = self.clock.monotonic();
        let names = handlers.iter().map(|handler| handler.name.clone()).collect();
        let deliveries = handlers.iter().copied().map(NewDelivery::from_spec).collect();
        let new = NewEvent::new(event.clone(), deliveries).trace_parent(trace::current());
        let result = self.commit(new).await;
        let (now, outcome) = (self.clock.monotonic(), result.as_ref());
        self.monitor.record_write(outcome.map(drop).map_err(|error| error.kind()), now);
        let stored = result.map_err(|error| {
            telemetry::store_error();
            InboxError::Store(error)
        })?;
        self.wakeups.send_replace(());
        let receipt = Receipt::new(event, stored, names);
        telemetry::received(event, receipt.outcome(), now - start);
        receipt.log_redelivery(event);
        Ok(receipt)
    }

    /// Waits for the handlers with `answer_after` that have not finished the event yet, and adds
    /// the states of their deliveries to the receipt.
    async fn wait_for_handlers(
        &self,
        event: &Event,
        handlers: &[&HandlerSpec],
        arrived: Instant,
        receipt: &mut Receipt,
    ) {
        let awaited = handlers.iter().enumerate().filter_map(|(index, handler)| {
            Some((*handler, handler.answer_after.filter(|_| receipt.is_unfinished(index))?))
        });
        let awaited: Vec<_> = awaited.collect();
        if awaited.is_empty() {
            return;
        }
        let (answers, store, clock) = (&*self.answers, self.monitor.store(), &*self.clock);
        let wait = AnswerWait { answers, store, clock, event, arrived };
        receipt.add_finished(wait.wait_for(awaited).await);
    }

    async fn commit(&self, event: NewEvent) -> Result<Stored, Arc<StoreError>> {
        self.store().check(&event)?;
        let result = pin!(self.group_commit.store(event));
        tokio::select! {
            result = result => result,
            // The commit may still succeed. The event that Stripe resends is then a duplicate.
            () = self.clock.sleep(self.store_timeout) => {
                Err(StoreError::busy(StoreTimeoutExceeded(self.store_timeout)).into())
            }
        }
    }
}

impl<S: Store> Service<Event> for Inbox<S> {
    type Response = Receipt;
    type Error = InboxError;
    type Future = Pin<Box<dyn Future<Output = Result<Receipt, InboxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), InboxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: Event) -> Self::Future {
        Box::pin(self.clone().receive(event))
    }
}

impl<S> Clone for Inbox<S> {
    fn clone(&self) -> Self {
        Self {
            monitor: self.monitor.clone(),
            group_commit: self.group_commit.clone(),
            store_timeout: self.store_timeout,
            clock: self.clock.clone(),
            wakeups: self.wakeups.clone(),
            answers: self.answers.clone(),
        }
    }
}

impl<S> fmt::Debug for Inbox<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("store_timeout", &self.store_timeout)
            .field("operation_limit", &self.monitor.store().limit())
            .field("max_queued_events", &group_commit::MAX_QUEUE)
            .field("max_queued_bytes", &group_commit::MAX_QUEUE_BYTES)
            .field("max_waiting_answers", &answers::MAX_WAITING)
            .finish_non_exhaustive()
    }
}
