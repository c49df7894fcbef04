//! `events`: lists Stripe's event types.

use clap::Args;
use router_catalog::{EventType, Kind, Pattern, all, nearest_of};
use serde::Serialize;

use crate::{
    error::{Error, Exit},
    output::{DIM, Output, styled},
};

/// List Stripe's event types and the objects they carry
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router events
  event-router events 'customer.subscription.*'
  event-router events dispute

With --json, prints one object per event type: {\"type\", \"kind\", \"objects\"}.")]
pub(crate) struct EventsArgs {
    /// Event type, `prefix.*`, or any part of a name.
    pattern: Option<String>,
}

#[derive(Serialize)]
struct Line {
    r#type: &'static str,
    kind: &'static str,
    objects: Vec<&'static str>,
}

impl EventsArgs {
    pub(crate) fn run(self, output: &mut Output) -> Result<Exit, Error> {
        let event_types = match &self.pattern {
            None => all().iter().collect(),
            Some(pattern) => matching(pattern)?,
        };
        let width = event_types.iter().map(|listed| listed.name.len()).max().unwrap_or_default();
        for listed in event_types {
            let kind = match listed.kind {
                Kind::Snapshot => "snapshot",
                Kind::Thin => "thin",
            };
            let line = Line { r#type: listed.name, kind, objects: listed.objects().collect() };
            if output.json {
                output.json(&line)?;
            } else {
                let objects = line.objects.join(" or ");
                let text = format!(
                    "{:width$}  {}  {objects}",
                    listed.name,
                    styled(DIM, format!("{kind:8}"))
                );
                output.line(text.trim_end())?;
            }
        }
        Ok(Exit::Success)
    }
}

/// Returns the event types that match a pattern or, if none does, those whose name contains the
/// text.
///
/// # Errors
///
/// Fails if there are none of either.
pub(crate) fn matching(pattern: &str) -> Result<Vec<&'static EventType>, Error> {
    let parsed = Pattern::parse(pattern).ok();
    let is_match =
        |listed: &&EventType| parsed.as_ref().is_some_and(|parsed| parsed.matches(listed.name));
    let mut found: Vec<_> = all().iter().filter(is_match).collect();
    if found.is_empty() {
        found = all().iter().filter(|listed| listed.name.contains(pattern)).collect();
    }
    if found.is_empty() {
        return Err(unknown_event_type(pattern));
    }
    Ok(found)
}

/// Returns the error for an unknown event type, with the nearest known one.
fn unknown_event_type(pattern: &str) -> Error {
    let names = || all().iter().map(|listed| listed.name);
    let prefixes = || names().flat_map(|name| name.match_indices('.').map(|(dot, _)| &name[..dot]));
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
