//! What is routed where, for people.

use std::{collections::BTreeSet, fmt};

use router_catalog::Pattern;
use serde::Serialize;

/// Everything that a router routes, sorted by pattern and then in the order in which the handlers
/// run. `Display` is an aligned table, the same in every build; serde writes a list of [`Route`]s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Routes(Vec<Route>);

/// One pattern of one handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Route {
    /// The event type, or the wildcard; [`Route::UNHANDLED`] for `#[on_unhandled]`.
    pub pattern: String,
    /// The handler's place among those of one event; equal ones run by name.
    pub order: i32,
    /// Whether Stripe waits for its answer: then it runs before all others.
    pub replies: bool,
    /// The handler's stable name.
    pub handler: String,
    /// The one endpoint of whose events it is, if it is for one only.
    pub endpoint: Option<&'static str>,
    /// Whether it is for live events only, or for test events only.
    pub livemode: Option<bool>,
    /// The file in which the handler stands, or in which it was registered by hand.
    pub file: &'static str,
    /// The line in that file, from 1.
    pub line: u32,
    /// The first line of the handler's documentation; empty where it has none.
    pub doc: &'static str,
}

impl Route {
    /// What stands for the events that no handler is for.
    pub const UNHANDLED: &'static str = "(unhandled)";

    /// Which events of the pattern it is for, where not for all.
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

    /// The routes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }

    /// The event types to enable for the webhook endpoint at Stripe, sorted: those of the exact
    /// patterns, and those that Stripe is known to send of each `prefix.*`. A `*` stands as it is:
    /// Stripe takes it too.
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
        let head = ["EVENT TYPE", "ORDER", "HANDLER", "ONLY", "SOURCE", ""].map(str::to_owned);
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
        write_table(f, head, rows.collect())
    }
}

/// Writes aligned columns; one that is empty in every row is left out.
pub(super) fn write_table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    head: [String; N],
    mut rows: Vec<[String; N]>,
) -> fmt::Result {
    let used: [bool; N] =
        std::array::from_fn(|column| rows.iter().any(|row| !row[column].is_empty()));
    rows.insert(0, head);
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
