//! `inbox purge`: what ended long ago is deleted.

use std::time::Duration;

use clap::Args;
use router_inbox::{
    Operations,
    operations::{EventSelector, MIN_RETENTION},
};
use serde_json::json;

use super::{
    batches::{Confirm, in_batches, stopped},
    store::failed,
    words::count,
};
use crate::{
    error::{Error, Exit},
    output::Output,
};

/// Delete the events that ended long ago; never dead letters
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox purge --older-than 30days
  event-router inbox purge --older-than 90days --yes    # for cron

An event is deleted, with its replays, once each of its deliveries has been done, ignored or
discarded for so long; one that no handler was for, once it came so long ago. Four days is the
least: Stripe sends an event again for three days, and one that is not known any more would be
handled once more. The room is used again, but a file does not get smaller.

With --json: {\"deleted\", \"kept\"}.")]
pub(super) struct Purge {
    /// How long they are kept, as in `30days`; four days at least.
    #[arg(long, value_name = "TIME", value_parser = older_than)]
    older_than: Duration,

    #[command(flatten)]
    confirm: Confirm,
}

fn older_than(text: &str) -> Result<Duration, String> {
    let older_than = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if older_than < MIN_RETENTION {
        return Err("four days is the least: Stripe sends an event again for three days, and one that is not known any \
                    more would be handled once more"
            .to_owned());
    }
    Ok(older_than)
}

/// So many at a time.
const BATCH: usize = 500;

impl Purge {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let old = EventSelector { until: Some(self.older_than), ..EventSelector::default() };
        let old = store.select(&old).await.map_err(failed)?;
        let what = format!(
            "about to delete, of {} that came more than {} ago, those that ended before then; what is dead or open stays",
            count(old.len() as u64, "event"),
            humantime::format_duration(self.older_than),
        );
        if !old.is_empty() && !self.confirm.ask(&what, output)? {
            return Ok(Exit::Refused);
        }
        let (mut deleted, mut looked_at) = (0, 0);
        let is_all = in_batches(&old, BATCH, output, async |batch| {
            deleted += store.purge(batch, self.older_than).await.map_err(failed)?;
            looked_at += batch.len();
            Ok(())
        })
        .await?;
        let kept = looked_at as u64 - deleted;
        match output.json {
            true => output.json(&json!({"deleted": deleted, "kept": kept}))?,
            false => output.line(format_args!("{} deleted", count(deleted, "event")))?,
        }
        if !is_all {
            output.note(stopped(old.len(), looked_at));
        } else if !output.json && kept > 0 {
            let stays = if kept == 1 { "stays" } else { "stay" };
            let events = count(kept, "event");
            output
                .line(format_args!("{events} as old {stays}: dead, still open, or ended since"))?;
        }
        Ok(if is_all { Exit::Done } else { Exit::Stopped })
    }
}
