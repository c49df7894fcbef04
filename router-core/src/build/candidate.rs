//! A handler as it was registered, before anything was checked.

use std::{panic::Location, sync::Arc, time::Duration};

use router_catalog::Pattern;

use super::{
    Plugin,
    problem::HandlerLocation,
    registry::{DeliveryKeys, Handles, Registration},
    routes::Route,
};
use crate::{
    extract::needs::Need,
    handler::{Handler, HandlerResult},
    routing::{Caller, Filter, RegisteredHandler},
    telemetry::HandlerMetrics,
};

#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) formerly: Option<&'static str>,
    /// None for the handler of what nothing else handles.
    pub(super) patterns: Option<Vec<String>>,
    /// Where its function stands; none for one that was registered by hand.
    pub(super) source: Option<Source>,
    pub(super) file: &'static str,
    pub(super) line: u32,
    pub(super) needs: Vec<Need>,
    /// Among the handlers of one event; equal ones by name.
    pub(super) order: i32,
    doc: &'static str,
    pub(super) filter: Filter,
    timeout: Option<Duration>,
    /// Whether Stripe waits for its answer.
    pub(super) replies: bool,
    default_reply: Option<fn() -> HandlerResult>,
    exclusive: bool,
    blocking: bool,
    pub(super) delivered: DeliveryKeys,
    caller: Caller,
}

/// How long a handler may take for whose answer Stripe waits 2 s, its way over the network included.
const DEFAULT_DEADLINE: Duration = Duration::from_millis(1500);

/// The function over which `#[on_event]` stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) plugin: Plugin,
    pub(super) path: &'static str,
    pub(super) function: &'static str,
    file: &'static str,
    line: u32,
}

impl Source {
    pub(super) fn of(registration: &Registration) -> Self {
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
    pub(super) fn linked(registration: &Registration) -> Self {
        let mut needs = Vec::new();
        (registration.needs)(&mut needs);
        Self {
            name: registration.name.unwrap_or(registration.path).to_owned(),
            formerly: registration.formerly,
            patterns: match registration.handles {
                Handles::Patterns(patterns) => {
                    Some(patterns.iter().map(|&pattern| pattern.to_owned()).collect())
                }
                Handles::Unhandled => None,
            },
            source: Some(Source::of(registration)),
            file: registration.file,
            line: registration.line,
            needs,
            order: registration.order,
            doc: registration.doc,
            filter: Filter { endpoint: registration.endpoint, livemode: registration.livemode },
            timeout: registration.timeout,
            replies: registration.replies,
            default_reply: registration.default_reply,
            exclusive: registration.exclusive,
            blocking: registration.blocking,
            delivered: registration.delivered,
            caller: Caller::Linked(registration.call),
        }
    }

    pub(super) fn by_hand(
        name: String,
        patterns: Vec<String>,
        handler: impl Handler,
        place: &Location<'static>,
    ) -> Self {
        Self {
            name,
            formerly: None,
            patterns: Some(patterns),
            source: None,
            file: place.file(),
            line: place.line(),
            needs: Vec::new(),
            order: 0,
            doc: "",
            filter: Filter::default(),
            timeout: None,
            replies: handler.replies(),
            default_reply: None,
            exclusive: false,
            blocking: false,
            delivered: DeliveryKeys::default(),
            caller: Caller::ByHand(Arc::new(handler)),
        }
    }

    pub(super) fn plugin(&self) -> Option<Plugin> {
        self.source.map(|source| source.plugin)
    }

    /// The crate in which it stands, for people.
    pub(super) fn crate_name(&self) -> String {
        match self.plugin() {
            Some(plugin) => format!("in {} {}", plugin.package(), plugin.version()),
            None => "by hand".to_owned(),
        }
    }

    /// Whether its stable name is only where it stands.
    pub(super) fn is_unnamed(&self) -> bool {
        self.source.is_some_and(|source| source.path == self.name)
    }

    pub(super) fn position(&self) -> impl Ord {
        // Stripe waits for the one that replies.
        (!self.replies, self.order, &self.name, self.file, self.line)
    }

    /// Its patterns; `check` has found those that are none.
    pub(super) fn parsed_patterns(&self) -> impl Iterator<Item = Pattern<'_>> {
        self.patterns.iter().flatten().filter_map(|pattern| Pattern::parse(pattern).ok())
    }

    /// Whether an event can be for both.
    pub(super) fn shares_events_with(&self, other: &Self) -> bool {
        fn differ<T: PartialEq>(ours: Option<T>, theirs: Option<T>) -> bool {
            ours.zip(theirs).is_some_and(|(ours, theirs)| ours != theirs)
        }
        let patterns = self
            .parsed_patterns()
            .flat_map(|ours| other.parsed_patterns().map(move |theirs| (ours, theirs)));
        !differ(self.filter.endpoint, other.filter.endpoint)
            && !differ(self.filter.livemode, other.filter.livemode)
            && patterns.into_iter().any(|(ours, theirs)| ours.overlaps(theirs))
    }

    pub(super) fn place(&self) -> HandlerLocation {
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

    pub(super) fn routes(&self) -> Vec<Route> {
        let patterns = match &self.patterns {
            Some(patterns) => patterns.clone(),
            None => vec![Route::UNHANDLED.to_owned()],
        };
        let route = |pattern| Route {
            pattern,
            order: self.order,
            replies: self.replies,
            handler: self.name.clone(),
            endpoint: self.filter.endpoint,
            livemode: self.filter.livemode,
            file: self.file,
            line: self.line,
            doc: self.doc,
        };
        patterns.into_iter().map(route).collect()
    }

    /// `is_kept`: whether somebody keeps its deliveries, and so their order.
    pub(super) fn into_handler(
        self,
        default_timeout: Duration,
        is_kept: bool,
    ) -> RegisteredHandler {
        let default = if self.replies { DEFAULT_DEADLINE } else { default_timeout };
        let name = self.name.into();
        RegisteredHandler {
            metrics: HandlerMetrics::new(&name),
            name,
            formerly: self.formerly,
            filter: self.filter,
            timeout: self.timeout.unwrap_or(default),
            replies: self.replies,
            default_reply: self.default_reply,
            // As much of the order as there can be where nobody keeps it.
            exclusive: self.exclusive || self.delivered.ordered && !is_kept,
            blocking: self.blocking,
            delivered: self.delivered,
            caller: self.caller,
        }
    }
}
