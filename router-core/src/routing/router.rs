//! The router: a tower `Service<Event>`.

use std::{
    fmt,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::oneshot::{self, error::RecvError};
use tower_service::Service;
use tracing::Instrument as _;

use super::{
    ReportFuture, RouterError,
    dispatch::RegisteredHandler,
    handlers::Handlers,
    in_flight::{Claim, InFlight},
    run::Run,
};
use crate::{
    build::{Explanation, RouterBuilder, Routes, StartupReport},
    clock::within,
    completions::CompletionBackend,
    dead_letters::DeadLetters,
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
/// according to its [`CompletionStore`](crate::CompletionStore), and those that failed it
/// permanently: Stripe does not redeliver such an event, so a person has sent it again. As long as
/// another handler needs a retry, Stripe does redeliver it, and a dead letter does not start over.
/// A duplicate of an event in flight waits for that event and gets the same report.
#[derive(Debug, Clone)]
pub struct Router(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) parts: Parts,
    pub(super) in_flight: InFlight,
}

/// The parts from which `build()` creates a router.
pub(crate) struct Parts {
    pub(crate) handlers: Handlers,
    /// The handler for unhandled events.
    pub(crate) unhandled: Option<RegisteredHandler>,
    pub(crate) completions: CompletionBackend,
    /// The dead-letter sink, in addition to the log.
    pub(crate) dead_letters: Option<Arc<dyn DeadLetters>>,
    /// The maximum time that a duplicate waits for the event in flight, and that a call of a
    /// user-supplied completion store or dead-letter sink may take.
    pub(crate) wait_timeout: Duration,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("handlers", &self.handlers).finish_non_exhaustive()
    }
}

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
