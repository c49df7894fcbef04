//! The table of a router's routes, for people.

use std::{collections::BTreeSet, fmt};

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

impl Route {
    /// The pattern of a handler for unhandled events, `#[on_unhandled]`.
    pub const UNHANDLED: &'static str = "(unhandled)";

    /// Describes the endpoint and mode filters; empty if there are none.
    pub(super) fn filters(&self) -> String {
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

/// Writes aligned columns, except those that are empty in every row.
pub(super) fn write_table<const N: usize>(
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
