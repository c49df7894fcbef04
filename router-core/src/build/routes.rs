//! The table of a router's routes, and the explanation of an event type, for people.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
};

use router_catalog::Pattern;
use serde::Serialize;

/// The routes of a router, sorted by pattern, then in the order in which the handlers run.
///
/// `Display` writes an aligned table, which does not change from build to build. serde writes a
/// list of [`Route`]s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Routes(Vec<Route>);

/// A pattern of a handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Route {
    /// The event type, or the wildcard; [`Route::UNHANDLED`] for `#[on_unhandled]`.
    pub pattern: String,
    /// The handler's position among the handlers of an event. Ties are broken by name.
    pub order: i32,
    /// `true` if the handler replies to Stripe. It then runs before all others.
    pub replies: bool,
    /// The handler's stable name.
    pub handler: String,
    /// The name of the only endpoint whose events the handler takes; `None` for all endpoints.
    pub endpoint: Option<&'static str>,
    /// `Some(true)` for live events only, `Some(false)` for test events only, `None` for both.
    pub livemode: Option<bool>,
    /// The file that defines the handler, or that registers it by hand.
    pub file: &'static str,
    /// The line in that file, from 1.
    pub line: u32,
    /// The first line of the handler's documentation; empty if there is none.
    pub doc: &'static str,
}

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

impl Route {
    /// The pattern of a handler for unhandled events, `#[on_unhandled]`.
    pub const UNHANDLED: &'static str = "(unhandled)";

    /// Describes the endpoint and mode filters; empty if there are none.
    fn filters(&self) -> String {
        let endpoint = self.endpoint.map(|endpoint| format!("endpoint {endpoint}"));
        let livemode = self.livemode.map(|live| if live { "live" } else { "test" }.to_owned());
        let filters: Vec<String> = endpoint.into_iter().chain(livemode).collect();
        filters.join(", ")
    }

    fn order_text(&self) -> String {
        match (self.replies, self.order) {
            (true, _) => "reply".to_owned(),
            (false, 0) => String::new(),
            (false, order) => order.to_string(),
        }
    }
}

impl Routes {
    pub(super) fn new(mut routes: Vec<Route>) -> Self {
        let key = |route: &Route| {
            let unhandled = route.pattern == Route::UNHANDLED;
            (unhandled, route.pattern.clone(), !route.replies, route.order, route.handler.clone())
        };
        routes.sort_by_cached_key(key);
        Self(routes)
    }

    /// Iterates over the routes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }

    /// Returns the event types to enable for the webhook endpoint at Stripe, sorted.
    ///
    /// A `prefix.*` is expanded to its known event types. A `*` is returned as is, because Stripe
    /// accepts it.
    pub(crate) fn event_types(&self) -> Vec<String> {
        let mut event_types = BTreeSet::new();
        for route in self.iter().filter(|route| route.pattern != Route::UNHANDLED) {
            match Pattern::parse(&route.pattern) {
                Ok(pattern @ Pattern::Prefix(_)) => {
                    event_types.extend(pattern.known().iter().map(|known| known.name.to_owned()));
                }
                _ => drop(event_types.insert(route.pattern.clone())),
            }
        }
        event_types.into_iter().collect()
    }
}

impl fmt::Display for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["EVENT TYPE", "ORDER", "HANDLER", "ONLY", "SOURCE", ""].map(str::to_owned);
        let rows = self.0.iter().map(|route| {
            [
                route.pattern.clone(),
                route.order_text(),
                route.handler.clone(),
                route.filters(),
                format!("{}:{}", route.file, route.line),
                route.doc.to_owned(),
            ]
        });
        write_table(f, header, rows.collect())
    }
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

/// Writes aligned columns, except those that are empty in every row.
fn write_table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    header: [String; N],
    mut rows: Vec<[String; N]>,
) -> fmt::Result {
    let used: [bool; N] =
        std::array::from_fn(|column| rows.iter().any(|row| !row[column].is_empty()));
    rows.insert(0, header);
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    for row in &rows {
        let cells = (0..N).filter(|column| used[*column]);
        let cells = cells.map(|column| format!("{:1$}", row[column], widths[column]));
        writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
