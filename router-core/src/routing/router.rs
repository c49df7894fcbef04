//! The router: a tower `Service<Event>`.

use std::{
    collections::HashSet,
    fmt,
    future::{Future, ready},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio_util::task::TaskTracker;
use tower_service::Service;
use tracing::Instrument as _;

use super::{
    detach::detached,
    dispatch::{Dispatch, RegisteredHandler},
    table::Table,
};
use crate::{
    build::{Explanation, RouterBuilder, Routes, StartupReport},
    clock::Clock,
    event::Event,
    extract::States,
    handler::Report,
};

/// Finds the handlers of an event and runs them. Cheap to clone; clones are one router.
///
/// As a tower service it takes an [`Event`] and answers with a [`Report`]: what its handlers do,
/// failing included, is an answer, and only a router that is [closed](Router::close) is an error.
/// It is always ready; put a layer around it to limit what runs at once.
///
/// The handlers of one event run one after the other, by `order` and then by stable name, so that the
/// linker cannot change the order; events run side by side. Whoever drops the future of a call does
/// not stop handlers that have begun: they go on in a task of tokio's, so calls are made inside a
/// tokio runtime.
#[derive(Debug, Clone)]
pub struct Router(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Parts,
    running: TaskTracker,
    unhandled: Mutex<HashSet<Box<str>>>,
}

/// What `build()` makes a router of.
pub(crate) struct Parts {
    pub(crate) table: Table,
    /// In the order in which they run; the table has their numbers.
    pub(crate) handlers: Vec<RegisteredHandler>,
    /// For what none of them is for.
    pub(crate) unhandled: Option<RegisteredHandler>,
    pub(crate) states: States,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) routes: Routes,
    pub(crate) report: StartupReport,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("handlers", &self.handlers).finish_non_exhaustive()
    }
}

/// How many unhandled event types are remembered as already logged. Stripe has some 600.
const MAX_UNHANDLED: usize = 4096;

impl Router {
    /// Begins a router with every handler that `#[on_event]` registered in a linked crate.
    pub fn builder() -> RouterBuilder {
        RouterBuilder::linked()
    }

    pub(crate) fn new(parts: Parts) -> Self {
        let (running, unhandled) = (TaskTracker::new(), Mutex::default());
        Self(Arc::new(Inner { parts, running, unhandled }))
    }

    /// What is routed where. Its `Display` is a table that is the same in every build, fit for a
    /// snapshot test.
    #[must_use]
    pub fn routes(&self) -> &Routes {
        &self.0.parts.routes
    }

    /// The event types to enable for the webhook endpoint at Stripe, sorted: those that handlers
    /// name, and those that Stripe is known to send of each `prefix.*`. A `*` stands as it is;
    /// Stripe takes it too.
    #[must_use]
    pub fn event_types(&self) -> Vec<String> {
        self.0.parts.routes.event_types()
    }

    /// Which handlers would run for an event type, in order, and why others would not.
    #[must_use]
    pub fn explain(&self, event_type: &str) -> Explanation {
        Explanation::new(event_type, &self.0.parts.routes)
    }

    /// What is in the router, and what about it is doubtful. `build()` has logged it.
    #[must_use]
    pub fn startup_report(&self) -> &StartupReport {
        &self.0.parts.report
    }

    /// Takes no more events: from now on a call is the error [`Closed`]. Events that run go on.
    pub fn close(&self) {
        self.0.running.close();
    }

    /// Waits until the router is [closed](Router::close) and no handler runs any more.
    pub async fn drained(&self) {
        self.0.running.wait().await;
    }
}

impl Service<Event> for Router {
    type Response = Report;
    type Error = Closed;
    type Future = Pin<Box<dyn Future<Output = Result<Report, Closed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: Event) -> Self::Future {
        // First the token, then the question: a router that is closed in between waits for us.
        let token = self.0.running.token();
        if self.0.running.is_closed() {
            return Box::pin(ready(Err(Closed)));
        }
        let router = self.0.clone();
        let span = tracing::info_span!("event", id = event.id(), r#type = event.event_type());
        let run = async move {
            let report = router.run(event).await;
            drop(token);
            report
        };
        let run = detached(Box::pin(run.instrument(span)));
        Box::pin(async move { run.await.ok_or(Closed) })
    }
}

impl Inner {
    async fn run(&self, event: Event) -> Report {
        let Parts { table, handlers, unhandled, states, clock, .. } = &self.parts;
        let dispatch = Dispatch { states, clock: &**clock };
        let numbers = table.handlers_of(event.event_type());
        let wanted = numbers.iter().map(|number| &handlers[*number]);
        let reports = dispatch.run(wanted.filter(|handler| handler.wants(&event)), &event).await;
        if reports.is_empty() {
            self.log_unhandled(&event);
            if let Some(handler) = unhandled {
                dispatch.run_unhandled(handler, &event).await;
            }
        }
        Report::new(event, reports)
    }

    /// Once per event type at INFO, so that an endpoint which gets every event of an account does
    /// not drown what matters.
    fn log_unhandled(&self, event: &Event) {
        let event_type = event.event_type();
        let mut logged = self.unhandled.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() < MAX_UNHANDLED && logged.insert(event_type.into()) {
            let known = router_catalog::lookup(event_type).is_some();
            tracing::info!(
                event.r#type = event_type,
                known,
                "no handler for this event type; said once per type"
            );
        } else {
            tracing::debug!("no handler for this event type");
        }
    }
}

/// The router was closed: this process is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the router is closed: this process is shutting down")]
pub struct Closed;
