//! Which handlers an event type has, and why the others are not for it.

use std::{collections::HashSet, fmt};

use router_catalog::Pattern;

use super::{Route, Routes, routes::write_table};

/// Which handlers would run for an event type, in order, and why others would not. `Display` is for
/// people.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The event type.
    pub event_type: String,
    /// Whether this version knows it.
    pub known: bool,
    /// The known event type that was perhaps meant, where this one is not known.
    pub nearest: Option<&'static str>,
    /// Every handler: first those that would run, in order.
    pub handlers: Vec<(Route, Match)>,
}

/// Whether a handler would run for an event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Match {
    /// It runs.
    Runs,
    /// It runs for some of these events: those of its endpoint, or its mode.
    RunsForSome,
    /// It is for other event types.
    OtherEventType,
    /// It is for what no handler is for, and one is.
    IsHandled,
}

impl Match {
    fn may_run(self) -> bool {
        matches!(self, Self::Runs | Self::RunsForSome)
    }
}

impl Explanation {
    pub(crate) fn new(event_type: &str, routes: &Routes) -> Self {
        let known = router_catalog::lookup(event_type).is_some();
        let matches = |route: &Route| {
            Pattern::parse(&route.pattern).is_ok_and(|pattern| pattern.matches(event_type))
        };
        let filtered = |route: &Route| route.endpoint.is_some() || route.livemode.is_some();
        let handled = routes.iter().any(|route| matches(route) && !filtered(route));
        let partly = routes.iter().any(matches);
        let verdict = |route: &Route| match (route.pattern.as_str(), matches(route)) {
            (Route::UNHANDLED, _) if handled => Match::IsHandled,
            (Route::UNHANDLED, _) if partly => Match::RunsForSome,
            (_, true) if filtered(route) => Match::RunsForSome,
            (Route::UNHANDLED, _) | (_, true) => Match::Runs,
            (_, false) => Match::OtherEventType,
        };
        let mut handlers: Vec<_> =
            routes.iter().map(|route| (route.clone(), verdict(route))).collect();
        handlers.sort_by_cached_key(|(route, verdict)| {
            let unhandled = route.pattern == Route::UNHANDLED;
            (!verdict.may_run(), unhandled, !route.replies, route.order, route.handler.clone())
        });
        // A handler stands here once, with the pattern that decides.
        let mut seen = HashSet::new();
        handlers.retain(|(route, _)| seen.insert(route.handler.clone()));
        let nearest = if known { None } else { router_catalog::nearest(event_type) };
        Self { event_type: event_type.to_owned(), known, nearest, handlers }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event_type, known, nearest, handlers } = self;
        write!(f, "{event_type}")?;
        if !known {
            let version = router_catalog::API_VERSION;
            write!(f, ": Stripe is not known to send this (as of API version {version})")?;
            if let Some(nearest) = nearest {
                write!(f, "; did you mean `{nearest}`?")?;
            }
        }
        writeln!(f)?;
        if !handlers.iter().any(|(_, verdict)| verdict.may_run()) {
            writeln!(f, "no handler would run; the event would be answered with 200, and logged")?;
        }
        let rows = handlers.iter().map(|(route, verdict)| {
            let Route { pattern, handler, file, line, .. } = route;
            let why = match verdict {
                Match::Runs => "runs".to_owned(),
                Match::RunsForSome if pattern == Route::UNHANDLED => {
                    "runs where none of the above does".to_owned()
                }
                Match::RunsForSome => format!("runs for: {}", route.filters()),
                Match::OtherEventType => "is for another event type".to_owned(),
                Match::IsHandled => "is for what no handler is for".to_owned(),
            };
            [handler.clone(), why, pattern.clone(), format!("{file}:{line}")]
        });
        write_table(f, ["HANDLER", "", "EVENT TYPE", "SOURCE"].map(str::to_owned), rows.collect())
    }
}
