//! Changes to many events: confirmed first, made in batches, and stopped by Ctrl-C.

use std::{future::ready, io, pin::pin, time::Duration};

use clap::Args;
use indicatif::ProgressBar;
use router_core::clock::{Clock as _, SystemClock};
use tokio::signal::ctrl_c;

use super::format::count;
use crate::{
    error::Error,
    output::{Output, WARNING, is_interactive},
};

/// The confirmation of a change.
#[derive(Args)]
pub(super) struct Confirm {
    /// Do not ask for confirmation.
    #[arg(long, short)]
    yes: bool,
}

impl Confirm {
    /// Announces a change and asks whether to make it. Returns `true` at once with `--yes`.
    ///
    /// # Errors
    ///
    /// Fails if there is no terminal to ask on and `--yes` is not given.
    pub(super) fn ask(&self, change: &str, output: &mut Output) -> Result<bool, Error> {
        if self.yes {
            return Ok(true);
        }
        if !is_interactive() {
            return Err(Error::Usage(format!(
                "{change}: standard input is not a terminal; pass --yes to confirm"
            )));
        }
        output.note(format_args!("{change}. {WARNING}Continue? [y/N]{WARNING:#}"));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        let is_yes = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
        if !is_yes {
            output.note("canceled; nothing was changed");
        }
        Ok(is_yes)
    }
}

/// The pause between two batches: the longest interval at which SQLite's busy handler retries to
/// get the write lock.
const BATCH_PAUSE: Duration = Duration::from_millis(100);

/// Applies a change to all items in batches, with a progress bar, which it clears at the end.
/// Returns `false` if Ctrl-C stopped it.
///
/// Pauses between two batches, so that a server can store the events that Stripe sends meanwhile.
pub(super) async fn in_batches<T>(
    items: &[T],
    size: usize,
    bar: &ProgressBar,
    change: impl AsyncFnMut(&[T]) -> Result<(), Error>,
) -> Result<bool, Error> {
    let is_complete = run_batches(items, size, bar, change).await;
    bar.finish_and_clear();
    is_complete
}

async fn run_batches<T>(
    items: &[T],
    size: usize,
    bar: &ProgressBar,
    mut change: impl AsyncFnMut(&[T]) -> Result<(), Error>,
) -> Result<bool, Error> {
    let mut interrupted = pin!(ctrl_c());
    // The first poll installs the handler of the signal. Without it, Ctrl-C during the first batch
    // would end the process before it has printed the changes.
    tokio::select! {
        biased;
        _ = &mut interrupted => return Ok(false),
        () = ready(()) => {}
    }
    for batch in items.chunks(size) {
        change(batch).await?;
        bar.inc(batch.len() as u64);
        if bar.position() < items.len() as u64 {
            tokio::select! {
                _ = &mut interrupted => return Ok(false),
                () = SystemClock.sleep(BATCH_PAUSE) => {}
            }
        }
    }
    Ok(true)
}

/// Prints the numbers of items that were not changed, each with the reason. `outcome` is a
/// participle, such as `unchanged`.
pub(super) fn print_reasons<const N: usize>(
    numbers: [(u64, &str); N],
    noun: &str,
    outcome: &str,
    output: &mut Output,
) -> Result<(), Error> {
    for (number, why) in numbers.into_iter().filter(|(number, _)| *number > 0) {
        output.line(format_args!("{} {outcome}: {why}", count(number, noun)))?;
    }
    Ok(())
}

/// Describes a run that Ctrl-C stopped.
pub(super) fn interrupted(total: usize, processed: usize, noun: &str) -> String {
    let all = count(total as u64, noun);
    format!("{WARNING}interrupted:{WARNING:#} {} of {all} were not processed", total - processed)
}
