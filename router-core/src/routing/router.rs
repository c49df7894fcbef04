//! The router: a tower `Service<Event>`.

use std::{
    fmt,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tower_service::Service;
use tracing::Instrument as _;

use super::{
    ReportFuture, RouterError,
    dispatch::RegisteredHandler,
    handlers::Handlers,
    in_flight::{Claim, InFlight},
    run::Run,
    unhandled::UnhandledTypes,
};
use crate::{
    build::{Explanation, RouterBuilder, Routes, StartupReport},
    clock::within,
    completions::Remembered,
    dead_letters::DeadLetters,
    event::Event,
    handler::Report,
    telemetry,
};

/// Finds the handlers of an event and runs them. Cheap to clone; clones are one router.
///
/// As a tower service it takes an [`Event`] and answers with a [`Report`]: what its handlers do,
/// failing included, is an answer; [`RouterError`] is for events that it has not taken.
/// It is always ready; put a layer around it to limit what runs at once.
///
/// The handlers of one event run one after the other, by `order` and then by stable name, so that the
/// linker cannot change the order; events run side by side. Whoever drops the future of a call does
/// not stop handlers that have begun: they go on in a task of tokio's, so calls are made inside a
/// tokio runtime.
///
/// An event that is delivered again runs only the handlers that have not finished it, as far as its
/// [`CompletionStore`](crate::CompletionStore) remember; one that is delivered while it is being handled waits for that and gets
/// the same report.
#[derive(Debug, Clone)]
pub struct Router(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) parts: Parts,
    pub(super) in_flight: InFlight,
    pub(super) unhandled: UnhandledTypes,
}

/// What `build()` makes a router of.
pub(crate) struct Parts {
    pub(crate) handlers: Handlers,
    /// For what none of them is for.
    pub(crate) unhandled: Option<RegisteredHandler>,
    pub(crate) completions: Remembered,
    /// None: the log is enough.
    pub(crate) dead_letters: Option<Arc<dyn DeadLetters>>,
    /// How long a duplicate waits for the first, and a run for what is remembered.
    pub(crate) wait: Duration,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("handlers", &self.handlers).finish_non_exhaustive()
    }
}

impl Router {
    /// Begins a router with every handler that `#[on_event]` registered in a linked crate.
    pub fn builder() -> RouterBuilder {
        RouterBuilder::linked()
    }

    pub(crate) fn new(parts: Parts) -> Self {
        if let Some(handler) = &parts.unhandled {
            telemetry::begin_counting(&handler.name);
        }
        Self(Arc::new(Inner {
            parts,
            in_flight: InFlight::new(),
            unhandled: UnhandledTypes::default(),
        }))
    }

    /// What is routed where. Its `Display` is a table that is the same in every build, fit for a
    /// snapshot test.
    #[must_use]
    pub fn routes(&self) -> &Routes {
        &self.0.parts.handlers.routes
    }

    /// The event types to enable for the webhook endpoint at Stripe, sorted: those that handlers
    /// name, and those that Stripe is known to send of each `prefix.*`. A `*` stands as it is;
    /// Stripe takes it too.
    #[must_use]
    pub fn event_types(&self) -> Vec<String> {
        self.0.parts.handlers.routes.event_types()
    }

    /// Which handlers would run for an event type, in order, and why others would not.
    #[must_use]
    pub fn explain(&self, event_type: &str) -> Explanation {
        Explanation::new(event_type, &self.0.parts.handlers.routes)
    }

    /// What is in the router, and what about it is doubtful. `build()` has logged it.
    #[must_use]
    pub fn startup_report(&self) -> &StartupReport {
        &self.0.parts.handlers.report
    }

    /// Takes no more events: from now on a call is the error [`RouterError::Closed`]. Events that run go on.
    pub fn close(&self) {
        self.0.in_flight.close();
    }

    /// Waits until the router is [closed](Router::close) and no handler runs any more.
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
        match self.in_flight.claim(&key) {
            Claim::Closed => ReportFuture::answered(Err(RouterError::Closed)),
            Claim::Mine => {
                let run = Run { router: self.clone(), event, key };
                ReportFuture::run(Box::pin(run.answer().in_current_span()))
            }
            Claim::Answered(answer) => {
                telemetry::duplicate_in_flight();
                ReportFuture::answered(answer)
            }
            Claim::Theirs(answer) => {
                telemetry::duplicate_in_flight();
                tracing::debug!(
                    "the event is being handled already; this delivery gets the same answer"
                );
                let router = self.clone();
                let answer = async move {
                    let Parts { wait, handlers, .. } = &router.parts;
                    match within(*wait, &*handlers.clock, pin!(answer)).await {
                        Some(answer) => answer.unwrap_or(Err(RouterError::CutOff)),
                        None => Err(RouterError::StillRunning(*wait)),
                    }
                };
                ReportFuture::wait(Box::pin(answer))
            }
        }
    }
}
