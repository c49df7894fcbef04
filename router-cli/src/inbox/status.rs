//! `inbox status`: counts deliveries by handler and state, lists the workers, and suggests the next
//! steps.

use std::time::Duration;

use clap::Args;
use router_inbox::{
    operations::{BacklogCount, HandlerStatus, InboxStatus},
    store::{Operations, PausedHandler, WorkerInfo},
};
use serde::Serialize;

use super::{
    format::{ago, count, rfc3339, short_duration},
    store::within_limit,
};
use crate::{
    error::{Error, Exit},
    output::{DIM, FAILURE, Output, WARNING, sanitize, styled},
};

/// Count deliveries by handler, and list the paused handlers and the running workers
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox status
  event-router inbox status --json | jq '.handlers[] | select(.dead.number > 0)'

`due` counts the deliveries that could run now. `late` is the time for which the first of them has
been due, if that is more than 5 seconds: a worker usually starts it within one. If `late` grows, no
worker has the handler, or its workers are busy. `oldest` is the age of the oldest waiting or running
delivery's event. If it keeps growing and nothing is late, the handler fails. Deliveries of a handler
that is marked as `paused` wait until you resume it.

With --json, prints one object: {\"events\", \"unhandled\", \"finished\", \"handlers\": [{\"handler\",
\"due\", \"oldest_due_seconds\", \"waiting\": {\"number\", \"oldest_seconds\"}, \"running\", \"dead\",
\"paused\"}], \"workers\": [{\"name\", \"handlers\"}], \"paused\": [{\"handler\", \"paused_at\", \"note\"}]}.
\"running\" and \"dead\" have the same fields as \"waiting\".")]
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

/// Maximum delay of a due delivery that is not shown as late. A worker with free slots starts a due
/// delivery within its poll interval, which is one second by default.
const MAX_USUAL_DELAY: Duration = Duration::from_secs(5);

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
    workers: Option<Vec<WorkerLine<'l>>>,
    paused: Vec<PausedLine<'l>>,
}

#[derive(Serialize)]
struct PausedLine<'l> {
    handler: &'l str,
    paused_at: String,
    note: Option<&'l str>,
}

#[derive(Serialize)]
struct WorkerLine<'l> {
    name: &'l str,
    handlers: Vec<&'l str>,
}

#[derive(Serialize)]
struct HandlerLine<'l> {
    handler: &'l str,
    due: u64,
    oldest_due_seconds: Option<f64>,
    waiting: CountLine,
    running: CountLine,
    dead: CountLine,
    paused: bool,
}

#[derive(Serialize)]
struct CountLine {
    number: u64,
    oldest_seconds: Option<f64>,
}

impl<'l> Line<'l> {
    pub(super) fn new(status: &'l InboxStatus) -> Self {
        let seconds = |age: Duration| age.as_millis() as f64 / 1_000.0;
        let count_line = |BacklogCount { number, oldest, .. }| CountLine {
            number,
            oldest_seconds: oldest.map(seconds),
        };
        let worker_line = |worker: &'l WorkerInfo| WorkerLine {
            name: &worker.name,
            handlers: worker.handlers.iter().map(|handler| &**handler).collect(),
        };
        let handler_line = |handler: &'l HandlerStatus| HandlerLine {
            handler: &handler.handler,
            due: handler.due,
            oldest_due_seconds: handler.oldest_due.map(seconds),
            waiting: count_line(handler.waiting),
            running: count_line(handler.running),
            dead: count_line(handler.dead),
            paused: is_paused(status, handler),
        };
        let paused_line = |paused: &'l PausedHandler| PausedLine {
            handler: &paused.handler,
            paused_at: rfc3339(paused.paused_at),
            note: paused.note.as_deref(),
        };
        Self {
            events: status.events,
            unhandled: status.unhandled,
            finished: status.finished,
            handlers: status.handlers.iter().map(handler_line).collect(),
            workers: status.workers.as_ref().map(|all| all.iter().map(worker_line).collect()),
            paused: status.paused.iter().map(paused_line).collect(),
        }
    }
}

/// Formats the status as the lines of a table.
pub(super) fn table(status: &InboxStatus) -> Vec<String> {
    let mut lines =
        if status.events == 0 { vec!["the inbox is empty".to_owned()] } else { deliveries(status) };
    lines.extend(paused_lines(&status.paused));
    if let Some(workers) = &status.workers {
        lines.extend(worker_lines(workers));
    }
    lines
}

/// Formats the number of paused handlers, and a line for each, if there are any.
fn paused_lines(paused: &[PausedHandler]) -> Vec<String> {
    let total = format!("{} paused", count(paused.len() as u64, "handler"));
    let width = paused.iter().map(|paused| paused.handler.chars().count()).max().unwrap_or(0);
    let line = |PausedHandler { handler, paused_at, note, .. }: &PausedHandler| {
        let note = note.as_ref().map(|note| format!(": {}", sanitize(note))).unwrap_or_default();
        format!("  {:width$}  {}{note}", sanitize(handler), ago(*paused_at))
    };
    let total = (!paused.is_empty()).then(|| styled(WARNING, total));
    total.into_iter().chain(paused.iter().map(line)).collect()
}

/// Formats the number of running workers, and a line for each.
fn worker_lines(workers: &[WorkerInfo]) -> Vec<String> {
    let style = if workers.is_empty() { WARNING } else { anstyle::Style::new() };
    let total = format!("{} running", count(workers.len() as u64, "worker"));
    let width = workers.iter().map(|worker| worker.name.chars().count()).max().unwrap_or(0);
    let worker = |WorkerInfo { name, handlers, .. }: &WorkerInfo| {
        format!("  {:width$}  {}", sanitize(name), count(handlers.len() as u64, "handler"))
    };
    [styled(style, total)].into_iter().chain(workers.iter().map(worker)).collect()
}

/// Formats the deliveries of each handler, and the totals.
fn deliveries(status: &InboxStatus) -> Vec<String> {
    let name_widths = status.handlers.iter().map(|handler| handler.handler.chars().count());
    let width = name_widths.max().unwrap_or(0).max(7);
    let mut lines = Vec::new();
    if !status.handlers.is_empty() {
        let header = format!(
            "{:width$}  {:>8}  {:>6}  {:>8}  {:>8}  {:>8}  {:>6}",
            "handler", "due", "late", "waiting", "running", "dead", "oldest"
        );
        lines.push(styled(DIM, header));
    }
    for handler in &status.handlers {
        let cell = |number: u64, style| match number {
            0 => styled(DIM, format_args!("{:>8}", "-")),
            some => styled(style, format_args!("{some:>8}")),
        };
        let is_paused = is_paused(status, handler);
        let late_style = if is_paused { WARNING } else { FAILURE };
        let late = match handler.oldest_due.filter(|age| *age > MAX_USUAL_DELAY) {
            None => styled(DIM, format_args!("{:>6}", "-")),
            Some(age) => styled(late_style, format_args!("{:>6}", short_duration(age))),
        };
        let mark = if is_paused { styled(WARNING, "  paused") } else { String::new() };
        let plain = anstyle::Style::new();
        let oldest = oldest_open(handler).map(short_duration).unwrap_or_default();
        let line = format!(
            "{:width$}  {}  {late}  {}  {}  {}  {oldest:>6}{mark}",
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
    let dead = totals(status).dead;
    if dead > 0 {
        hints.push(format!(
            "{} will not be retried automatically: `event-router inbox list --state dead` shows why; \
             then run `retry`, `replay` or `discard`",
            count(dead, "dead letter")
        ));
    }
    if status.unhandled > 0 {
        hints.push(format!(
            "no handler matched {}: see `event-router inbox list --state unhandled`; \
             `event-router inbox replay EVENT --handler NAME` delivers one to a handler",
            count(status.unhandled, "event")
        ));
    }
    if !status.paused.is_empty() {
        let hint = "deliveries of paused handlers wait until `event-router inbox resume HANDLER`";
        hints.push(hint.to_owned());
    }
    hints.extend(missing_workers(status));
    hints
}

/// Returns the next step if no worker is running, or if no running worker has a handler with
/// unfinished deliveries. Paused handlers need no worker.
pub(super) fn missing_workers(status: &InboxStatus) -> Option<String> {
    let workers = status.workers.as_ref()?;
    let is_open = |handler: &HandlerStatus| {
        handler.waiting.number + handler.running.number > 0 && !is_paused(status, handler)
    };
    if workers.is_empty() && status.handlers.iter().any(is_open) {
        return Some(
            "no worker is running: start the program that calls `inbox.worker(…).run(…)`"
                .to_owned(),
        );
    }
    let is_missing = |status: &&HandlerStatus| {
        is_open(status) && !workers.iter().any(|worker| worker.has_handler(&status.handler))
    };
    let missing = status.handlers.iter().filter(is_missing);
    let missing: Vec<_> = missing.map(|status| sanitize(&status.handler)).collect();
    match &missing[..] {
        [] => None,
        [name] => Some(format!(
            "no running worker has the handler `{name}`: start the program that has it. If the handler was renamed, \
             add `formerly = \"{name}\"` to it; if it was removed, `event-router inbox list --handler {name}` shows \
             the deliveries to discard"
        )),
        names => Some(format!(
            "no running worker has the handlers `{}`: start the program that has them. If one was renamed, add \
             `formerly` to it; if one was removed, `event-router inbox list --handler NAME` shows the deliveries to \
             discard",
            names.join("`, `")
        )),
    }
}

fn is_paused(status: &InboxStatus, handler: &HandlerStatus) -> bool {
    status.paused.iter().any(|paused| paused.handler == handler.handler)
}

/// Returns the age of the oldest event that has a waiting or running delivery for the handler.
fn oldest_open(handler: &HandlerStatus) -> Option<Duration> {
    handler.waiting.oldest.max(handler.running.oldest)
}
