//! Collects what a router is made of.

use std::{panic::Location, sync::Arc, time::Duration};

use super::{
    BuildError, Plugin,
    candidate::{Candidate, Source},
    check::check,
    given::Given,
    registry::{self, Registered},
    report::StartupReport,
    routes::Routes,
};
use crate::{
    clock::{Clock, SystemClock},
    completions::{CompletionStore, InMemoryCompletions, Remembered},
    dead_letters::DeadLetters,
    extract::{DeliveringService, ProvidedType},
    handler::Handler,
    routing::{DeliveryRouter, Handlers, Parts, RegisteredHandler, Router, Table},
    telemetry,
};

/// Collects what a [`Router`] is made of; [`build`](RouterBuilder::build) finds every mistake.
#[must_use = "nothing is routed before `.build()`"]
pub struct RouterBuilder {
    pub(super) candidates: Vec<Candidate>,
    pub(super) left_out: Vec<Candidate>,
    /// Whether `only` has left out what it does not name.
    narrowed: bool,
    pub(super) plugins: Option<Vec<Plugin>>,
    pub(super) required: Vec<String>,
    pub(super) given: Given,
    /// What each call is given by whoever delivers events to one handler at a time; none: the router gets whole
    /// events.
    pub(super) delivered_by: Option<Vec<ProvidedType>>,
    /// What they say to a handler that takes something else.
    pub(super) hint: Option<&'static str>,
    timeout: Duration,
    pub(super) completions: Option<Remembered>,
    pub(super) dead_letters: Option<Arc<dyn DeadLetters>>,
    clock: Arc<dyn Clock>,
}

/// Builds a [`DeliveryRouter`]; [`RouterBuilder::delivered_by`] makes it.
#[must_use = "nothing is routed before `.build()`"]
#[derive(Debug)]
pub struct DeliveryRouterBuilder(RouterBuilder);

impl DeliveryRouterBuilder {
    /// Builds the router, and logs its [start-up report](DeliveryRouter::startup_report).
    ///
    /// # Errors
    ///
    /// [`BuildError`] with everything that is wrong. Beside what can be wrong with any router: a handler that
    /// replies to Stripe, which waits for no delivery; one under `#[on_unhandled]`; `.completions(...)` and
    /// `.dead_letters(...)`, since whoever delivers remembers and keeps.
    pub fn build(self) -> Result<DeliveryRouter, BuildError> {
        let Self(mut builder) = self;
        builder.check()?;
        let provided = builder.delivered_by.clone().unwrap_or_default();
        let (handlers, _) = builder.handlers();
        Ok(DeliveryRouter::new(handlers, provided))
    }
}

impl RouterBuilder {
    pub(crate) fn linked() -> Self {
        Self {
            candidates: registry::linked().map(Candidate::linked).collect(),
            left_out: Vec::new(),
            narrowed: false,
            plugins: None,
            required: Vec::new(),
            given: Given::default(),
            delivered_by: None,
            hint: None,
            timeout: Duration::from_secs(20),
            completions: None,
            dead_letters: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// Leaves out the handlers that `#[on_event]` registered; only those remain that are
    /// [added](RouterBuilder::add) again or registered by hand.
    pub fn without_linked(mut self) -> Self {
        self.leave_out(|_| true);
        self
    }

    /// Leaves out every linked handler but this one, and others that are named so: for a test of one
    /// handler, or for a process that is there for some of them.
    ///
    /// ```standalone_crate
    /// # use router_core::{Event, Router, on_event};
    /// #[on_event("invoice.paid")]
    /// async fn fulfil(_: Event) {}
    ///
    /// # fn main() -> Result<(), router_core::BuildError> {
    /// let router = Router::builder().only::<fulfil>().build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn only<H: Registered>(mut self) -> Self {
        if !self.narrowed {
            self.narrowed = true;
            self = self.without_linked();
        }
        self.add::<H>()
    }

    /// Leaves out this handler. The start-up report names what is left out.
    pub fn without<H: Registered>(mut self) -> Self {
        let source = Source::of(&H::REGISTRATION);
        self.leave_out(|other| other == source);
        self
    }

    /// Adds a handler that was left out: `.without_linked().add::<fulfil>()`.
    pub fn add<H: Registered>(mut self) -> Self {
        let source = Source::of(&H::REGISTRATION);
        let is_it = |candidate: &Candidate| candidate.source == Some(source);
        // As it was registered: twice, if its file is in two `mod`s.
        self.candidates.extend(self.left_out.extract_if(.., |candidate| is_it(candidate)));
        // Where the linker's registry does not work, what is named here is still there.
        if !self.candidates.iter().any(is_it) {
            self.candidates.push(Candidate::linked(&H::REGISTRATION));
        }
        self
    }

    /// Lists every crate that has handlers, the application's own included: a listed crate without
    /// handlers is then a problem, and so is a crate with handlers that is not listed.
    ///
    /// ```
    /// use router_core::{Event, Router, on_event};
    ///
    /// router_core::plugin!(); // makes `PLUGIN`
    ///
    /// #[on_event("invoice.paid")]
    /// async fn paid(event: Event) {
    ///     println!("{}", event.id());
    /// }
    ///
    /// let router = Router::builder().plugins([PLUGIN]).build()?;
    /// # Ok::<(), router_core::BuildError>(())
    /// ```
    pub fn plugins(mut self, plugins: impl IntoIterator<Item = Plugin>) -> Self {
        self.plugins.get_or_insert_default().extend(plugins);
        self
    }

    /// Event types for which there must be a handler. One that is registered for `*` does not
    /// count: it would hide the loss of the one that is meant.
    pub fn require<T: Into<String>>(mut self, event_types: impl IntoIterator<Item = T>) -> Self {
        self.required.extend(event_types.into_iter().map(Into::into));
        self
    }

    /// Gives handlers something to share: they take it as a [`State<T>`](crate::State). One of each
    /// type; wrap what would be a second one in a type of its own.
    #[track_caller]
    pub fn state<T: Send + Sync + 'static>(self, state: T) -> Self {
        self.shared_state(Arc::new(state))
    }

    /// As [`state`](RouterBuilder::state), for what is shared already, and for trait objects: an
    /// `Arc<dyn Mailer>` is taken as a `State<dyn Mailer>`.
    #[track_caller]
    pub fn shared_state<T: ?Sized + Send + Sync + 'static>(mut self, state: Arc<T>) -> Self {
        self.given.add(state, Location::caller());
        self
    }

    /// Registers a handler by hand, under a stable name, for event types and wildcards as in
    /// `#[on_event]`.
    ///
    /// ```
    /// use router_core::{Event, Router};
    ///
    /// let router = Router::builder()
    ///     .handler("audit", ["invoice.*"], async |event: Event| println!("{}", event.id()))
    ///     .build()?;
    /// # Ok::<(), router_core::BuildError>(())
    /// ```
    #[track_caller]
    pub fn handler<P: Into<String>>(
        mut self,
        name: impl Into<String>,
        patterns: impl IntoIterator<Item = P>,
        handler: impl Handler,
    ) -> Self {
        let patterns = patterns.into_iter().map(Into::into).collect();
        let candidate = Candidate::by_hand(name.into(), patterns, handler, Location::caller());
        self.candidates.push(candidate);
        self
    }

    /// How long a handler may take for which no `timeout = "…"` is given; 20 s by default. One that
    /// takes longer is dropped where it waits, and that is a failure to be tried again. A delivery of an
    /// event that is being handled already waits no longer than this either.
    pub fn handler_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Where it is remembered which handlers have finished which events, so that an event which Stripe
    /// sends again runs only the others; by default a [`InMemoryCompletions`], which ends with the process.
    pub fn completions(self, completions: impl CompletionStore) -> Self {
        Self { completions: Some(Remembered::by(completions)), ..self }
    }

    /// Where an event goes that a handler has failed for good, beside the log: a [`DeadLetterFile`], or
    /// a sink of your own.
    ///
    /// ```no_run
    /// use router_core::{DeadLetterFile, Event, Router};
    ///
    /// let router = Router::builder()
    ///     .handler("audit", ["invoice.*"], async |event: Event| println!("{}", event.id()))
    ///     .dead_letters(DeadLetterFile::open("dead-letters.jsonl")?)
    ///     .build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`DeadLetterFile`]: crate::DeadLetterFile
    pub fn dead_letters(self, sink: impl DeadLetters) -> Self {
        Self { dead_letters: Some(Arc::new(sink)), ..self }
    }

    /// Where time comes from; the machine's clock by default.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// The router is for a service that keeps events and delivers each to one handler at a time, such as an
    /// inbox; its handlers can take what that [provides](crate::PerDelivery). To be called last: what it gives
    /// builds a [`DeliveryRouter`].
    ///
    /// ```standalone_crate
    /// use router_core::{
    ///     BoxError, Delivery, DeliveringService, Event, PerDelivery, ProvidedType, Router, on_event,
    ///     testing::SyntheticEvent,
    /// };
    /// use tower_service::Service as _;
    ///
    /// struct Attempt(u32);
    /// struct Queue;
    ///
    /// impl DeliveringService for Queue {
    ///     fn provides(&self) -> Vec<ProvidedType> {
    ///         vec![ProvidedType::of::<Attempt>()]
    ///     }
    /// }
    ///
    /// #[on_event("invoice.paid", name = "orders.fulfil")]
    /// async fn fulfil(event: Event, attempt: PerDelivery<Attempt>) {
    ///     println!("{}, attempt {}", event.id(), attempt.0.0);
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// let mut router = Router::builder().delivered_by(&Queue).build()?;
    /// let event = SyntheticEvent::new("invoice.paid").build()?.event().clone();
    /// let planned: Vec<_> = router.plan(&event).map(|handler| handler.name.clone()).collect();
    /// for handler in planned {
    ///     let delivery = Delivery::new(event.clone(), handler, 1).provide(Attempt(1));
    ///     let report = router.call(delivery).await?;
    ///     assert!(report.is_done());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn delivered_by(mut self, service: &impl DeliveringService) -> DeliveryRouterBuilder {
        self.delivered_by = Some(service.provides());
        self.hint = service.hint();
        DeliveryRouterBuilder(self)
    }

    /// Builds the router, and logs its [start-up report](Router::startup_report).
    ///
    /// # Errors
    ///
    /// [`BuildError`] with everything that is wrong, each with where it stands and what to do.
    pub fn build(mut self) -> Result<Router, BuildError> {
        self.check()?;
        let completions = self.completions.take().unwrap_or_else(|| {
            Remembered::by(InMemoryCompletions::new().shared_clock(Arc::clone(&self.clock)))
        });
        let (dead_letters, wait) = (self.dead_letters.take(), self.timeout);
        let (handlers, unhandled) = self.handlers();
        Ok(Router::new(Parts { handlers, unhandled, completions, dead_letters, wait }))
    }

    fn check(&mut self) -> Result<(), BuildError> {
        // The order in which handlers run: the linker's differs from build to build. The place is for
        // the problem that two of one name are, so that it reads the same in each build too.
        self.candidates.sort_by(|a, b| a.position().cmp(&b.position()));
        let problems = check(self);
        if problems.is_empty() { Ok(()) } else { Err(BuildError::new(problems)) }
    }

    /// What has been checked, as handlers; and the one for what none of them is for.
    fn handlers(self) -> (Handlers, Option<RegisteredHandler>) {
        let report = StartupReport::of(&self);
        report.log();
        telemetry::describe();
        let routes = self.candidates.iter().flat_map(Candidate::routes).collect();
        let (handlers, unhandled): (Vec<_>, Vec<_>) =
            self.candidates.into_iter().partition(|candidate| candidate.patterns.is_some());
        let table = Table::new(handlers.iter().zip(0..).flat_map(|(candidate, number)| {
            candidate.parsed_patterns().map(move |pattern| (pattern, number))
        }));
        let is_kept = self.delivered_by.is_some();
        let into_handler = |candidate: Candidate| candidate.into_handler(self.timeout, is_kept);
        let list = handlers.into_iter().map(into_handler).collect();
        let (states, routes) = (self.given.states, Routes::new(routes));
        let handlers = Handlers::new(table, list, states, self.clock, routes, report);
        (handlers, unhandled.into_iter().map(into_handler).next())
    }

    /// Takes the linked handlers away of which this is true.
    fn leave_out(&mut self, leave: impl Fn(Source) -> bool) {
        let taken =
            self.candidates.extract_if(.., |candidate| candidate.source.is_some_and(&leave));
        self.left_out.extend(taken);
    }
}

impl std::fmt::Debug for RouterBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouterBuilder")
            .field("candidates", &self.candidates)
            .field("plugins", &self.plugins)
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}
