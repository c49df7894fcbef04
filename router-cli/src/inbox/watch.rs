//! `inbox watch`: prints the status periodically.

use std::{
    io::{self, IsTerminal as _},
    pin::pin,
    time::Duration,
};

use clap::Args;
use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{operations::InboxStatus, store::Operations};
use serde::Serialize;
use tokio::signal::ctrl_c;

use super::{
    format::{count, rfc3339},
    status::{Line, Totals, missing_workers, table, totals},
    store::within_limit,
};
use crate::{
    error::{Error, Exit},
    output::{Output, WARNING, styled},
};

/// Refresh the status every second, until Ctrl-C
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox watch
  event-router inbox watch --every 1min >> inbox.log

On a terminal, redraws the table of `inbox status`. Otherwise prints one line per refresh, with the
totals of all handlers and the number of running workers.

With --json, prints the object of `inbox status --json` and its time: {\"at\", \"events\", …}.")]
pub(super) struct WatchArgs {
    /// Refresh interval, as in `5s`; at least 100ms.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_interval)]
    every: Duration,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(interval) if interval >= Duration::from_millis(100) => Ok(interval),
        Ok(_) => Err("the minimum is 100ms".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Serialize)]
struct TimedLine<'l> {
    at: String,
    #[serde(flatten)]
    status: Line<'l>,
}

impl WatchArgs {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let mut interrupted = pin!(ctrl_c());
        let is_screen = io::stdout().is_terminal() && !output.json;
        let mut next = SystemClock.monotonic();
        let mut previous: Option<InboxStatus> = None;
        loop {
            let status = within_limit(store.status()).await?;
            let now = rfc3339(SystemClock.wall());
            if output.json {
                output.json(&TimedLine { at: now, status: Line::new(&status) })?;
            } else if is_screen {
                output.line(screen(&status, previous.as_ref()))?;
            } else {
                output.line(format_args!("{now}  {}", totals_line(&status)))?;
            }
            previous = Some(status);
            next = next.max(SystemClock.monotonic()) + self.every;
            tokio::select! {
                () = SystemClock.sleep_until(next) => {}
                _ = &mut interrupted => return Ok(Exit::Success),
            }
        }
    }
}

/// Formats the table so that it overwrites the previous one.
///
/// Moves the cursor to the first line, clears each line behind its text, and clears the rest of the
/// screen. Only the first table clears the whole screen, so that the others do not flicker.
fn screen(status: &InboxStatus, previous: Option<&InboxStatus>) -> String {
    let mut lines = table(status);
    lines.extend(missing_workers(status).map(|missing| styled(WARNING, missing)));
    lines.push(changes_since(status, previous.unwrap_or(status)));
    let start = if previous.is_none() { "\x1b[2J\x1b[H" } else { "\x1b[H" };
    let lines: Vec<_> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
    format!("{start}{}\x1b[J", lines.join("\n"))
}

fn changes_since(status: &InboxStatus, previous: &InboxStatus) -> String {
    format!(
        "since the last refresh: {} received, {} finished",
        count(status.events.saturating_sub(previous.events), "event"),
        count(status.finished.saturating_sub(previous.finished), "delivery")
    )
}

fn totals_line(status: &InboxStatus) -> String {
    let Totals { due, waiting, running, dead } = totals(status);
    let InboxStatus { events, unhandled, finished, workers, paused, .. } = status;
    let mut line = format!(
        "due {due}  waiting {waiting}  running {running}  dead {dead}  finished {finished}  events {events}  \
         unhandled {unhandled}"
    );
    if let Some(workers) = workers {
        line.push_str(&format!("  workers {}", workers.len()));
    }
    if !paused.is_empty() {
        line.push_str(&format!("  paused {}", paused.len()));
    }
    line
}
