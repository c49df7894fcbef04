//! What is routed where, for people.

use std::fmt;

/// Everything that a router routes, sorted by pattern and then in the order in which the handlers
/// run. `Display` is an aligned table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes(Vec<Route>);

/// One pattern of one handler.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Route {
    /// The event type, or the wildcard.
    pub pattern: String,
    /// The handler's stable name.
    pub handler: String,
    /// The file in which the handler stands, or in which it was registered by hand.
    pub file: &'static str,
    /// The line in that file, from 1.
    pub line: u32,
    /// The first line of the handler's documentation; empty where it has none.
    pub doc: &'static str,
}

impl Routes {
    pub(super) fn new(mut routes: Vec<Route>) -> Self {
        routes.sort();
        Self(routes)
    }

    /// The routes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }
}

impl fmt::Display for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.0.iter().map(|route| {
            [
                route.pattern.clone(),
                route.handler.clone(),
                format!("{}:{}", route.file, route.line),
                route.doc.to_owned(),
            ]
        });
        let head = ["EVENT TYPE", "HANDLER", "SOURCE", ""].map(str::to_owned);
        let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths = [0, 1, 2].map(|column| width(column).unwrap_or(0));
        for [pattern, handler, source, doc] in &rows {
            let line = format!(
                "{pattern:0$}  {handler:1$}  {source:2$}  {doc}",
                widths[0], widths[1], widths[2]
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
