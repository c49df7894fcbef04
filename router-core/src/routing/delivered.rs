//! The router of a service that keeps deliveries: it says which handlers an event is for, and runs one.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tower_service::Service;
use tracing::Instrument as _;

use super::{
    RouterError, dispatch::RegisteredHandler, handlers::Handlers, unhandled::UnhandledTypes,
};
use crate::{
    build::{Explanation, Routes, StartupReport},
    event::Event,
    extract::{ProvidedType, Provisions},
    handler::{HandlerReport, Outcome, RetryPolicy},
    telemetry,
};

/// The handlers of a program, for a service that keeps events and delivers each to one handler at a time, such
/// as an inbox: [`RouterBuilder::delivered_by`](crate::RouterBuilder::delivered_by) makes it. Cheap to
/// clone; clones are one router.
///
/// [`plan`](Self::plan) says for which handlers an event is; as a tower service it takes a [`Delivery`] and
/// answers with what its one handler made of it. It remembers nothing and tries nothing again: that is for
/// whoever delivers. It is no service of events, so that it cannot be put behind an endpoint by mistake.
#[derive(Debug, Clone)]
pub struct DeliveryRouter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    handlers: Handlers,
    /// What each delivery must bring.
    provided: Vec<ProvidedType>,
    policies: Vec<HandlerSpec>,
    /// The numbers of the handlers, by the names that they have and had.
    by_name: HashMap<Arc<str>, usize>,
    unhandled: UnhandledTypes,
    closed: AtomicBool,
}

/// One event for one handler.
#[derive(Debug)]
pub struct Delivery {
    event: Event,
    handler: Arc<str>,
    attempt: u32,
    provisions: Provisions,
}

/// A handler, and how its deliveries are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerSpec {
    /// Its stable name.
    pub name: Arc<str>,
    /// The name that it had before. Deliveries that are kept under it are for this handler.
    pub formerly: Option<&'static str>,
    /// Whether it is given the events of one object one after the other, the oldest first.
    pub ordered: bool,
    /// How often it is tried, and when.
    pub retry: RetryPolicy,
    /// How many of its deliveries may be run at once, if not as many as there are.
    pub concurrency: Option<u32>,
    /// How long one run may take.
    pub timeout: Duration,
}

impl DeliveryRouter {
    pub(crate) fn new(handlers: Handlers, provided: Vec<ProvidedType>) -> Self {
        let policies: Vec<_> = handlers.list.iter().map(HandlerSpec::of).collect();
        let names = policies.iter().zip(0..).flat_map(|(handler, number)| {
            let former = handler.formerly.map(Arc::from);
            former.into_iter().chain([handler.name.clone()]).map(move |name| (name, number))
        });
        let by_name = names.collect();
        let (unhandled, closed) = (UnhandledTypes::default(), AtomicBool::new(false));
        Self(Arc::new(Inner { handlers, provided, policies, by_name, unhandled, closed }))
    }

    /// The handlers that this event is for, in their order; none, if it is unhandled.
    pub fn plan<'r>(&'r self, event: &'r Event) -> impl Iterator<Item = &'r HandlerSpec> {
        self.0.handlers.wanted(event).map(|number| &self.0.policies[number])
    }

    /// Logs that no handler is for this event, once for each event type, and counts it, as a
    /// [`Router`](crate::Router) does. For whoever [plans](Self::plan), since planning says nothing.
    pub fn log_unhandled(&self, event: &Event) {
        self.0.unhandled.log(event);
    }

    /// Every handler, in order.
    #[must_use]
    pub fn handlers(&self) -> &[HandlerSpec] {
        &self.0.policies
    }

    /// The handler of this stable name, or that had it before.
    #[must_use]
    pub fn handler(&self, name: &str) -> Option<&HandlerSpec> {
        self.0.by_name.get(name).map(|number| &self.0.policies[*number])
    }

    /// What is routed where, as [`Router::routes`](crate::Router::routes).
    #[must_use]
    pub fn routes(&self) -> &Routes {
        &self.0.handlers.routes
    }

    /// The event types to enable at Stripe, as [`Router::event_types`](crate::Router::event_types).
    #[must_use]
    pub fn event_types(&self) -> Vec<String> {
        self.routes().event_types()
    }

    /// Which handlers an event type has, and why not others.
    #[must_use]
    pub fn explain(&self, event_type: &str) -> Explanation {
        Explanation::new(event_type, self.routes())
    }

    /// What is in the router, and what about it is doubtful. `build()` has logged it.
    #[must_use]
    pub fn startup_report(&self) -> &StartupReport {
        &self.0.handlers.report
    }

    /// Takes no more deliveries: from now on a call is the error [`RouterError::Closed`].
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }

    async fn run(self, delivery: Delivery) -> Result<HandlerReport, RouterError> {
        if self.0.closed.load(Ordering::Relaxed) {
            return Err(RouterError::Closed);
        }
        let Delivery { event, handler: name, attempt, provisions } = delivery;
        let number = self.0.by_name.get(&name).copied();
        let number = number.ok_or_else(|| RouterError::NoSuchHandler(name.clone()))?;
        if let Some(missing) = self.0.provided.iter().find(|one| !provisions.has(**one)) {
            return Err(RouterError::NotProvided(missing.type_name));
        }
        let handlers = &self.0.handlers;
        let handler = &handlers.list[number];
        let is_for_it = handlers.wanted(&event).any(|wanted| wanted == number);
        let begun = handlers.clock.monotonic();
        let result = match is_for_it {
            true => match handlers.call(handler, &name, &event, provisions).await {
                (result, None) => result,
                // Nobody can stop a thread. Until it returns the delivery is not over, and what it returns
                // then counts.
                (Err(late), Some(call)) => call.end().await.map_err(|_| late),
                (result, Some(_)) => result,
            },
            false => Ok(Outcome::ignored("the handler is no longer registered for such an event")),
        };
        let duration = Some(handlers.clock.monotonic() - begun);
        let report = HandlerReport { name, result, attempts: attempt, duration, reply: None };
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

    /// Whoever drops the future stops the handler where it waits.
    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let event = telemetry::event_span(&delivery.event);
        let handler =
            event.in_scope(|| telemetry::handler_span(&delivery.handler, delivery.attempt));
        Box::pin(self.clone().run(delivery).instrument(handler))
    }
}

impl Delivery {
    /// This event for the handler of this stable name; `attempt` counts from 1.
    #[must_use]
    pub fn new(event: Event, handler: impl Into<Arc<str>>, attempt: u32) -> Self {
        Self { event, handler: handler.into(), attempt, provisions: Provisions::default() }
    }

    /// Gives the call something that handlers can take as a [`PerDelivery<T>`](crate::PerDelivery).
    #[must_use]
    pub fn provide<T: Send + 'static>(mut self, thing: T) -> Self {
        self.provisions.insert(thing);
        self
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The stable name of the handler that it is for, or one that it had before.
    #[must_use]
    pub fn handler(&self) -> &str {
        &self.handler
    }

    /// How often the handler was called for this event, this call included.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

impl HandlerSpec {
    fn of(handler: &RegisteredHandler) -> Self {
        let (keys, default) = (handler.delivered, RetryPolicy::default());
        let initial_backoff = keys.backoff.unwrap_or(default.initial_backoff);
        Self {
            name: handler.name.clone(),
            formerly: handler.formerly,
            ordered: keys.ordered,
            retry: RetryPolicy {
                max_attempts: keys.attempts.unwrap_or(default.max_attempts),
                initial_backoff,
                max_backoff: keys.max_backoff.unwrap_or(default.max_backoff).max(initial_backoff),
            },
            concurrency: keys.concurrency,
            timeout: handler.timeout,
        }
    }
}
