//! `inbox purge`: deletes events that finished long ago.

use std::time::Duration;

use clap::Args;
use router_inbox::{
    operations::{EventSelector, MIN_RETENTION},
    store::Operations,
};
use serde_json::json;

use super::{
    batches::{Confirm, in_batches, interrupted},
    format::count,
    store::within_limit,
};
use crate::{
    error::{Error, Exit},
    output::Output,
    progress::bar,
};

/// Delete events that finished long ago, except dead letters
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox purge --older-than 30days
  event-router inbox purge --older-than 90days --yes    # for cron

An event is deleted, with its replays, once all of its deliveries have been done, ignored or
discarded for that long. An unhandled event is deleted once it was received that long ago. Events
with dead, waiting or running deliveries are kept.

The minimum is 4 days: Stripe redelivers an event for up to 3 days, and the inbox recognizes a
duplicate only while it stores the event. A SQLite file does not shrink; its free space is reused.

With --json, prints one object: {\"deleted\", \"kept\"}.")]
pub(super) struct PurgeArgs {
    /// Minimum age, as in `30days`; at least 4 days.
    #[arg(long, value_name = "DURATION", value_parser = parse_older_than)]
    older_than: Duration,

    #[command(flatten)]
    confirm: Confirm,
}

fn parse_older_than(text: &str) -> Result<Duration, String> {
    let older_than = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if older_than < MIN_RETENTION {
        return Err("the minimum is 4 days: Stripe redelivers an event for up to 3 days, and the inbox would \
                    no longer recognize it as a duplicate"
            .to_owned());
    }
    Ok(older_than)
}

const BATCH_SIZE: usize = 500;

impl PurgeArgs {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let selection =
            EventSelector { min_age: Some(self.older_than), ..EventSelector::default() };
        let events = within_limit(store.select(&selection)).await?;
        let change = format!(
            "about to purge {} received more than {} ago, except those that are dead, still open or \
             finished since",
            count(events.len() as u64, "event"),
            humantime::format_duration(self.older_than),
        );
        if !events.is_empty() && !self.confirm.ask(&change, output)? {
            return Ok(Exit::Failure);
        }
        let (mut deleted, mut processed) = (0, 0);
        let bar = bar(events.len(), output);
        let is_complete = in_batches(&events, BATCH_SIZE, &bar, async |batch| {
            deleted += within_limit(store.purge(batch, self.older_than)).await?;
            processed += batch.len();
            Ok(())
        })
        .await?;
        let kept = processed as u64 - deleted;
        match output.json {
            true => output.json(&json!({"deleted": deleted, "kept": kept}))?,
            false => output.line(format_args!("{} deleted", count(deleted, "event")))?,
        }
        if !is_complete {
            output.note(interrupted(events.len(), processed, "event"));
        } else if !output.json && kept > 0 {
            output.line(format_args!(
                "{} kept: dead, still open or finished since",
                count(kept, "event")
            ))?;
        }
        Ok(if is_complete { Exit::Success } else { Exit::Interrupted })
    }
}
