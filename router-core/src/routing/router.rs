//! The router, a tower `Service<Event>`, and the future of its calls.

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    sync::oneshot::{self, error::RecvError},
    task::JoinHandle,
};
use tower_service::Service;
use tracing::Instrument as _;

use super::{
    Handlers, RouterError,
    in_flight::{Answer, Claim, InFlight},
    run::{Inner, Parts, Run},
};
use crate::{
    build::{Explanation, RouterBuilder, Routes, StartupReport},
    clock::within,
    event::Event,
    handler::Report,
    telemetry,
};

/// Runs the handlers of an event.
///
/// A `Router` is cheap to clone, and its clones share all state. It is a tower service from an
/// [`Event`] to a [`Report`]. A handler's failure is part of the report; a [`RouterError`] means
/// that the event was not handled, or that its report is not available. The service is always
/// ready; use a layer to limit the number of events in flight.
///
/// The handlers of one event run one after the other, sorted by `order` and then by stable name, so
/// the order does not depend on the linker. Different events run concurrently. Calls must be made
/// inside a tokio runtime: dropping the future of a call does not cancel handlers that have
/// started, which go on in a tokio task.
///
/// For an event that comes again, the router runs only the handlers that have not finished it
/// according to its [`CompletionStore`](crate::completions::CompletionStore), and those that failed
/// it permanently: Stripe does not redeliver such an event, so a person has sent it again. As long
/// as another handler needs a retry, Stripe does redeliver it, and a dead letter does not start
/// over. A duplicate of an event in flight waits for that event and gets the same report.
#[derive(Debug, Clone)]
pub struct Router(Arc<Inner>);

impl Router {
    /// Returns a builder with every `#[on_event]` handler of every linked crate.
    pub fn builder() -> RouterBuilder {
        RouterBuilder::from_registry()
    }

    pub(crate) fn new(parts: Parts) -> Self {
        if let Some(handler) = &parts.unhandled {
            telemetry::init_failure_counters(&handler.name);
        }
        Self(Arc::new(Inner { parts, in_flight: InFlight::new() }))
    }

    pub(crate) fn handlers(&self) -> &Handlers {
        &self.0.parts.handlers
    }

    /// Returns the routes. Their `Display` is a table that does not change from build to build, so
    /// it is suitable for a snapshot test.
    #[must_use]
    pub fn routes(&self) -> &Routes {
        &self.0.parts.handlers.routes
    }

    /// Returns the event types to enable for the webhook endpoint at Stripe, sorted.
    ///
    /// A `prefix.*` is expanded to its known event types. A `*` is returned as is, because Stripe
    /// accepts it.
    #[must_use]
    pub fn event_types(&self) -> Vec<String> {
        self.0.parts.handlers.routes.event_types()
    }

    /// Explains which handlers would run for an event type, in order, and why others would not.
    #[must_use]
    pub fn explain(&self, event_type: &str) -> Explanation {
        Explanation::new(event_type, &self.0.parts.handlers.routes)
    }

    /// Returns the start-up report, with the router's warnings. `build()` has logged it.
    #[must_use]
    pub fn startup_report(&self) -> &StartupReport {
        &self.0.parts.handlers.report
    }

    /// Closes the router: later calls fail with [`RouterError::Closed`]. Events in flight go on.
    pub fn close(&self) {
        self.0.in_flight.close();
    }

    /// Waits until the router is [closed](Router::close) and no event is in flight. Cancel safe.
    pub async fn drained(&self) {
        self.0.in_flight.drained().await;
    }
}

impl Service<Event> for Router {
    type Response = Report;
    type Error = RouterError;
    type Future = ReportFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RouterError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: Event) -> ReportFuture {
        telemetry::event_span(&event).in_scope(|| self.0.deliver(event))
    }
}

impl Inner {
    fn deliver(self: &Arc<Self>, event: Event) -> ReportFuture {
        let key = event.key();
        match self.in_flight.claim(&key, &event) {
            Claim::Closed => ReportFuture::ready(Err(RouterError::Closed)),
            Claim::Acquired => {
                let run = Run { router: self.clone(), event, key };
                ReportFuture::run(Box::pin(run.answer().in_current_span()))
            }
            Claim::Answered(answer) => {
                telemetry::duplicate_in_flight(&event);
                ReportFuture::ready(answer)
            }
            Claim::Running(answer) => {
                telemetry::duplicate_in_flight(&event);
                let router = self.clone();
                ReportFuture::wait(Box::pin(async move {
                    router.wait_for(answer).await?.unwrap_or(Err(RouterError::RuntimeShutDown))
                }))
            }
            Claim::Variant(released) => {
                tracing::debug!("another copy of this event is in flight; waiting for it");
                let router = self.clone();
                let answer = async move {
                    // The sender is dropped, so this is an error in any case.
                    drop(router.wait_for(released).await?);
                    router.deliver(event).await
                };
                ReportFuture::run(Box::pin(answer.in_current_span()))
            }
        }
    }

    /// Waits for another call, up to the timeout.
    async fn wait_for<T>(
        &self,
        receiver: oneshot::Receiver<T>,
    ) -> Result<Result<T, RecvError>, RouterError> {
        let Parts { wait_timeout, handlers, .. } = &self.parts;
        let received = within(*wait_timeout, &*handlers.clock, pin!(receiver)).await;
        received.ok_or(RouterError::StillRunning(*wait_timeout))
    }
}

/// A future that resolves to the answer. It is owned, so it can be moved to a task.
pub(super) type AnswerFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The future returned by a [`Router`]'s call.
///
/// Poll it promptly: duplicates of the event wait for it.
///
/// Handlers that have started are not canceled if the future is dropped, for example because the
/// client disconnects: at the first poll that is not ready, they are moved to a tokio task.
#[must_use = "no handler runs until the future is polled"]
pub struct ReportFuture(State);

enum State {
    /// The answer is available.
    Ready(Answer),
    /// The handlers have not started. The first poll runs them in place: most are ready at once,
    /// and spawning a task would cost more than they do.
    NotStarted(AnswerFuture),
    /// The handlers were not ready at the first poll and run in a task.
    Spawned(JoinHandle<Answer>),
    /// Another call runs the handlers.
    Waiting(AnswerFuture),
    Completed,
}

impl ReportFuture {
    pub(super) fn ready(answer: Answer) -> Self {
        Self(State::Ready(answer))
    }

    /// Runs the handlers when polled.
    pub(super) fn run(answer: AnswerFuture) -> Self {
        Self(State::NotStarted(answer))
    }

    /// Waits for the answer of another call.
    pub(super) fn wait(answer: AnswerFuture) -> Self {
        Self(State::Waiting(answer))
    }
}

impl Future for ReportFuture {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let state = match std::mem::replace(&mut self.0, State::Completed) {
            State::Ready(answer) => return Poll::Ready(answer),
            State::NotStarted(mut future) => match future.as_mut().poll(context) {
                Poll::Ready(answer) => return Poll::Ready(answer),
                Poll::Pending => State::Spawned(tokio::spawn(future)),
            },
            state => state,
        };
        self.0 = state;
        match &mut self.0 {
            // A join error means that the runtime was shut down: the task is never aborted, and
            // panics of handlers are caught.
            State::Spawned(task) => {
                let joined = Pin::new(task).poll(context);
                joined.map(|answer| answer.unwrap_or(Err(RouterError::RuntimeShutDown)))
            }
            State::Waiting(future) => future.as_mut().poll(context),
            _ => panic!("`ReportFuture` polled after completion"),
        }
    }
}

impl fmt::Debug for ReportFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportFuture").finish_non_exhaustive()
    }
}
