//! Explains which handlers run for an event type, and why the others do not.

use std::{collections::HashSet, fmt};

use router_catalog::Pattern;

use super::{Route, Routes, routes::write_table};

/// The handlers that would run for an event type, in order, and the reasons why others would not.
///
/// `Display` writes an aligned table for people.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The event type.
    pub event_type: String,
    /// `true` if this version of the catalog has the event type.
    pub known: bool,
    /// The closest known event type, if this one is unknown.
    pub nearest: Option<&'static str>,
    /// All handlers. Those that would run come first, in the order in which they run.
    pub handlers: Vec<(Route, Match)>,
}

/// The relation of a handler to an event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Match {
    /// The handler runs.
    Runs,
    /// The handler runs for some events of this type: its endpoint or mode filter excludes others.
    /// A handler for unhandled events runs if those filters exclude all other handlers.
    RunsForSome,
    /// The handler handles other event types.
    OtherEventType,
    /// The handler is for unhandled events, and another handler handles every event of this type.
    HandledByOthers,
}

impl Match {
    fn may_run(self) -> bool {
        matches!(self, Self::Runs | Self::RunsForSome)
    }
}

impl Explanation {
    pub(crate) fn new(event_type: &str, routes: &Routes) -> Self {
        let known = router_catalog::lookup(event_type).is_some();
        let matches_type = |route: &Route| {
            Pattern::parse(&route.pattern).is_ok_and(|pattern| pattern.matches(event_type))
        };
        let is_filtered = |route: &Route| route.endpoint.is_some() || route.livemode.is_some();
        let all_handled = routes.iter().any(|route| matches_type(route) && !is_filtered(route));
        let some_handled = routes.iter().any(matches_type);
        let classify = |route: &Route| match (route.pattern.as_str(), matches_type(route)) {
            (Route::UNHANDLED, _) if all_handled => Match::HandledByOthers,
            (Route::UNHANDLED, _) if some_handled => Match::RunsForSome,
            (_, true) if is_filtered(route) => Match::RunsForSome,
            (Route::UNHANDLED, _) | (_, true) => Match::Runs,
            (_, false) => Match::OtherEventType,
        };
        let mut handlers: Vec<_> =
            routes.iter().map(|route| (route.clone(), classify(route))).collect();
        handlers.sort_by_cached_key(|(route, matched)| {
            let unhandled = route.pattern == Route::UNHANDLED;
            (!matched.may_run(), unhandled, !route.replies, route.order, route.handler.clone())
        });
        // List a handler once, with the first of its patterns in this order.
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
            write!(f, ": not a known Stripe event type (as of API version {version})")?;
            if let Some(nearest) = nearest {
                write!(f, "; did you mean `{nearest}`?")?;
            }
        }
        writeln!(f)?;
        if !handlers.iter().any(|(_, matched)| matched.may_run()) {
            writeln!(f, "no handler would run; the event would be logged and answered with 200")?;
        }
        let rows = handlers.iter().map(|(route, matched)| {
            let Route { pattern, handler, file, line, .. } = route;
            let description = match matched {
                Match::Runs => "runs".to_owned(),
                Match::RunsForSome if pattern == Route::UNHANDLED => {
                    "runs if none of the above does".to_owned()
                }
                Match::RunsForSome => format!("runs for: {}", route.filters()),
                Match::OtherEventType => "handles other event types".to_owned(),
                Match::HandledByOthers => "only for unhandled events".to_owned(),
            };
            [handler.clone(), description, pattern.clone(), format!("{file}:{line}")]
        });
        write_table(f, ["HANDLER", "", "EVENT TYPE", "SOURCE"].map(str::to_owned), rows.collect())
    }
}
