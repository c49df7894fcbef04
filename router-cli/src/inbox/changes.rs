//! `inbox retry` and `inbox discard`: change deliveries that are dead or waiting.

use clap::Args;
use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{
    operations::{Change, ChangeOutcome, ChangeResult, DeliverySummary, EventDetails},
    store::Operations,
};
use serde::Serialize;

use super::{
    batches::Confirm,
    format::{attempted, count},
    show::find_event,
    store::within_limit,
};
use crate::{
    error::{Error, Exit},
    output::{DIM, Output, SUCCESS, WARNING, sanitize, styled},
};

/// Retry dead, discarded or waiting deliveries now
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox retry evt_1NG8Du2eZvKYlo2CUI79vXWy
  event-router inbox retry evt_1NG8Du2eZvKYlo2CUI79vXWy --handler orders.fulfil
  event-router inbox list --state dead --limit 1000 --json | jq -r .event | sort -u |
    xargs event-router inbox retry

A dead or discarded delivery starts over with its first attempt. A running delivery is left
unchanged unless its lease has expired. A finished one is left unchanged, too: use `replay` to have
it handled again. The exit code is 1 if there was nothing to retry.

With --json, prints one object per delivery: {\"event\", \"endpoint\", \"account\", \"generation\",
\"handler\", \"was\", \"attempts\", \"changed\"}.")]
pub(super) struct RetryArgs {
    #[command(flatten)]
    selection: DeliverySelection,
}

/// Discard dead or waiting deliveries
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox discard evt_1NG8Du2eZvKYlo2CUI79vXWy
  event-router inbox discard evt_1NG8Du2eZvKYlo2CUI79vXWy --handler orders.fulfil --yes

The event stays in the inbox until it is purged, and `retry` takes up a discarded delivery again.
If the handler is `ordered`, the next event of the same object is no longer blocked. A running
delivery is left unchanged unless its lease has expired. The exit code is 1 if there was nothing to
discard.

With --json, prints one object per delivery: {\"event\", \"endpoint\", \"account\", \"generation\",
\"handler\", \"was\", \"attempts\", \"changed\"}.")]
pub(super) struct DiscardArgs {
    #[command(flatten)]
    selection: DeliverySelection,

    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Args)]
struct DeliverySelection {
    /// Ids of the events.
    #[arg(required = true, value_name = "EVENT")]
    ids: Vec<String>,

    /// Only deliveries for this handler (its stable name).
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

impl RetryArgs {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        self.selection.find_events(store).await?;
        let mut any_changed = false;
        for id in &self.selection.ids {
            let handler = self.selection.handler.as_deref();
            let results = within_limit(store.retry(id, handler)).await?;
            any_changed |= print_results(id, &results, "retried", output)?;
            if !output.json
                && results.iter().all(|result| result.change == ChangeOutcome::AlreadyFinished)
            {
                output.note(format_args!(
                    "{WARNING}help:{WARNING:#} to have it handled again, run `event-router inbox replay {id}`"
                ));
            }
        }
        Ok(if any_changed { Exit::Success } else { Exit::Failure })
    }
}

impl DiscardArgs {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let events = self.selection.find_events(store).await?;
        let deliveries = events.iter().flat_map(|event| &event.deliveries);
        let now = SystemClock.wall();
        let is_discardable = |delivery: &&DeliverySummary| {
            let is_leased = delivery.due.is_some_and(|due| due > now);
            Change::Discard.outcome(delivery.state, is_leased) == ChangeOutcome::Applied
                && self.selection.handler.as_deref().is_none_or(|name| name == &*delivery.handler)
        };
        let number = deliveries.filter(is_discardable).count() as u64;
        let change = format!(
            "about to discard {} of {}",
            count(number, "delivery"),
            self.selection.describe()
        );
        // If there is nothing to discard, the results say so; no need to ask.
        if number > 0 && !self.confirm.ask(&change, output)? {
            return Ok(Exit::Failure);
        }
        let mut any_changed = false;
        for id in &self.selection.ids {
            let handler = self.selection.handler.as_deref();
            let results = within_limit(store.discard(id, handler)).await?;
            any_changed |= print_results(id, &results, "discarded", output)?;
        }
        Ok(if any_changed { Exit::Success } else { Exit::Failure })
    }
}

impl DeliverySelection {
    /// Returns all generations of the events.
    ///
    /// # Errors
    ///
    /// - An event does not exist, or has no deliveries.
    /// - An event has no delivery for the given handler.
    /// - The store failed.
    async fn find_events(&self, store: &dyn Operations) -> Result<Vec<EventDetails>, Error> {
        let mut events = Vec::new();
        for id in &self.ids {
            let found = find_event(store, id).await?;
            let deliveries = || found.iter().flat_map(|event| &event.deliveries);
            if deliveries().next().is_none() {
                return Err(Error::Usage(format!(
                    "{id} is unhandled and has no deliveries; to deliver it, run \
                     `event-router inbox replay {id} --handler NAME`"
                )));
            }
            if let Some(handler) = &self.handler
                && !deliveries().any(|delivery| *delivery.handler == **handler)
            {
                let mut handlers: Vec<_> =
                    deliveries().map(|delivery| &*delivery.handler).collect();
                handlers.sort_unstable();
                handlers.dedup();
                let handlers = handlers.join(", ");
                return Err(Error::Usage(format!(
                    "{id} has no delivery for `{handler}`; its handlers are: {handlers}"
                )));
            }
            events.extend(found);
        }
        Ok(events)
    }

    fn describe(&self) -> String {
        match &self.ids[..] {
            [id] => id.clone(),
            several => count(several.len() as u64, "event"),
        }
    }
}

/// Prints the result for each delivery. Returns whether any delivery was changed.
fn print_results(
    id: &str,
    results: &[ChangeResult],
    done: &str,
    output: &mut Output,
) -> Result<bool, Error> {
    for ChangeResult { delivery, change, .. } in results {
        let was = delivery.state.name();
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
                (SUCCESS, done, format!("was {was}, {}", attempted(delivery.attempts)))
            }
            ChangeOutcome::StillRunning => {
                (DIM, "unchanged", "is running; try again when the attempt has ended".to_owned())
            }
            ChangeOutcome::AlreadyFinished => (DIM, "unchanged", format!("is {was}")),
        };
        let word = styled(style, format_args!("{word:9}"));
        output.line(format_args!("{word}  {id}  {}  {why}", sanitize(&delivery.handler)))?;
    }
    Ok(results.iter().any(|result| result.change == ChangeOutcome::Applied))
}
