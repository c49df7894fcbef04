//! `inbox watch`: the status, again and again.

use std::{
    io::{self, IsTerminal as _},
    pin::pin,
    time::Duration,
};

use clap::Args;
use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{Operations, operations::InboxStatus};
use serde::Serialize;
use tokio::signal::ctrl_c;

use super::{
    status::{Line, Sums, sums, table},
    store::failed,
    words::{count, rfc3339},
};
use crate::{
    error::{Error, Exit},
    output::Output,
};

/// Show the status anew every second, until Ctrl-C
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox watch
  event-router inbox watch --every 1min >> inbox.log

On a terminal, the table of `status`. Elsewhere, a line each time, with the sums of all
handlers.

With --json, what `status --json` prints, and when: {\"at\", \"events\", …}.")]
pub(super) struct Watch {
    /// How often, as in `5s`.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = every)]
    every: Duration,
}

fn every(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(every) if every >= Duration::from_millis(100) => Ok(every),
        Ok(_) => Err("100ms is the least".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Serialize)]
struct AtLine<'l> {
    at: String,
    #[serde(flatten)]
    status: Line<'l>,
}

impl Watch {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let mut interrupted = pin!(ctrl_c());
        let is_screen = io::stdout().is_terminal() && !output.json;
        let mut next = SystemClock.monotonic();
        let mut last: Option<InboxStatus> = None;
        loop {
            let status = store.status().await.map_err(failed)?;
            let now = rfc3339(SystemClock.wall());
            if output.json {
                output.json(&AtLine { at: now, status: Line::of(&status) })?;
            } else if is_screen {
                output.line(screen(&status, last.as_ref()))?;
            } else {
                output.line(format_args!("{now}  {}", sums_of(&status)))?;
            }
            last = Some(status);
            next = next.max(SystemClock.monotonic()) + self.every;
            tokio::select! {
                () = SystemClock.sleep_until(next) => {}
                _ = &mut interrupted => return Ok(Exit::Done),
            }
        }
    }
}

/// The table in place of the one before: from the first line on, each to its end, and nothing below.
fn screen(status: &InboxStatus, last: Option<&InboxStatus>) -> String {
    let mut lines = table(status);
    lines.push(since(status, last.unwrap_or(status)));
    let begin = if last.is_none() { "\x1b[2J\x1b[H" } else { "\x1b[H" };
    let lines: Vec<_> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
    format!("{begin}{}\x1b[J", lines.join("\n"))
}

fn since(status: &InboxStatus, last: &InboxStatus) -> String {
    format!(
        "since the last look: {} came, {} finished",
        count(status.events.saturating_sub(last.events), "event"),
        count(status.finished.saturating_sub(last.finished), "delivery")
    )
}

fn sums_of(status: &InboxStatus) -> String {
    let Sums { due, waiting, running, dead } = sums(status);
    let InboxStatus { events, unhandled, finished, .. } = status;
    format!(
        "due {due}  waiting {waiting}  running {running}  dead {dead}  finished {finished}  events {events}  \
         unhandled {unhandled}"
    )
}
