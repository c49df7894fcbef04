//! A registered handler before validation.

use std::{panic::Location, time::Duration};

use router_catalog::Pattern;

use super::{
    Plugin,
    problem::HandlerLocation,
    registry::{Handles, Registration},
    routes::Route,
};
use crate::{
    extract::needs::{Need, NeedSource},
    handler::{Callable, HandlerSettings, ManualArgument, ManualHandler},
    routing::{LoggedExclusions, RegisteredHandler},
    telemetry::HandlerMetrics,
};

/// A handler as it was registered: its patterns, name and needs are not validated yet.
///
/// [`check`](super::check) validates it; then [`into_handler`](Self::into_handler) converts it to a
/// [`RegisteredHandler`].
#[derive(Debug)]
pub(super) struct Candidate {
    /// The stable name.
    pub(super) name: String,
    /// The event types and wildcards, unparsed. `None` for `#[on_unhandled]`.
    pub(super) patterns: Option<Vec<String>>,
    /// The annotated function. `None` for a handler added with `RouterBuilder::handler`.
    pub(super) source: Option<Source>,
    /// The file of the attribute, or of the call of `RouterBuilder::handler`.
    pub(super) file: &'static str,
    pub(super) line: u32,
    /// The resources that the handler's extractors need besides the event.
    pub(super) needs: Vec<Need>,
    /// The arguments to check, because the compiler checks only those of linked handlers.
    pub(super) arguments: Vec<ManualArgument>,
    /// The first line of the function's documentation.
    doc: &'static str,
    /// `true` if the handler returns a reply for Stripe, so Stripe waits for it.
    pub(super) replies: bool,
    pub(super) settings: HandlerSettings,
    callable: Callable,
}

/// The default `deadline` of a handler that replies.
///
/// Stripe waits 2 s for a reply, which leaves 0.5 s for the network.
const DEFAULT_DEADLINE: Duration = Duration::from_millis(1500);

/// A function annotated with `#[on_event]` or `#[on_unhandled]`. Identifies a linked handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) plugin: Plugin,
    /// The module path and the function's name.
    pub(super) path: &'static str,
    pub(super) function: &'static str,
    file: &'static str,
    line: u32,
}

impl Source {
    pub(super) fn new(registration: &Registration) -> Self {
        Self {
            plugin: Plugin::__new(registration.package, registration.version),
            path: registration.path,
            function: registration.function,
            file: registration.file,
            line: registration.line,
        }
    }
}

impl Candidate {
    /// Creates the candidate of a linked handler.
    pub(super) fn from_registration(registration: &Registration) -> Self {
        let mut needs = Vec::new();
        (registration.needs)(&mut needs);
        Self {
            name: registration.settings.name.unwrap_or(registration.path).to_owned(),
            patterns: match registration.handles {
                Handles::Patterns(patterns) => {
                    Some(patterns.iter().map(|&pattern| pattern.to_owned()).collect())
                }
                Handles::Unhandled => None,
            },
            source: Some(Source::new(registration)),
            file: registration.file,
            line: registration.line,
            needs,
            arguments: Vec::new(),
            doc: registration.doc,
            replies: registration.replies,
            settings: registration.settings,
            callable: Callable::new(registration.call),
        }
    }

    /// Creates the candidate of a handler added with `RouterBuilder::handler` at `location`.
    pub(super) fn from_handler(
        name: String,
        patterns: Vec<String>,
        handler: ManualHandler,
        location: &Location<'static>,
    ) -> Self {
        let ManualHandler { replies, needs, arguments, callable } = handler;
        Self {
            name,
            patterns: Some(patterns),
            source: None,
            file: location.file(),
            line: location.line(),
            needs,
            arguments,
            doc: "",
            replies,
            settings: HandlerSettings::DEFAULT,
            callable,
        }
    }

    /// Returns the crate that registered the handler; `None` if it was registered by hand.
    pub(super) fn plugin(&self) -> Option<Plugin> {
        self.source.map(|source| source.plugin)
    }

    /// Returns whether the router itself runs the handler, before Stripe is answered.
    pub(super) fn runs_inline(&self, has_delivery_service: bool) -> bool {
        self.replies || !has_delivery_service
    }

    /// Returns the handler's origin for the start-up report, which puts a count in front of it.
    pub(super) fn origin(&self) -> String {
        match self.plugin() {
            Some(plugin) => format!("from {} {}", plugin.package(), plugin.version()),
            None => "registered by hand".to_owned(),
        }
    }

    /// Returns whether the stable name is only the default, the function's path.
    pub(super) fn is_unnamed(&self) -> bool {
        self.source.is_some_and(|source| source.path == self.name)
    }

    /// Returns the sort key for the order in which handlers run.
    pub(super) fn sort_key(&self) -> impl Ord {
        // A handler that replies runs first, because Stripe waits for it. The location makes the
        // order of two handlers with the same name independent of the linker.
        (!self.replies, self.settings.order, &self.name, self.file, self.line)
    }

    /// Returns the valid patterns. `check` reports the invalid ones.
    pub(super) fn parsed_patterns(&self) -> impl Iterator<Item = Pattern<'_>> {
        self.patterns.iter().flatten().filter_map(|pattern| Pattern::parse(pattern).ok())
    }

    /// Returns whether one of the patterns is `*`.
    pub(super) fn is_catch_all(&self) -> bool {
        self.parsed_patterns().any(|pattern| matches!(pattern, Pattern::All))
    }

    /// Returns whether both handlers can be called for the same event.
    pub(super) fn shares_events_with(&self, other: &Self) -> bool {
        // An unset filter accepts every value, so only two different values exclude each other.
        fn differ<T: PartialEq>(ours: Option<T>, theirs: Option<T>) -> bool {
            ours.zip(theirs).is_some_and(|(ours, theirs)| ours != theirs)
        }
        let pairs = self
            .parsed_patterns()
            .flat_map(|ours| other.parsed_patterns().map(move |theirs| (ours, theirs)));
        !differ(self.settings.endpoint, other.settings.endpoint)
            && !differ(self.settings.livemode, other.settings.livemode)
            && pairs.into_iter().any(|(ours, theirs)| ours.overlaps(theirs))
    }

    pub(super) fn location(&self) -> HandlerLocation {
        HandlerLocation {
            file: self.file,
            line: self.line,
            name: self.name.clone(),
            patterns: match &self.patterns {
                Some(patterns) => patterns.join(", "),
                None => Route::UNHANDLED.to_owned(),
            },
        }
    }

    /// Returns one route per pattern.
    pub(super) fn routes(&self) -> Vec<Route> {
        let patterns = match &self.patterns {
            Some(patterns) => patterns.clone(),
            None => vec![Route::UNHANDLED.to_owned()],
        };
        let route = |pattern| Route {
            pattern,
            order: self.settings.order,
            replies: self.replies,
            handler: self.name.clone(),
            endpoint: self.settings.endpoint,
            livemode: self.settings.livemode,
            file: self.file,
            line: self.line,
            doc: self.doc,
        };
        patterns.into_iter().map(route).collect()
    }

    /// Converts the validated candidate to a handler.
    ///
    /// `has_delivery_service` is `true` if the router was built with `.delivered_by(...)`. The
    /// service then delivers the events of an `ordered` handler in order, unless the handler
    /// replies. An `ordered` handler that is not delivered is only made exclusive: it runs for one
    /// event of an object at a time.
    pub(super) fn into_handler(
        self,
        default_timeout: Duration,
        has_delivery_service: bool,
    ) -> RegisteredHandler {
        let default = if self.replies { DEFAULT_DEADLINE } else { default_timeout };
        let catch_all = self.is_catch_all();
        let runs_inline = self.runs_inline(has_delivery_service);
        let (name, mut settings) = (self.name.into(), self.settings);
        settings.exclusive |= settings.ordered.is_some() && runs_inline;
        RegisteredHandler {
            metrics: HandlerMetrics::new(&name),
            name,
            catch_all,
            logged_exclusions: LoggedExclusions::default(),
            timeout: settings.timeout.unwrap_or(default),
            replies: self.replies,
            settings,
            takes_per_delivery: self.needs.iter().any(|need| need.from == NeedSource::Delivery),
            callable: self.callable,
        }
    }
}
