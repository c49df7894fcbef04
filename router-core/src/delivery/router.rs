//! The router for a service that stores deliveries. It lists the handlers of an event, and runs the
//! handler of a delivery.

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tower_service::Service;
use tracing::{Instrument as _, Span};

use super::{HandlerSpec, PerDeliveryValues, ProvidedType, RetryPolicy, TimeoutPause};
use crate::{
    build::{Explanation, Routes, StartupReport},
    event::Event,
    extract::Attempt,
    handler::{HandlerReport, Outcome},
    routing::{Handlers, ReportFuture, Router, RouterError},
    telemetry,
};

/// A router for a service that stores events and makes one delivery for each handler of an event,
/// such as an inbox. Created by
/// [`RouterBuilder::delivered_by`](crate::build::RouterBuilder::delivered_by).
///
/// A `DeliveryRouter` is cheap to clone, and its clones share all state. [`plan`](Self::plan)
/// returns the handlers of an event. As a tower service, the router takes a [`Delivery`], runs its
/// handler, and returns the [`HandlerReport`]. It records nothing and retries nothing, which is up
/// to the delivery service. A handler whose [reply](Self::reply) Stripe waits for is not delivered.
/// The router is not a service of [`Event`]s, so it cannot be put behind an
/// endpoint by mistake.
#[derive(Debug, Clone)]
pub struct DeliveryRouter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    handlers: Handlers,
    /// The router of the handlers that reply, if there are any.
    replies: Option<Router>,
    /// The types that every delivery must provide.
    provided: Vec<ProvidedType>,
    /// The names given to `RouterBuilder::endpoints`, if it was called.
    endpoints: Option<BTreeSet<String>>,
    /// The handlers' settings, in the order of `handlers.list`.
    specs: Vec<HandlerSpec>,
    /// The indices of the handlers, by current and former stable names.
    by_name: HashMap<Arc<str>, usize>,
    closed: AtomicBool,
}

/// A delivery of an event to a handler.
#[derive(Debug)]
pub struct Delivery {
    event: Event,
    handler: Arc<str>,
    attempt: u32,
    span: Span,
    per_delivery: PerDeliveryValues,
}

impl DeliveryRouter {
    pub(crate) fn new(
        handlers: Handlers,
        replies: Option<Router>,
        provided: Vec<ProvidedType>,
        endpoints: Option<BTreeSet<String>>,
        default_retry: &RetryPolicy,
    ) -> Self {
        let spec = |handler| HandlerSpec::new(handler, default_retry);
        let specs: Vec<_> = handlers.list.iter().map(spec).collect();
        let names = specs.iter().zip(0..).flat_map(|(handler, index)| {
            let former = handler.formerly.map(Arc::from);
            former.into_iter().chain([handler.name.clone()]).map(move |name| (name, index))
        });
        let by_name = names.collect();
        let closed = AtomicBool::new(false);
        Self(Arc::new(Inner { handlers, replies, provided, endpoints, specs, by_name, closed }))
    }

    /// Runs the handler that [replies](crate::Reply) to this event. Returns `None` if there is
    /// none.
    ///
    /// Such a handler is not delivered. The caller waits for its reply, then stores the event for
    /// the handlers of the [plan](Self::plan), and then answers Stripe with the report. A failure
    /// must not keep the event from being stored: Stripe may not send it again.
    ///
    /// The handler runs as in an inline [`Router`] with `InMemoryCompletions`. It has a deadline
    /// and a default reply, and goes on if the future is dropped. A duplicate that arrives in the
    /// same process gets the same reply.
    pub fn reply(&self, event: &Event) -> Option<ReportFuture> {
        let replies = self.0.replies.as_ref()?;
        replies.handlers().matching(event).next()?;
        Some(replies.clone().call(event.clone()))
    }

    /// Returns the handlers of this event, in order, without one that [replies](Self::reply).
    pub fn plan<'r>(&'r self, event: &'r Event) -> impl Iterator<Item = &'r HandlerSpec> {
        self.0.handlers.matching(event).map(|index| &self.0.specs[index])
    }

    /// Logs and counts an unhandled event, and logs the handlers whose `endpoint` or `livemode`
    /// excludes the event, as a [`Router`] does. An event with a handler that replies is handled.
    ///
    /// [`plan`](Self::plan) logs nothing, so call this once for each event received.
    pub fn log_unmatched(&self, event: &Event) {
        let replying = self.0.replies.as_ref().map(Router::handlers);
        self.0.handlers.log_unmatched(replying, event);
    }

    /// Returns all handlers, in order, without those that [reply](Self::reply).
    #[must_use]
    pub fn handlers(&self) -> &[HandlerSpec] {
        &self.0.specs
    }

    /// Returns the handler with this stable name, current or former. A handler that
    /// [replies](Self::reply) is not found.
    #[must_use]
    pub fn handler(&self, name: &str) -> Option<&HandlerSpec> {
        self.0.by_name.get(name).map(|index| &self.0.specs[*index])
    }

    /// Returns the names given to [`RouterBuilder::endpoints`], sorted. `None` if it was not
    /// called: the router then takes events of any endpoint.
    ///
    /// [`RouterBuilder::endpoints`]: crate::build::RouterBuilder::endpoints
    #[must_use]
    pub fn endpoints(&self) -> Option<&BTreeSet<String>> {
        self.0.endpoints.as_ref()
    }

    /// Returns the routes. See [`Router::routes`].
    #[must_use]
    pub fn routes(&self) -> &Routes {
        &self.0.handlers.routes
    }

    /// Returns the event types to enable at Stripe. See [`Router::event_types`].
    #[must_use]
    pub fn event_types(&self) -> Vec<String> {
        self.routes().event_types()
    }

    /// Explains which handlers would run for an event type, and why others would not.
    #[must_use]
    pub fn explain(&self, event_type: &str) -> Explanation {
        Explanation::new(event_type, self.routes())
    }

    /// Returns the start-up report, with the router's warnings. `build()` has logged it.
    #[must_use]
    pub fn startup_report(&self) -> &StartupReport {
        &self.0.handlers.report
    }

    /// Closes the router: later calls and replies fail with [`RouterError::Closed`].
    pub fn close(&self) {
        if let Some(replies) = &self.0.replies {
            replies.close();
        }
        self.0.closed.store(true, Ordering::Relaxed);
    }

    async fn run(self, delivery: Delivery) -> Result<HandlerReport, RouterError> {
        if self.0.closed.load(Ordering::Relaxed) {
            return Err(RouterError::Closed);
        }
        let Delivery { event, handler: name, attempt: number, per_delivery, .. } = delivery;
        let Some(index) = self.0.by_name.get(&name).copied() else {
            return Err(RouterError::NoSuchHandler(name));
        };
        if let Some(missing) = self.0.provided.iter().find(|provided| !per_delivery.has(**provided))
        {
            return Err(RouterError::NotProvided(missing.type_name));
        }
        let handlers = &self.0.handlers;
        let handler = &handlers.list[index];
        let is_registered = handlers.matching(&event).any(|matching| matching == index);
        let started = handlers.clock.monotonic();
        let attempt = Attempt::new(number, Some(self.0.specs[index].retry.max_attempts));
        let result = match is_registered {
            true => match handlers.call(handler, &name, &event, attempt, per_delivery).await {
                (result, None) => result,
                // A blocking handler that timed out cannot be canceled. The delivery lasts until it
                // returns, and a late success counts.
                (Err(timeout), Some(call)) => call.wait().await.map_err(|_| timeout),
                (result, Some(_)) => result,
            },
            false => Ok(Outcome::ignored("the handler is no longer registered for this event")),
        };
        let duration = Some(handlers.clock.monotonic() - started);
        let report = HandlerReport { name, result, attempts: number, duration, reply: None };
        handler.metrics.handled(&report);
        Ok(report)
    }
}

impl Service<Delivery> for DeliveryRouter {
    type Response = HandlerReport;
    type Error = RouterError;
    type Future = Pin<Box<dyn Future<Output = Result<HandlerReport, RouterError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RouterError>> {
        Poll::Ready(Ok(()))
    }

    /// Runs the handler of the delivery.
    ///
    /// Dropping the future cancels an async handler at its current await point. A blocking handler
    /// cannot be canceled.
    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let handler_span =
            delivery.span.in_scope(|| telemetry::handler_span(&delivery.handler, delivery.attempt));
        Box::pin(self.clone().run(delivery).instrument(handler_span))
    }
}

impl Delivery {
    /// Creates a delivery of an event to the handler with this stable name, current or former.
    ///
    /// `attempt` is the number of the attempt, from 1.
    #[must_use]
    pub fn new(event: Event, handler: impl Into<Arc<str>>, attempt: u32) -> Self {
        let span = telemetry::event_span(&event);
        let per_delivery = PerDeliveryValues::default();
        Self { event, handler: handler.into(), attempt, span, per_delivery }
    }

    /// Adds a value that the handler can take as a [`PerDelivery<T>`](crate::extract::PerDelivery).
    #[must_use]
    pub fn provide<T: Send + 'static>(mut self, value: T) -> Self {
        self.per_delivery.insert(value);
        self
    }

    /// Returns the pause of the handler's timeout. A delivery service uses it while the handler
    /// waits for the service.
    #[must_use]
    pub fn timeout_pause(&mut self) -> TimeoutPause {
        self.per_delivery.timeout_pause.get_or_insert_default().clone()
    }

    /// Returns the event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Returns the handler's stable name, current or former.
    #[must_use]
    pub fn handler(&self) -> &str {
        &self.handler
    }

    /// Returns the span `event`, in which the handler runs. It was created with the delivery.
    ///
    /// A delivery service can link it to the span in which it received the event.
    #[must_use]
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Returns the number of this attempt, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}
