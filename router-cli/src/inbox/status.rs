//! `inbox status`: counts deliveries by handler and state, and suggests the next steps.

use std::time::Duration;

use clap::Args;
use router_inbox::{
    operations::{BacklogCount, HandlerStatus, InboxStatus},
    store::Operations,
};
use serde::Serialize;

use super::{
    format::{count, short_duration},
    store::within_limit,
};
use crate::{
    error::{Error, Exit},
    output::{DIM, FAILURE, Output, WARNING, styled},
};

/// Count due, waiting, running and dead deliveries by handler
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox status
  event-router inbox status --json | jq '.handlers[] | select(.dead.number > 0)'

`due` counts the waiting deliveries that could run now. `oldest` is the age of the oldest waiting or
running delivery's event. If it keeps growing, no server has the handler, or the handler fails.

With --json, prints one object: {\"events\", \"unhandled\", \"finished\", \"handlers\": [{\"handler\",
\"due\", \"waiting\": {\"number\", \"oldest_seconds\"}, \"running\", \"dead\"}]}. \"running\" and \"dead\" have
the same fields as \"waiting\".")]
pub(super) struct StatusArgs {}

impl StatusArgs {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let status = within_limit(store.status()).await?;
        if output.json {
            output.json(&Line::new(&status))?;
            return Ok(Exit::Success);
        }
        for line in table(&status) {
            output.line(line)?;
        }
        for hint in hints(&status) {
            output.note(format_args!("{WARNING}help:{WARNING:#} {hint}"));
        }
        Ok(Exit::Success)
    }
}

/// The number of deliveries by state, over all handlers.
pub(super) struct Totals {
    pub(super) due: u64,
    pub(super) waiting: u64,
    pub(super) running: u64,
    pub(super) dead: u64,
}

pub(super) fn totals(status: &InboxStatus) -> Totals {
    let sum = |number: fn(&HandlerStatus) -> u64| status.handlers.iter().map(number).sum();
    Totals {
        due: sum(|handler| handler.due),
        waiting: sum(|handler| handler.waiting.number),
        running: sum(|handler| handler.running.number),
        dead: sum(|handler| handler.dead.number),
    }
}

/// The status in the JSON output.
#[derive(Serialize)]
pub(super) struct Line<'l> {
    events: u64,
    unhandled: u64,
    finished: u64,
    handlers: Vec<HandlerLine<'l>>,
}

#[derive(Serialize)]
struct HandlerLine<'l> {
    handler: &'l str,
    due: u64,
    waiting: CountLine,
    running: CountLine,
    dead: CountLine,
}

#[derive(Serialize)]
struct CountLine {
    number: u64,
    oldest_seconds: Option<f64>,
}

impl<'l> Line<'l> {
    pub(super) fn new(status: &'l InboxStatus) -> Self {
        let count_line = |BacklogCount { number, oldest, .. }| CountLine {
            number,
            oldest_seconds: oldest.map(|age: Duration| age.as_millis() as f64 / 1_000.0),
        };
        let handler_line = |handler: &'l HandlerStatus| HandlerLine {
            handler: &handler.handler,
            due: handler.due,
            waiting: count_line(handler.waiting),
            running: count_line(handler.running),
            dead: count_line(handler.dead),
        };
        Self {
            events: status.events,
            unhandled: status.unhandled,
            finished: status.finished,
            handlers: status.handlers.iter().map(handler_line).collect(),
        }
    }
}

/// Formats the status as the lines of a table.
pub(super) fn table(status: &InboxStatus) -> Vec<String> {
    if status.events == 0 {
        return vec!["the inbox is empty".to_owned()];
    }
    let name_widths = status.handlers.iter().map(|handler| handler.handler.chars().count());
    let width = name_widths.max().unwrap_or(0).max(7);
    let mut lines = Vec::new();
    if !status.handlers.is_empty() {
        let header = format!(
            "{:width$}  {:>8}  {:>8}  {:>8}  {:>8}  {:>6}",
            "handler", "due", "waiting", "running", "dead", "oldest"
        );
        lines.push(styled(DIM, header));
    }
    for handler in &status.handlers {
        let cell = |number: u64, style| match number {
            0 => styled(DIM, format_args!("{:>8}", "-")),
            some => styled(style, format_args!("{some:>8}")),
        };
        let plain = anstyle::Style::new();
        let oldest = oldest_open(handler).map(short_duration).unwrap_or_default();
        let line = format!(
            "{:width$}  {}  {}  {}  {}  {oldest:>6}",
            handler.handler,
            cell(handler.due, WARNING),
            cell(handler.waiting.number, plain),
            cell(handler.running.number, plain),
            cell(handler.dead.number, FAILURE),
        );
        lines.push(line.trim_end().to_owned());
    }
    lines.push(String::new());
    let unhandled = match status.unhandled {
        0 => String::new(),
        some => format!(", {some} unhandled"),
    };
    lines.push(format!("{}{unhandled}", count(status.events, "event")));
    lines.push(format!(
        "{} finished (done, ignored or discarded)",
        count(status.finished, "delivery")
    ));
    lines
}

/// Returns the next steps that the status calls for.
fn hints(status: &InboxStatus) -> Vec<String> {
    let mut hints = Vec::new();
    let totals = totals(status);
    let is_late = |handler: &HandlerStatus| {
        handler.due > 0 && oldest_open(handler).is_some_and(|age| age > Duration::from_secs(10))
    };
    let late = status.handlers.iter().filter(|handler| is_late(handler));
    let late: Vec<&str> = late.map(|handler| &*handler.handler).collect();
    if !late.is_empty() && totals.running == 0 {
        hints.push(format!(
            "deliveries are due for {}, but none is running: start a server that has these handlers",
            late.join(", ")
        ));
    }
    if totals.dead > 0 {
        hints.push(format!(
            "{} will not be retried automatically: `event-router inbox list --state dead` shows why; \
             then run `retry`, `replay` or `discard`",
            count(totals.dead, "dead letter")
        ));
    }
    if status.unhandled > 0 {
        hints.push(format!(
            "no handler matched {}: see `event-router inbox list --state unhandled`; \
             `event-router inbox replay EVENT --handler NAME` delivers one to a handler",
            count(status.unhandled, "event")
        ));
    }
    hints
}

/// Returns the age of the oldest event that has a waiting or running delivery for the handler.
fn oldest_open(handler: &HandlerStatus) -> Option<Duration> {
    handler.waiting.oldest.max(handler.running.oldest)
}
