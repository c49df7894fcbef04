//! What is done to many events: asked for before, in short turns, and until Ctrl-C.

use std::{io, pin::pin, time::Duration};

use clap::Args;
use router_core::clock::{Clock as _, SystemClock};
use tokio::signal::ctrl_c;

use crate::{
    error::Error,
    output::{DOUBTFUL, Output, is_attended},
    progress::bar,
};

/// Whether somebody has said that it is to be done.
#[derive(Args)]
pub(super) struct Confirm {
    /// Do it without asking.
    #[arg(long, short)]
    yes: bool,
}

impl Confirm {
    /// Says what is to be done, and asks whether it is to be. Where nobody can answer, `--yes` has to.
    pub(super) fn ask(&self, what: &str, output: &mut Output) -> Result<bool, Error> {
        if self.yes {
            return Ok(true);
        }
        if !is_attended() {
            return Err(Error::Usage(format!(
                "{what}: nobody can be asked here, so say --yes if that is right"
            )));
        }
        output.note(format_args!("{what}. {DOUBTFUL}Go on? Type y and Enter:{DOUBTFUL:#}"));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        let is_yes = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
        if !is_yes {
            output.note("nothing was changed");
        }
        Ok(is_yes)
    }
}

/// The longest that SQLite waits until it looks again whether it may write.
const TURN: Duration = Duration::from_millis(100);

/// Does something to all events, so many at a time, with a bar where they are many; whether it came to the end.
///
/// Between two turns a server gets its own: an event that Stripe sends must not wait.
pub(super) async fn in_batches(
    events: &[i64],
    size: usize,
    output: &Output,
    mut each: impl AsyncFnMut(&[i64]) -> Result<(), Error>,
) -> Result<bool, Error> {
    let bar = bar(events.len(), output);
    let mut interrupted = pin!(ctrl_c());
    for batch in events.chunks(size) {
        each(batch).await?;
        bar.inc(batch.len() as u64);
        if bar.position() < events.len() as u64 {
            tokio::select! {
                _ = &mut interrupted => {
                    bar.finish_and_clear();
                    return Ok(false);
                }
                () = SystemClock.sleep(TURN) => {}
            }
        }
    }
    bar.finish_and_clear();
    Ok(true)
}

/// What is told where Ctrl-C came before the end.
pub(super) fn stopped(all: usize, reached: usize) -> String {
    format!("{DOUBTFUL}stopped:{DOUBTFUL:#} {} of {all} were not reached", all - reached)
}
