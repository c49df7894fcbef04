//! What a router tells when it is built: what is in it, and what is doubtful.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use router_catalog::Pattern;

use super::{HandlerLocation, builder::RouterBuilder, candidate::Candidate};
use crate::extract::needs::From;

/// What is in a router, and what about it is doubtful. `build()` logs it; `Display` is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StartupReport {
    /// How many handlers each crate has, `name version`, sorted; those that were registered by hand
    /// have no crate.
    pub handlers: BTreeMap<String, usize>,
    /// The handlers that are linked and were left out, sorted by place.
    pub left_out: Vec<HandlerLocation>,
    /// What is doubtful, and no reason not to start.
    pub warnings: Vec<Warning>,
}

/// Something that is doubtful about a router.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A state was given that no handler takes.
    UnusedState {
        /// Its type.
        type_name: &'static str,
        /// The file in which it was given.
        file: &'static str,
        /// The line in that file, from 1.
        line: u32,
    },
    /// A handler is for an event type that this version does not know: it is newer, or a typo.
    UnknownEventType {
        /// The pattern.
        pattern: String,
        /// The known event type that was perhaps meant.
        nearest: Option<&'static str>,
        /// The handler.
        handler: HandlerLocation,
    },
    /// A handler's deliveries are kept under its module path: once it is moved or renamed, what waits is no
    /// longer found.
    Unnamed {
        /// The handler.
        handler: HandlerLocation,
    },
    /// A handler is `ordered`, and nobody keeps events so that they could be put in order.
    NotOrdered {
        /// The handler.
        handler: HandlerLocation,
    },
    /// The program is built with `panic = "abort"`: a handler that panics ends the process, and
    /// every other handler with it.
    PanicAborts,
}

impl StartupReport {
    pub(super) fn of(builder: &RouterBuilder) -> Self {
        let mut handlers = BTreeMap::new();
        for candidate in &builder.candidates {
            *handlers.entry(candidate.crate_name()).or_default() += 1;
        }
        let mut left_out: Vec<HandlerLocation> =
            builder.left_out.iter().map(Candidate::place).collect();
        left_out.sort();
        let aborts = cfg!(panic = "abort").then_some(Warning::PanicAborts);
        let warnings = unused_states(builder)
            .chain(unknown_event_types(builder))
            .chain(unnamed(builder))
            .chain(not_ordered(builder))
            .chain(aborts);
        Self { handlers, left_out, warnings: warnings.collect() }
    }

    pub(super) fn log(&self) {
        tracing::info!(
            handlers = self.handlers.values().sum::<usize>(),
            "router built: {}",
            self.crates()
        );
        for handler in &self.left_out {
            tracing::info!(%handler, "handler is linked and left out of this router");
        }
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }

    /// How many each has.
    fn crates(&self) -> String {
        let crates = self.handlers.iter().map(|(name, count)| format!("{count} {name}"));
        crates.collect::<Vec<_>>().join(", ")
    }
}

fn unused_states(builder: &RouterBuilder) -> impl Iterator<Item = Warning> {
    let used: BTreeSet<_> = (builder.candidates.iter())
        .flat_map(|candidate| &candidate.needs)
        .filter(|need| need.from == From::Application)
        .map(|need| need.id)
        .collect();
    let unused = builder.given.list.iter().filter(move |given| !used.contains(&given.id));
    unused.map(|given| Warning::UnusedState {
        type_name: given.type_name,
        file: given.place.file(),
        line: given.place.line(),
    })
}

fn unknown_event_types(builder: &RouterBuilder) -> impl Iterator<Item = Warning> {
    builder.candidates.iter().flat_map(|candidate| {
        let unknown = candidate.parsed_patterns().filter(|pattern| pattern.known().is_empty());
        unknown.map(|pattern| Warning::UnknownEventType {
            pattern: pattern.to_string(),
            nearest: match pattern {
                Pattern::Exact(name) => router_catalog::nearest(name),
                Pattern::Prefix(_) | Pattern::All => None,
            },
            handler: candidate.place(),
        })
    })
}

fn unnamed(builder: &RouterBuilder) -> impl Iterator<Item = Warning> {
    let kept = builder.delivered_by.is_some();
    let unnamed = builder.candidates.iter().filter(move |candidate| kept && candidate.is_unnamed());
    unnamed.map(|candidate| Warning::Unnamed { handler: candidate.place() })
}

fn not_ordered(builder: &RouterBuilder) -> impl Iterator<Item = Warning> {
    let inline = builder.delivered_by.is_none();
    let ordered =
        builder.candidates.iter().filter(move |candidate| inline && candidate.delivered.ordered);
    ordered.map(|candidate| Warning::NotOrdered { handler: candidate.place() })
}

impl fmt::Display for StartupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handlers: {}", self.crates())?;
        for handler in &self.left_out {
            write!(f, "\nleft out: {handler}")?;
        }
        self.warnings.iter().try_for_each(|warning| write!(f, "\nwarning: {warning}"))
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnusedState { type_name, file, line } => write!(
                f,
                "no handler takes the state of type `{type_name}` that {file}:{line} gives: is a handler missing, or \
                 does it take another type?"
            ),
            Self::UnknownEventType { pattern, nearest, handler } => {
                let version = router_catalog::API_VERSION;
                write!(f, "{handler}: Stripe is not known to send `{pattern}` (as of API version {version})")?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
                    None => Ok(()),
                }
            }
            Self::Unnamed { handler } => write!(
                f,
                "{handler}: its deliveries are kept under its module path, and are not found once it is moved or renamed; \
                 give it a name: `#[on_event(\"...\", name = \"orders.fulfil\", formerly = \"{}\")]`",
                handler.name
            ),
            Self::NotOrdered { handler } => write!(
                f,
                "{handler}: `ordered` is kept by an inbox (`.delivered_by(...)`); without one, events of one object \
                 are handled one at a time, in the order in which they come"
            ),
            Self::PanicAborts => f.write_str(
                "this program is built with `panic = \"abort\"`: a handler that panics ends the process, and every \
                 other handler with it; build with `panic = \"unwind\"`",
            ),
        }
    }
}
