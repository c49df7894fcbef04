//! `inbox retry` and `inbox discard`: change deliveries that are dead or waiting.

use clap::Args;
use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{
    operations::{
        Change, ChangeOutcome, ChangeResult, DeliverySummary, EventDetails, SelectedDelivery,
    },
    store::Operations,
};
use serde::Serialize;

use super::{
    batches::Confirm,
    bulk::change_matching,
    filter::FilterArgs,
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
  event-router inbox retry --state dead --handler orders.fulfil --since 2h
  event-router inbox retry --state dead --error 'connection refused' --yes

A dead or discarded delivery starts over with its first attempt. A running delivery is left
unchanged unless its lease has expired. A finished one is left unchanged, too: use `replay` to have
it handled again. The exit code is 1 if there was nothing to retry.

Without event ids, retries all deliveries that match the options, oldest first. Only dead deliveries
match, unless --state names other states. The command counts the deliveries, asks for
confirmation, and retries them in batches, so that servers can use the inbox meanwhile. A delivery
that was claimed or changed after it was counted is left unchanged. After Ctrl-C, the same command
continues with the rest.

With --json, prints one object per delivery: {\"event\", \"endpoint\", \"account\", \"generation\",
\"handler\", \"was\", \"attempts\", \"changed\"}. Without event ids, also prints {\"summary\":
{\"retried\", \"running\", \"finished\", \"changed_meanwhile\", \"superseded\", \"erased\", \"gone\"}}.")]
pub(super) struct RetryArgs {
    #[command(flatten)]
    selection: DeliverySelection,

    #[command(flatten)]
    confirm: Confirm,
}

/// Discard dead or waiting deliveries
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox discard evt_1NG8Du2eZvKYlo2CUI79vXWy
  event-router inbox discard evt_1NG8Du2eZvKYlo2CUI79vXWy --handler orders.fulfil --yes
  event-router inbox discard --state dead --error 'no such order'

The event stays in the inbox until it is purged, and `retry` takes up a discarded delivery again.
If the handler is `ordered`, the next event of the same object is no longer blocked. A running
delivery is left unchanged unless its lease has expired. The exit code is 1 if there was nothing to
discard.

Without event ids, discards all deliveries that match the options, oldest first. Only dead
deliveries match, unless --state names other states. The command counts the deliveries, asks for
confirmation, and discards them in batches, so that servers can use the inbox meanwhile. A delivery
that was claimed or changed after it was counted is left unchanged. After Ctrl-C, the same command
continues with the rest.

With --json, prints one object per delivery: {\"event\", \"endpoint\", \"account\", \"generation\",
\"handler\", \"was\", \"attempts\", \"changed\"}. Without event ids, also prints {\"summary\":
{\"discarded\", \"running\", \"finished\", \"changed_meanwhile\", \"superseded\", \"erased\", \"gone\"}}.")]
pub(super) struct DiscardArgs {
    #[command(flatten)]
    selection: DeliverySelection,

    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Args)]
struct DeliverySelection {
    /// Ids of the events. Without them, all deliveries that match the options.
    #[arg(value_name = "EVENT")]
    ids: Vec<String>,

    #[command(flatten)]
    filter: FilterArgs,
}

/// The result for a delivery in the JSON output.
#[derive(Serialize)]
pub(super) struct Line<'l> {
    event: &'l str,
    endpoint: &'l str,
    account: Option<&'l str>,
    generation: u32,
    handler: &'l str,
    was: &'static str,
    attempts: u32,
    changed: bool,
}

impl<'l> Line<'l> {
    pub(super) fn new(delivery: &'l SelectedDelivery, outcome: ChangeOutcome) -> Self {
        Self {
            event: &delivery.event_id,
            endpoint: &delivery.endpoint,
            account: delivery.account.as_deref(),
            generation: delivery.generation,
            handler: &delivery.handler,
            was: delivery.state.name(),
            attempts: delivery.attempts,
            changed: outcome == ChangeOutcome::Applied,
        }
    }
}

impl RetryArgs {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        if self.selection.is_by_filter()? {
            let filter = self.selection.filter;
            return change_matching(filter, Change::Retry, &self.confirm, store, output).await;
        }
        let events = self.selection.find_events(store).await?;
        let is_any_erased = events.iter().any(EventDetails::is_erased);
        let mut any_changed = false;
        for id in &self.selection.ids {
            let handler = self.selection.filter.handler.as_deref();
            let results = within_limit(store.retry(id, handler)).await?;
            any_changed |= print_results(id, &results, "retried", output)?;
            if !output.json
                && !is_any_erased
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
        if self.selection.is_by_filter()? {
            let filter = self.selection.filter;
            return change_matching(filter, Change::Discard, &self.confirm, store, output).await;
        }
        let events = self.selection.find_events(store).await?;
        let deliveries = events.iter().flat_map(|event| &event.deliveries);
        let now = SystemClock.wall();
        let is_discardable = |delivery: &&DeliverySummary| {
            let is_leased = delivery.due.is_some_and(|due| due > now);
            let handler = self.selection.filter.handler.as_deref();
            Change::Discard.check_state(delivery.state, is_leased) == ChangeOutcome::Applied
                && handler.is_none_or(|name| name == &*delivery.handler)
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
            let handler = self.selection.filter.handler.as_deref();
            let results = within_limit(store.discard(id, handler)).await?;
            any_changed |= print_results(id, &results, "discarded", output)?;
        }
        Ok(if any_changed { Exit::Success } else { Exit::Failure })
    }
}

impl DeliverySelection {
    /// Returns whether the deliveries are selected by options only.
    ///
    /// # Errors
    ///
    /// Fails if neither ids nor options are given, or if options that select events are given with
    /// ids.
    fn is_by_filter(&self) -> Result<bool, Error> {
        let usage = |why: &str| Err(Error::Usage(why.to_owned()));
        match self.ids.is_empty() {
            true if self.filter.is_empty() => usage(
                "no deliveries selected; pass event ids, or options such as --state dead or \
                 --handler NAME",
            ),
            false if self.filter.selects_events() => usage(
                "--state, --type, --object, --since and --error select deliveries of all events; \
                 remove them or the event ids",
            ),
            is_by_filter => Ok(is_by_filter),
        }
    }

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
            if let Some(handler) = &self.filter.handler
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
        if output.json {
            output.json(&Line::new(delivery, *change))?;
            continue;
        }
        let was = delivery.state.name();
        let (style, word, why) = match change {
            ChangeOutcome::Applied => {
                (SUCCESS, done, format!("was {was}, {}", attempted(delivery.attempts)))
            }
            ChangeOutcome::StillRunning => {
                (DIM, "unchanged", "is running; try again when the attempt has ended".to_owned())
            }
            ChangeOutcome::AlreadyFinished => (DIM, "unchanged", format!("is {was}")),
            ChangeOutcome::Superseded => (DIM, "unchanged", "superseded by a replay".to_owned()),
            ChangeOutcome::Erased => (DIM, "unchanged", "its data was erased".to_owned()),
            ChangeOutcome::ChangedMeanwhile | ChangeOutcome::NotFound => {
                (DIM, "unchanged", "changed in the meantime; run the command again".to_owned())
            }
        };
        let word = styled(style, format_args!("{word:9}"));
        output.line(format_args!("{word}  {id}  {}  {why}", sanitize(&delivery.handler)))?;
    }
    Ok(results.iter().any(|result| result.change == ChangeOutcome::Applied))
}
