//! `inbox retry` and `inbox discard`: what becomes of deliveries that have failed.

use clap::Args;
use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{
    DeliveryState, Operations,
    operations::{ChangeOutcome, ChangeResult, DeliverySummary, EventDetails},
};
use serde::Serialize;

use super::{
    batches::Confirm,
    show::of_event,
    store::failed,
    words::{count, state, tried},
};
use crate::{
    error::{Error, Exit},
    output::{DIM, DOUBTFUL, GOOD, Output, plain, styled},
};

/// Have deliveries that are dead, discarded or waiting tried again now
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox retry evt_1NG8Du2eZvKYlo2CUI79vXWy
  event-router inbox retry evt_1NG8Du2eZvKYlo2CUI79vXWy --handler orders.fulfil
  event-router inbox list --state dead --limit 1000 --json | jq -r .event | sort -u |
    xargs event-router inbox retry

One that was dead or discarded gets all of its attempts anew. One that runs is left alone, and
so is one that is done: `replay` has it handled once more. Ends with 1 where there was nothing
to retry.

With --json, a line for each delivery: {\"event\", \"endpoint\", \"account\", \"generation\", \"handler\",
\"was\", \"attempts\", \"changed\"}.")]
pub(super) struct Retry {
    #[command(flatten)]
    which: Which,
}

/// Give up deliveries that are dead or waiting
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox discard evt_1NG8Du2eZvKYlo2CUI79vXWy
  event-router inbox discard evt_1NG8Du2eZvKYlo2CUI79vXWy --handler orders.fulfil --yes

The event is kept until it is purged, and `retry` takes a discarded delivery up again. Where a
handler is given the events of an object in order, the next one goes. One that runs is left
alone. Ends with 1 where there was nothing to discard.

With --json, a line for each delivery: {\"event\", \"endpoint\", \"account\", \"generation\", \"handler\",
\"was\", \"attempts\", \"changed\"}.")]
pub(super) struct Discard {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Args)]
struct Which {
    /// The events' ids.
    #[arg(required = true, value_name = "EVENT")]
    ids: Vec<String>,

    /// Only for this handler, by its stable name.
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
}

#[derive(Serialize)]
struct Line<'l> {
    event: &'l str,
    endpoint: &'l str,
    account: Option<&'l str>,
    generation: u32,
    handler: &'l str,
    was: &'static str,
    attempts: u32,
    changed: bool,
}

impl Retry {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        self.which.check(store).await?;
        let mut is_any = false;
        for id in &self.which.ids {
            let changed = store.retry(id, self.which.handler.as_deref()).await.map_err(failed)?;
            is_any |= tell(id, &changed, "retried", output)?;
            if !output.json
                && changed.iter().all(|one| one.change == ChangeOutcome::AlreadyFinished)
            {
                output.note(format_args!(
                    "{DOUBTFUL}help:{DOUBTFUL:#} `event-router inbox replay {id}` has it handled once more"
                ));
            }
        }
        Ok(if is_any { Exit::Done } else { Exit::Refused })
    }
}

impl Discard {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let shown = self.which.check(store).await?;
        let all = shown.iter().flat_map(|one| &one.deliveries);
        let now = SystemClock.wall();
        let is_meant = |one: &&DeliverySummary| {
            let is_lost =
                one.state == DeliveryState::Running && one.due.is_some_and(|due| due <= now);
            (is_lost || matches!(one.state, DeliveryState::Waiting | DeliveryState::Dead))
                && self.which.handler.as_deref().is_none_or(|name| name == &*one.handler)
        };
        let number = all.filter(is_meant).count() as u64;
        let what =
            format!("about to give up {} of {}", count(number, "delivery"), self.which.named());
        // Where there is nothing to discard, that is told without a question.
        if number > 0 && !self.confirm.ask(&what, output)? {
            return Ok(Exit::Refused);
        }
        let mut is_any = false;
        for id in &self.which.ids {
            let changed = store.discard(id, self.which.handler.as_deref()).await.map_err(failed)?;
            is_any |= tell(id, &changed, "discarded", output)?;
        }
        Ok(if is_any { Exit::Done } else { Exit::Refused })
    }
}

impl Which {
    /// All that is kept of the events; an error, before anything is changed, where there is nothing to change.
    async fn check(&self, store: &dyn Operations) -> Result<Vec<EventDetails>, Error> {
        let mut all = Vec::new();
        for id in &self.ids {
            let shown = of_event(store, id).await?;
            let deliveries = || shown.iter().flat_map(|one| &one.deliveries);
            if deliveries().next().is_none() {
                return Err(Error::Usage(format!(
                    "no handler was for {id}; `event-router inbox replay {id} --handler NAME` gives it to one"
                )));
            }
            if let Some(handler) = &self.handler
                && !deliveries().any(|one| *one.handler == **handler)
            {
                let mut handlers: Vec<_> = deliveries().map(|one| &*one.handler).collect();
                handlers.sort_unstable();
                handlers.dedup();
                let handlers = handlers.join(", ");
                return Err(Error::Usage(format!(
                    "{id} is not for `{handler}`, but for: {handlers}"
                )));
            }
            all.extend(shown);
        }
        Ok(all)
    }

    fn named(&self) -> String {
        match &self.ids[..] {
            [one] => one.clone(),
            several => count(several.len() as u64, "event"),
        }
    }
}

/// What became of each; whether anything was changed.
fn tell(
    id: &str,
    changed: &[ChangeResult],
    done: &str,
    output: &mut Output,
) -> Result<bool, Error> {
    for ChangeResult { delivery, change } in changed {
        let was = state(delivery.state);
        if output.json {
            output.json(&Line {
                event: id,
                endpoint: &delivery.endpoint,
                account: delivery.account.as_deref(),
                generation: delivery.generation,
                handler: &delivery.handler,
                was,
                attempts: delivery.attempts,
                changed: *change == ChangeOutcome::Applied,
            })?;
            continue;
        }
        let (style, word, why) = match change {
            ChangeOutcome::Applied => {
                (GOOD, done, format!("was {was}, {}", tried(delivery.attempts)))
            }
            ChangeOutcome::StillRunning => {
                (DIM, "left", "runs: ask again once it has ended".to_owned())
            }
            ChangeOutcome::AlreadyFinished => (DIM, "left", format!("is {was}")),
        };
        let word = styled(style, format_args!("{word:9}"));
        output.line(format_args!("{word}  {id}  {}  {why}", plain(&delivery.handler)))?;
    }
    Ok(changed.iter().any(|one| one.change == ChangeOutcome::Applied))
}
