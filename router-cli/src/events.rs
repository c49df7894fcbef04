//! `events`: Stripe's event types.

use clap::Args;
use router_catalog::{EventType, Kind, Pattern, all, nearest_of};
use serde::Serialize;

use crate::{
    error::{Error, Exit},
    output::{DIM, Output, styled},
};

/// List Stripe's event types, and the object that each carries
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router events
  event-router events 'customer.subscription.*'
  event-router events dispute

With --json, a line for each: {\"type\", \"kind\", \"objects\"}.")]
pub(crate) struct Events {
    /// An event type, `prefix.*`, or a part of a name.
    pattern: Option<String>,
}

#[derive(Serialize)]
struct Line {
    r#type: &'static str,
    kind: &'static str,
    objects: Vec<&'static str>,
}

impl Events {
    pub(crate) fn run(self, output: &mut Output) -> Result<Exit, Error> {
        let found = match &self.pattern {
            None => all().iter().collect(),
            Some(pattern) => matching(pattern)?,
        };
        let width = found.iter().map(|known| known.name.len()).max().unwrap_or_default();
        for known in found {
            let kind = match known.kind {
                Kind::Snapshot => "snapshot",
                Kind::Thin => "thin",
            };
            let line = Line { r#type: known.name, kind, objects: known.objects().collect() };
            if output.json {
                output.json(&line)?;
            } else {
                let objects = line.objects.join(" or ");
                let text = format!(
                    "{:width$}  {}  {objects}",
                    known.name,
                    styled(DIM, format!("{kind:8}"))
                );
                output.line(text.trim_end())?;
            }
        }
        Ok(Exit::Done)
    }
}

/// The event types of a pattern, or with this in their names.
pub(crate) fn matching(pattern: &str) -> Result<Vec<&'static EventType>, Error> {
    let by_pattern = Pattern::parse(pattern).ok();
    let is_match =
        |known: &&EventType| by_pattern.as_ref().is_some_and(|by| by.matches(known.name));
    let mut found: Vec<_> = all().iter().filter(is_match).collect();
    if found.is_empty() {
        found = all().iter().filter(|known| known.name.contains(pattern)).collect();
    }
    if found.is_empty() {
        return Err(unknown(pattern));
    }
    Ok(found)
}

/// That there is no such event type; with what was most likely meant.
fn unknown(pattern: &str) -> Error {
    let names = || all().iter().map(|known| known.name);
    let prefixes = || names().flat_map(|name| name.match_indices('.').map(|(at, _)| &name[..at]));
    let nearest = match pattern.strip_suffix(".*") {
        Some(prefix) => nearest_of(prefix, prefixes()).map(|prefix| format!("{prefix}.*")),
        None => nearest_of(pattern, names().chain(prefixes())).map(str::to_owned),
    };
    Error::Usage(match nearest {
        Some(nearest) => {
            format!("Stripe has no event type `{pattern}`; did you mean `{nearest}`?")
        }
        None => format!(
            "Stripe has no event type `{pattern}` in API version {}; `event-router events` lists them",
            router_catalog::API_VERSION
        ),
    })
}
