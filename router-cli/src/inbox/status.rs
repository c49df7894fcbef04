//! `inbox status`: how much there is, and what is in need of somebody.

use std::time::Duration;

use clap::Args;
use router_inbox::{
    Operations,
    operations::{BacklogCount, HandlerStatus, InboxStatus as Told},
};
use serde::Serialize;

use super::{
    store::failed,
    words::{count, short},
};
use crate::{
    error::{Error, Exit},
    output::{BAD, DIM, DOUBTFUL, Output, styled},
};

/// BacklogCount what waits, runs and is dead, for each handler
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox status
  event-router inbox status --json | jq '.handlers[] | select(.dead.number > 0)'

Due is what could run now and does not yet. Oldest is the age of the oldest event that waits or
runs: one that grows says that no server runs the handler, or that it fails.

With --json: {\"events\", \"unhandled\", \"finished\", \"handlers\": [{\"handler\", \"due\",
\"waiting\": {\"number\", \"oldest_seconds\"}, \"running\", \"dead\"}]}.")]
pub(super) struct Status {}

impl Status {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let status = store.status().await.map_err(failed)?;
        if output.json {
            output.json(&Line::of(&status))?;
            return Ok(Exit::Done);
        }
        for line in table(&status) {
            output.line(line)?;
        }
        for hint in hints(&status) {
            output.note(format_args!("{DOUBTFUL}help:{DOUBTFUL:#} {hint}"));
        }
        Ok(Exit::Done)
    }
}

/// Of all handlers.
pub(super) struct Sums {
    pub(super) due: u64,
    pub(super) waiting: u64,
    pub(super) running: u64,
    pub(super) dead: u64,
}

pub(super) fn sums(status: &Told) -> Sums {
    let sum = |of: fn(&HandlerStatus) -> u64| status.handlers.iter().map(of).sum();
    Sums {
        due: sum(|handler| handler.due),
        waiting: sum(|handler| handler.waiting.number),
        running: sum(|handler| handler.running.number),
        dead: sum(|handler| handler.dead.number),
    }
}

/// For programs.
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
    pub(super) fn of(status: &'l Told) -> Self {
        let count = |BacklogCount { number, oldest }| CountLine {
            number,
            oldest_seconds: oldest.map(|age: Duration| age.as_millis() as f64 / 1_000.0),
        };
        let handler = |of: &'l HandlerStatus| HandlerLine {
            handler: &of.handler,
            due: of.due,
            waiting: count(of.waiting),
            running: count(of.running),
            dead: count(of.dead),
        };
        Self {
            events: status.events,
            unhandled: status.unhandled,
            finished: status.finished,
            handlers: status.handlers.iter().map(handler).collect(),
        }
    }
}

/// For people.
pub(super) fn table(status: &Told) -> Vec<String> {
    if status.events == 0 {
        return vec!["nothing has been stored yet".to_owned()];
    }
    let width =
        status.handlers.iter().map(|of| of.handler.chars().count()).max().unwrap_or(0).max(7);
    let mut lines = Vec::new();
    if !status.handlers.is_empty() {
        let head = format!(
            "{:width$}  {:>8}  {:>8}  {:>8}  {:>8}  {:>6}",
            "handler", "due", "waiting", "running", "dead", "oldest"
        );
        lines.push(styled(DIM, head));
    }
    for handler in &status.handlers {
        let number = |number: u64, style| match number {
            0 => styled(DIM, format_args!("{:>8}", "-")),
            some => styled(style, format_args!("{some:>8}")),
        };
        let plain = anstyle::Style::new();
        let oldest = oldest(handler).map(short).unwrap_or_default();
        let line = format!(
            "{:width$}  {}  {}  {}  {}  {oldest:>6}",
            handler.handler,
            number(handler.due, DOUBTFUL),
            number(handler.waiting.number, plain),
            number(handler.running.number, plain),
            number(handler.dead.number, BAD),
        );
        lines.push(line.trim_end().to_owned());
    }
    lines.push(String::new());
    let unhandled = match status.unhandled {
        0 => String::new(),
        some => format!(", {some} of them for no handler"),
    };
    lines.push(format!("{}{unhandled}", count(status.events, "event")));
    lines.push(format!(
        "{} finished: done, ignored or discarded",
        count(status.finished, "delivery")
    ));
    lines
}

/// What to do next.
fn hints(status: &Told) -> Vec<String> {
    let mut hints = Vec::new();
    let sums = sums(status);
    let is_late = |handler: &HandlerStatus| {
        handler.due > 0 && oldest(handler).is_some_and(|age| age > Duration::from_secs(10))
    };
    let late: Vec<&str> =
        status.handlers.iter().filter(|of| is_late(of)).map(|of| &*of.handler).collect();
    if !late.is_empty() && sums.running == 0 {
        hints.push(format!("nothing runs, and there is something due for {}: is a server up that has these handlers?", late.join(", ")));
    }
    if sums.dead > 0 {
        hints.push(format!(
            "{} will not be tried again by itself: `event-router inbox list --state dead` says why; then `retry`, \
             `replay` or `discard`",
            count(sums.dead, "dead letter")
        ));
    }
    if status.unhandled > 0 {
        hints.push(format!(
            "{} came that no handler was for: `event-router inbox list --state unhandled`; `replay ID --handler NAME` \
             gives one to a handler",
            count(status.unhandled, "event")
        ));
    }
    hints
}

/// Of what is open.
fn oldest(handler: &HandlerStatus) -> Option<Duration> {
    handler.waiting.oldest.max(handler.running.oldest)
}
