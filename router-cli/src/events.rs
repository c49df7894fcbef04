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
    /// Event type, `invoice.*`, or any part of a name.
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

/// Returns the error for an unknown event type or pattern. It proposes only what matches.
fn unknown_event_type(pattern: &str) -> Error {
    let problem = match Pattern::parse(pattern) {
        Err(error) if pattern.contains('*') => format!("`{pattern}` is not a pattern: {error}"),
        _ => format!("Stripe has no event type `{pattern}`"),
    };
    let Some(nearest) = nearest_match(pattern) else {
        return Error::Usage(format!(
            "{problem}; `event-router events` lists the event types of API version {}",
            router_catalog::API_VERSION
        ));
    };
    let part = pattern.trim_end_matches(['*', '.']);
    let count = all().iter().filter(|listed| listed.name.contains(part)).count();
    let by_part = match part != pattern && part != nearest && count > 0 {
        true => {
            format!(" `event-router events {part}` lists the {count} types that contain this text")
        }
        false => String::new(),
    };
    Error::Usage(format!("{problem}; did you mean `{nearest}`?{by_part}"))
}

/// Returns the event type, or the pattern that matches some, that is nearest to an unknown one.
fn nearest_match(pattern: &str) -> Option<String> {
    let names = || all().iter().map(|listed| listed.name);
    let prefixes = || names().flat_map(|name| name.match_indices('.').map(|(dot, _)| &name[..dot]));
    let part = pattern.trim_end_matches(['*', '.']);
    if part.contains('*') {
        return None;
    }
    let is_wildcard = part != pattern;
    let exact = match is_wildcard {
        true => names().find(|name| *name == part),
        false => nearest_of(part, names()),
    };
    // A prefix alone is no event type; at most it is the name of an object.
    let prefix = || nearest_of(part, prefixes()).map(|prefix| format!("{prefix}.*"));
    exact.map(str::to_owned).or_else(prefix)
}
