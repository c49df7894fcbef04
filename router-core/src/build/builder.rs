//! The builder of a router.

mod delivery;

use std::{panic::Location, sync::Arc, time::Duration};

pub use self::delivery::DeliveryRouterBuilder;
use super::{
    BuildError, Plugin,
    candidate::{Candidate, Source},
    check::check,
    config::Configuration,
    registry::{self, Registered},
    report::StartupReport,
    routes::Routes,
};
#[cfg(doc)]
use crate::delivery::DeliveryRouter;
use crate::{
    clock::{Clock, SystemClock},
    completions::{CompletionBackend, CompletionStore, InMemoryCompletions},
    dead_letters::DeadLetters,
    delivery::DeliveryService,
    handler::IntoHandler,
    routing::{Handlers, Parts, RegisteredHandler, Router, Table},
    telemetry,
};

/// Configures and builds a [`Router`]. [`build`](RouterBuilder::build) reports all mistakes at
/// once.
#[must_use = "a router builder does nothing until `.build()` is called"]
pub struct RouterBuilder {
    config: Configuration,
    /// `true` after the first call of `only`, which leaves out all linked handlers.
    only_called: bool,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

/// The handlers of a router.
struct BuiltHandlers {
    handlers: Handlers,
    /// The handler for unhandled events.
    unhandled: Option<RegisteredHandler>,
    /// The handlers that reply, if a delivery service delivers the others.
    replying: Option<Handlers>,
}

fn in_memory_completions(clock: Arc<dyn Clock>) -> CompletionBackend {
    CompletionBackend::new(InMemoryCompletions::new().shared_clock(clock))
}

impl RouterBuilder {
    pub(crate) fn from_registry() -> Self {
        Self {
            config: Configuration {
                candidates: registry::linked().map(Candidate::from_registration).collect(),
                ..Configuration::default()
            },
            only_called: false,
            timeout: Duration::from_secs(20),
            clock: Arc::new(SystemClock),
        }
    }

    /// Leaves out all handlers that were registered with `#[on_event]` or `#[on_unhandled]`.
    ///
    /// Handlers registered by hand remain. Later calls of [`add`](RouterBuilder::add) bring back
    /// single handlers.
    pub fn without_linked(mut self) -> Self {
        self.leave_out(|_| true);
        self
    }

    /// Leaves out every linked handler except this one. Further calls add more handlers.
    ///
    /// Use it to test a single handler, or to run some of the handlers in a process of their own.
    ///
    /// ```standalone_crate
    /// # use router_core::{Event, Router, on_event};
    /// #[on_event("invoice.paid")]
    /// async fn fulfil(_: Event) {}
    ///
    /// # fn main() -> Result<(), router_core::build::BuildError> {
    /// let router = Router::builder().only::<fulfil>().build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn only<H: Registered>(mut self) -> Self {
        if !self.only_called {
            self.only_called = true;
            self = self.without_linked();
        }
        self.add::<H>()
    }

    /// Leaves out this handler. The start-up report lists the handlers that were left out.
    pub fn without<H: Registered>(mut self) -> Self {
        let source = Source::new(&H::REGISTRATION);
        self.leave_out(|other| other == source);
        self
    }

    /// Leaves out all handlers of a linked crate, for example in a program that cannot provide
    /// their transaction. Do not list the crate in [`plugins`](Self::plugins).
    ///
    /// ```standalone_crate
    /// # use router_core::{Event, Router, on_event};
    /// router_core::plugin!(); // In another crate, this is `shop::PLUGIN`.
    ///
    /// #[on_event("invoice.paid")]
    /// async fn fulfil(_: Event) {}
    ///
    /// # fn main() -> Result<(), router_core::build::BuildError> {
    /// # let audit = async |_: Event| {};
    /// let router = Router::builder().without_plugin(PLUGIN).handler("audit", ["*"], audit);
    /// assert_eq!(router.build()?.event_types(), ["*"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn without_plugin(mut self, plugin: Plugin) -> Self {
        self.leave_out(|other| other.plugin == plugin);
        self
    }

    /// Adds a handler that was left out, as in `.without_linked().add::<fulfil>()`.
    pub fn add<H: Registered>(mut self) -> Self {
        let source = Source::new(&H::REGISTRATION);
        let is_wanted = |candidate: &Candidate| candidate.source == Some(source);
        // Adds both copies of a handler that is registered twice, so that `check` reports them.
        self.config
            .candidates
            .extend(self.config.left_out.extract_if(.., |candidate| is_wanted(candidate)));
        // Fall back to the registration itself on platforms without a link-time registry.
        if !self.config.candidates.iter().any(is_wanted) {
            self.config.candidates.push(Candidate::from_registration(&H::REGISTRATION));
        }
        self
    }

    /// Lists every crate that has handlers, including the application's own.
    ///
    /// `build()` then fails if a listed crate has no handlers, or if a crate with handlers is not
    /// listed.
    ///
    /// ```
    /// use router_core::{Event, Router, on_event};
    ///
    /// router_core::plugin!(); // defines `PLUGIN`
    ///
    /// #[on_event("invoice.paid")]
    /// async fn paid(event: Event) {
    ///     println!("{}", event.id());
    /// }
    ///
    /// let router = Router::builder().plugins([PLUGIN]).build()?;
    /// # Ok::<(), router_core::build::BuildError>(())
    /// ```
    pub fn plugins(mut self, plugins: impl IntoIterator<Item = Plugin>) -> Self {
        self.config.plugins.get_or_insert_default().extend(plugins);
        self
    }

    /// Makes `build()` fail if one of these event types has no handler.
    ///
    /// A handler for `*` or an `observer` does not count, because it would hide that the intended
    /// handler is missing. For an event type that this version does not know, no wildcard counts,
    /// because the type may be misspelled.
    pub fn require<T: Into<String>>(mut self, event_types: impl IntoIterator<Item = T>) -> Self {
        self.config.required.extend(event_types.into_iter().map(Into::into));
        self
    }

    /// States the names of the endpoints whose events the router gets, so that `build()` fails if a
    /// handler's `endpoint = "…"` names none of them. Such a handler would never be called.
    ///
    /// ```
    /// # use router_core::{Endpoint, Event, Router, Secrets};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let secrets = Secrets::parse("platform=whsec_a,connect=whsec_b")?; // or `from_env`
    /// let router = Router::builder()
    ///     .endpoints(secrets.endpoints())
    /// #   .handler("audit", ["*"], async |_: Event| {})
    ///     .build()?;
    /// let endpoint = Endpoint::new(secrets, router);
    /// # let _ = endpoint;
    /// # Ok(())
    /// # }
    /// ```
    pub fn endpoints<T: AsRef<str>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        let names = names.into_iter().map(|name| name.as_ref().to_owned());
        self.config.endpoints.get_or_insert_default().extend(names);
        self
    }

    /// Limits the router to live events (`true`) or to test events (`false`). An event of the other
    /// mode is answered with 200, and no handler is called; the first one is logged. An inbox
    /// stores it as an unhandled event.
    ///
    /// It applies to every handler without a `livemode = …` of its own. A handler for the other
    /// mode makes `build()` fail. Default: the router handles both.
    ///
    /// Stripe [sends test events to a platform's live endpoint][connect] too if it is a Connect
    /// endpoint.
    ///
    /// [connect]: https://docs.stripe.com/connect/webhooks
    pub fn livemode(mut self, livemode: bool) -> Self {
        self.config.livemode = Some(livemode);
        self
    }

    /// Adds a state, which handlers take as a [`State<T>`](crate::State).
    ///
    /// Only one state of each type can be added; wrap a second one in a type of its own.
    #[track_caller]
    pub fn state<T: Send + Sync + 'static>(self, state: T) -> Self {
        self.shared_state(Arc::new(state))
    }

    /// Adds a state that is already in an `Arc`, or a trait object: handlers take an
    /// `Arc<dyn Mailer>` as a `State<dyn Mailer>`.
    #[track_caller]
    pub fn shared_state<T: ?Sized + Send + Sync + 'static>(mut self, state: Arc<T>) -> Self {
        self.config.states.add(state, Location::caller());
        self
    }

    /// Registers a handler by hand, with a stable name, and event types or wildcards as in
    /// `#[on_event]`.
    ///
    /// A function or closure takes up to eight extractors, like one with `#[on_event]`. `build()`
    /// checks that its events carry them, which the compiler checks for an annotated function. Only
    /// the compiler checks the object of a [`StripeObject`](crate::StripeObject).
    ///
    /// ```
    /// use router_core::{Event, Object, Router, State};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Invoice { amount_paid: u64 }
    ///
    /// async fn enter(invoice: Object<Invoice>, currency: State<&'static str>) {
    ///     println!("{} {}", invoice.amount_paid, *currency);
    /// }
    ///
    /// let router = Router::builder()
    ///     .state("EUR")
    ///     .handler("books.enter", ["invoice.paid"], enter)
    ///     .handler("audit", ["invoice.*"], async |event: Event| println!("{}", event.id()))
    ///     .build()?;
    /// # Ok::<(), router_core::build::BuildError>(())
    /// ```
    #[track_caller]
    pub fn handler<P: Into<String>, Arguments>(
        mut self,
        name: impl Into<String>,
        patterns: impl IntoIterator<Item = P>,
        handler: impl IntoHandler<Arguments>,
    ) -> Self {
        let patterns = patterns.into_iter().map(Into::into).collect();
        let handler = handler.into_handler();
        let candidate = Candidate::from_handler(name.into(), patterns, handler, Location::caller());
        self.config.candidates.push(candidate);
        self
    }

    /// Sets the timeout of handlers without a `timeout = "…"` of their own. Default: 20 s.
    ///
    /// A handler that replies to Stripe has a `deadline` instead.
    ///
    /// A handler that takes longer fails with a transient failure, and is dropped at its current
    /// await point unless it is `blocking`. A duplicate of an event in flight waits no longer than
    /// this, either. The same limit applies to each call of the store of
    /// [`completions`](Self::completions) and of the sink of [`dead_letters`](Self::dead_letters).
    pub fn handler_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets the store that records which handlers have finished which events, so that an event
    /// that comes again runs only the remaining handlers, and those with a dead letter.
    ///
    /// Default: an [`InMemoryCompletions`], whose contents are lost when the process ends.
    pub fn completions(mut self, completions: impl CompletionStore) -> Self {
        self.config.completions = Some(CompletionBackend::new(completions));
        self
    }

    /// Sets a sink for dead letters, in addition to the log: a [`DeadLetterFile`], or a sink of
    /// your own.
    ///
    /// ```no_run
    /// use router_core::{Event, Router, dead_letters::DeadLetterFile};
    ///
    /// let router = Router::builder()
    ///     .handler("audit", ["invoice.*"], async |event: Event| println!("{}", event.id()))
    ///     .dead_letters(DeadLetterFile::open("dead-letters.jsonl")?)
    ///     .build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`DeadLetterFile`]: crate::dead_letters::DeadLetterFile
    pub fn dead_letters(mut self, sink: impl DeadLetters) -> Self {
        self.config.dead_letters = Some(Arc::new(sink));
        self
    }

    /// Sets the clock. Default: the system clock.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Builds a router for a service that stores events and makes one delivery for each handler of
    /// an event, such as an inbox. Handlers can take what the service
    /// [provides](crate::extract::PerDelivery). A handler that [replies](crate::Reply) is not
    /// delivered: it runs [before](DeliveryRouter::reply) the event is stored.
    ///
    /// Call it after all other settings: it returns the builder of a [`DeliveryRouter`], which adds
    /// the setting [`retry`](DeliveryRouterBuilder::retry).
    ///
    /// ```standalone_crate
    /// use router_core::{
    ///     BoxError, Event, Router,
    ///     delivery::{Delivery, DeliveryService, ProvidedType},
    ///     extract::PerDelivery, on_event, testing::SyntheticEvent,
    /// };
    /// use tower_service::Service as _;
    ///
    /// struct Partition(u32);
    /// struct Queue;
    ///
    /// impl DeliveryService for Queue {
    ///     fn provides(&self) -> Vec<ProvidedType> {
    ///         vec![ProvidedType::of::<Partition>()]
    ///     }
    /// }
    ///
    /// #[on_event("invoice.paid", name = "orders.fulfil")]
    /// async fn fulfil(event: Event, partition: PerDelivery<Partition>) {
    ///     println!("{}, partition {}", event.id(), partition.0.0);
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// let mut router = Router::builder().delivered_by(&Queue).build()?;
    /// let event = SyntheticEvent::new("invoice.paid").build()?.event().clone();
    /// let planned: Vec<_> = router.plan(&event).map(|handler| handler.name.clone()).collect();
    /// for handler in planned {
    ///     let delivery = Delivery::new(event.clone(), handler, 1).provide(Partition(7));
    ///     let report = router.call(delivery).await?;
    ///     assert!(report.is_done());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn delivered_by(mut self, service: &impl DeliveryService) -> DeliveryRouterBuilder {
        self.config.provided_types = Some(service.provides());
        self.config.hint = service.hint();
        DeliveryRouterBuilder(self)
    }

    /// Builds the router, and logs its [start-up report](Router::startup_report).
    ///
    /// # Errors
    ///
    /// Fails with all problems of the router, each with a suggested fix and with the location of
    /// every handler or state concerned.
    pub fn build(mut self) -> Result<Router, BuildError> {
        self.check()?;
        let completions = self.config.completions.take();
        let completions =
            completions.unwrap_or_else(|| in_memory_completions(Arc::clone(&self.clock)));
        let (dead_letters, wait_timeout) = (self.config.dead_letters.take(), self.timeout);
        let BuiltHandlers { handlers, unhandled, .. } = self.into_handlers();
        Ok(Router::new(Parts { handlers, unhandled, completions, dead_letters, wait_timeout }))
    }

    fn check(&mut self) -> Result<(), BuildError> {
        // Sort the handlers in the order in which they run, because the linker's order differs from
        // build to build.
        self.config.candidates.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        let problems = check(&self.config);
        if problems.is_empty() { Ok(()) } else { Err(BuildError::new(problems)) }
    }

    /// Converts the checked candidates to handlers.
    ///
    /// Logs the start-up report.
    fn into_handlers(mut self) -> BuiltHandlers {
        for candidate in &mut self.config.candidates {
            let livemode = &mut candidate.settings.livemode;
            *livemode = livemode.or(self.config.livemode);
        }
        let report = StartupReport::new(&self.config);
        report.log();
        telemetry::describe();
        let has_delivery_service = self.config.has_delivery_service();
        let routes = self.config.candidates.iter().flat_map(Candidate::routes).collect();
        let (candidates, unhandled): (Vec<_>, Vec<_>) =
            self.config.candidates.into_iter().partition(|candidate| candidate.patterns.is_some());
        let (replying, candidates): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| has_delivery_service && candidate.replies);
        let into_handler =
            |candidate: Candidate| candidate.into_handler(self.timeout, has_delivery_service);
        let into_list = |candidates: Vec<Candidate>| {
            let table = Table::new(candidates.iter().zip(0..).flat_map(|(candidate, number)| {
                candidate.parsed_patterns().map(move |pattern| (pattern, number))
            }));
            (table, candidates.into_iter().map(into_handler).collect())
        };
        let (states, routes) = (self.config.states.values, Routes::new(routes));
        let (table, list) = into_list(candidates);
        let handlers =
            Handlers::new(table, list, states, self.clock, self.config.livemode, routes, report);
        let replying = (!replying.is_empty()).then(|| {
            let (table, list) = into_list(replying);
            handlers.with_list(table, list)
        });
        let unhandled = unhandled.into_iter().map(into_handler).next();
        BuiltHandlers { handlers, unhandled, replying }
    }

    /// Leaves out the linked handlers for which `condition` returns `true`.
    fn leave_out(&mut self, condition: impl Fn(Source) -> bool) {
        let removed = self
            .config
            .candidates
            .extract_if(.., |candidate| candidate.source.is_some_and(&condition));
        self.config.left_out.extend(removed);
    }
}

impl std::fmt::Debug for RouterBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouterBuilder")
            .field("candidates", &self.config.candidates)
            .field("plugins", &self.config.plugins)
            .field("required", &self.config.required)
            .finish_non_exhaustive()
    }
}
