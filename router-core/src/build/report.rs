//! The start-up report: a router's handlers and warnings.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use router_catalog::Pattern;

use super::{HandlerLocation, candidate::Candidate, config::Configuration};
use crate::{extract::needs::NeedSource, handler::HandlerSettings};

/// A summary of a router's handlers, with warnings. `build()` logs it; `Display` writes it for
/// people.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StartupReport {
    /// The number of handlers by origin: `from <crate> <version>`, or `registered by hand`.
    pub handlers: BTreeMap<String, usize>,
    /// The linked handlers that were left out, sorted by location.
    pub left_out: Vec<HandlerLocation>,
    /// The handlers of every event type (`*`) that are no observers, in the order in which they
    /// run. If there is one, no event counts as unhandled.
    pub catch_all: Vec<HandlerLocation>,
    /// Likely mistakes that do not keep the router from being built.
    pub warnings: Vec<Warning>,
}

/// A likely mistake in a router.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// No handler uses a state that was added.
    UnusedState {
        /// The state's type.
        type_name: &'static str,
        /// The file that adds the state.
        file: &'static str,
        /// The line in that file, from 1.
        line: u32,
    },
    /// A handler's event type or prefix is not in the catalog: it is newer, or a typo.
    UnknownEventType {
        /// The pattern.
        pattern: String,
        /// The closest known event type.
        nearest: Option<&'static str>,
        /// The handler.
        handler: HandlerLocation,
    },
    /// A handler's wildcard does not match the event types about parts of its object, and no other
    /// pattern in the router names them.
    UnmatchedParts {
        /// The wildcard.
        pattern: String,
        /// The event types, such as `v2.core.account[identity].updated`.
        event_types: Vec<&'static str>,
        /// The handler.
        handler: HandlerLocation,
    },
    /// A handler has no stable name, so its deliveries are stored under its module path. Pending
    /// deliveries are no longer found after the function is moved or renamed.
    Unnamed {
        /// The handler.
        handler: HandlerLocation,
    },
    /// A handler is `ordered`, but the router runs it itself: the router has no
    /// `.delivered_by(...)`, or the handler replies. No service puts its events in order.
    NotOrdered {
        /// The handler.
        handler: HandlerLocation,
    },
    /// A handler has other keys that only a delivery service reads, but the router runs the handler
    /// itself: the router has no `.delivered_by(...)`, or the handler replies.
    NotDelivered {
        /// The keys, such as `retry`.
        keys: Vec<&'static str>,
        /// The handler.
        handler: HandlerLocation,
    },
    /// A handler takes only the events of one endpoint, but the router does not know which
    /// endpoints there are.
    UncheckedEndpoint {
        /// The name of the endpoint.
        endpoint: &'static str,
        /// The handler.
        handler: HandlerLocation,
    },
    /// The handler for unhandled events is never called, because another handler handles every
    /// event.
    UnreachableUnhandled {
        /// The handler for unhandled events.
        handler: HandlerLocation,
        /// The handler of every event.
        catch_all: HandlerLocation,
    },
    /// The program is built with `panic = "abort"`, so a panic in one handler ends the process.
    PanicAborts,
}

/// The note about a handler of every event type.
const CATCH_ALL: &str =
    "this handler takes every event type, so no event is logged or counted as unhandled";

impl StartupReport {
    pub(super) fn new(config: &Configuration) -> Self {
        let mut handlers = BTreeMap::new();
        for candidate in &config.candidates {
            *handlers.entry(candidate.origin()).or_default() += 1;
        }
        let mut left_out: Vec<HandlerLocation> =
            config.left_out.iter().map(Candidate::location).collect();
        left_out.sort();
        let catch_all = catch_alls(config).map(Candidate::location).collect();
        let aborts = cfg!(panic = "abort").then_some(Warning::PanicAborts);
        let warnings = unused_states(config)
            .chain(unknown_event_types(config))
            .chain(unmatched_parts(config))
            .chain(unnamed(config))
            .chain(not_ordered(config))
            .chain(not_delivered(config))
            .chain(unchecked_endpoints(config))
            .chain(unreachable_unhandled(config))
            .chain(aborts);
        Self { handlers, left_out, catch_all, warnings: warnings.collect() }
    }

    pub(super) fn log(&self) {
        tracing::info!(
            handlers = self.handlers.values().sum::<usize>(),
            "router built: {}",
            self.origins()
        );
        for handler in &self.left_out {
            tracing::info!(%handler, "linked handler is left out of this router");
        }
        for handler in &self.catch_all {
            tracing::info!(%handler, "{CATCH_ALL}");
        }
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }

    /// Returns the numbers of handlers by origin, separated by commas.
    fn origins(&self) -> String {
        let counts = self.handlers.iter().map(|(origin, count)| format!("{count} {origin}"));
        counts.collect::<Vec<_>>().join(", ")
    }
}

fn unused_states(config: &Configuration) -> impl Iterator<Item = Warning> {
    let used: BTreeSet<_> = (config.candidates.iter())
        .flat_map(|candidate| &candidate.needs)
        .filter(|need| need.from == NeedSource::Application)
        .map(|need| need.id)
        .collect();
    let unused = config.states.entries.iter().filter(move |state| !used.contains(&state.id));
    unused.map(|state| Warning::UnusedState {
        type_name: state.type_name,
        file: state.location.file(),
        line: state.location.line(),
    })
}

fn unknown_event_types(config: &Configuration) -> impl Iterator<Item = Warning> {
    config.candidates.iter().flat_map(|candidate| {
        let unknown = candidate.parsed_patterns().filter(|pattern| pattern.known().is_empty());
        unknown.map(|pattern| Warning::UnknownEventType {
            pattern: pattern.to_string(),
            nearest: match pattern {
                Pattern::Exact(name) => router_catalog::nearest(name),
                Pattern::Prefix(_) | Pattern::All => None,
            },
            handler: candidate.location(),
        })
    })
}

fn unmatched_parts(config: &Configuration) -> impl Iterator<Item = Warning> {
    // A `*` does not count, because it would hide that the intended handler is not called.
    let patterns = || config.candidates.iter().flat_map(Candidate::parsed_patterns);
    let is_named = move |event_type: &str| {
        patterns().any(|pattern| pattern != Pattern::All && pattern.matches(event_type))
    };
    config.candidates.iter().flat_map(move |candidate| {
        candidate.parsed_patterns().filter_map(move |pattern| {
            let parts = pattern.unmatched_parts().map(|event_type| event_type.name);
            let event_types: Vec<_> = parts.filter(|part| !is_named(part)).collect();
            (!event_types.is_empty()).then(|| Warning::UnmatchedParts {
                pattern: pattern.to_string(),
                event_types,
                handler: candidate.location(),
            })
        })
    })
}

/// Returns the handlers that the router runs itself.
fn inline(config: &Configuration) -> impl Iterator<Item = &Candidate> {
    let delivered = config.has_delivery_service();
    config.candidates.iter().filter(move |candidate| candidate.runs_inline(delivered))
}

fn unnamed(config: &Configuration) -> impl Iterator<Item = Warning> {
    let delivered = config.has_delivery_service();
    let unnamed = config
        .candidates
        .iter()
        .filter(move |candidate| !candidate.runs_inline(delivered) && candidate.is_unnamed());
    unnamed.map(|candidate| Warning::Unnamed { handler: candidate.location() })
}

fn not_ordered(config: &Configuration) -> impl Iterator<Item = Warning> {
    inline(config)
        .filter(|candidate| candidate.settings.ordered.is_some())
        .map(|candidate| Warning::NotOrdered { handler: candidate.location() })
}

fn not_delivered(config: &Configuration) -> impl Iterator<Item = Warning> {
    inline(config).filter_map(|candidate| {
        let keys = candidate.settings.delivery_keys();
        let handler = candidate.location();
        (!keys.is_empty()).then_some(Warning::NotDelivered { keys, handler })
    })
}

fn unchecked_endpoints(config: &Configuration) -> impl Iterator<Item = Warning> {
    let candidates = config.candidates.iter().filter(|_| config.endpoints.is_none());
    candidates.filter_map(|candidate| {
        let (endpoint, handler) = (candidate.settings.endpoint?, candidate.location());
        Some(Warning::UncheckedEndpoint { endpoint, handler })
    })
}

fn unreachable_unhandled(config: &Configuration) -> Option<Warning> {
    let catch_all = catch_alls(config).next()?.location();
    let is_unhandled = |candidate: &&Candidate| candidate.patterns.is_none();
    let handler = config.candidates.iter().find(is_unhandled)?.location();
    Some(Warning::UnreachableUnhandled { handler, catch_all })
}

/// Returns the handlers of every event, without observers. A mode that applies to the whole router
/// does not count as a filter.
fn catch_alls(config: &Configuration) -> impl Iterator<Item = &Candidate> {
    config.candidates.iter().filter(|candidate| {
        let HandlerSettings { endpoint, livemode, observer, .. } = candidate.settings;
        let is_every_mode = livemode.is_none() || livemode == config.livemode;
        candidate.is_catch_all() && !observer && endpoint.is_none() && is_every_mode
    })
}

impl fmt::Display for StartupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handlers: {}", self.origins())?;
        for handler in &self.left_out {
            write!(f, "\nleft out: {handler}")?;
        }
        for handler in &self.catch_all {
            write!(f, "\n{CATCH_ALL}: {handler}")?;
        }
        self.warnings.iter().try_for_each(|warning| write!(f, "\nwarning: {warning}"))
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnusedState { type_name, file, line } => write!(
                f,
                "no handler uses the state of type `{type_name}` added at {file}:{line}: is a handler missing, or does \
                 it take another type?"
            ),
            Self::UnknownEventType { pattern, nearest, handler } => {
                let version = router_catalog::API_VERSION;
                write!(f, "{handler}: `{pattern}` matches no known Stripe event type (as of API version {version})")?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
                    None => Ok(()),
                }
            }
            Self::UnmatchedParts { pattern, event_types, handler } => write!(
                f,
                "{handler}: `{pattern}` does not match {} event types about parts of the same object, and no other \
                 handler names them; to handle them, add {}; otherwise list the event types that the handler needs \
                 instead of `{pattern}`",
                event_types.len(),
                wildcards(event_types)
            ),
            Self::Unnamed { handler } => write!(
                f,
                "{handler}: deliveries are stored under the handler's module path, so pending ones are no longer found \
                 after the function is moved or renamed; give the handler a stable name: \
                 `#[on_event(\"...\", name = \"orders.fulfil\", formerly = \"{}\")]`",
                handler.name
            ),
            Self::NotOrdered { handler } => write!(
                f,
                "{handler}: `ordered` needs an inbox (`.delivered_by(...)`), and a handler that does not reply; \
                 otherwise the events of an object are handled one at a time, in order of arrival"
            ),
            Self::NotDelivered { keys, handler } => {
                let verb = if keys.len() == 1 { "has" } else { "have" };
                write!(
                    f,
                    "{handler}: `{}` {verb} no effect without an inbox (`.delivered_by(...)`), nor for a handler that \
                     replies: Stripe is answered after the handler, and redelivers a failed event on a schedule of \
                     its own",
                    keys.join("`, `")
                )
            }
            Self::UncheckedEndpoint { endpoint, handler } => write!(
                f,
                "{handler}: `endpoint = \"{endpoint}\"` is not checked, so a misspelled name would keep the handler \
                 from being called; call `.endpoints(secrets.endpoints())` before `.build()`"
            ),
            Self::UnreachableUnhandled { handler, catch_all } => write!(
                f,
                "{handler}: never called, because this handler handles every event: {catch_all}; remove one of them"
            ),
            Self::PanicAborts => f.write_str(
                "this program is built with `panic = \"abort\"`, so a panic in one handler ends the process and all \
                 other handlers; build it with `panic = \"unwind\"`",
            ),
        }
    }
}

/// Returns the wildcards that match these event types, for people.
fn wildcards(event_types: &[&str]) -> String {
    let parents = event_types.iter().filter_map(|name| Some(name.rsplit_once('.')?.0));
    let wildcards: BTreeSet<_> = parents.map(|parent| format!("`\"{parent}.*\"`")).collect();
    wildcards.into_iter().collect::<Vec<_>>().join(", ")
}
