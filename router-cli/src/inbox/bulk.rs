//! `inbox retry` and `inbox discard` of all deliveries that match a filter.

use std::collections::BTreeMap;

use router_inbox::{
    operations::{Change, ChangeOutcome, SelectedDelivery},
    store::Operations,
};
use serde_json::json;

use super::{
    batches::{Confirm, in_batches, interrupted, print_reasons},
    changes::Line,
    filter::{FilterArgs, ListedState},
    format::count,
    store::{check_handler, within_limit},
};
use crate::{
    error::{Error, Exit},
    output::{Output, sanitize},
    progress::bar,
};

/// Maximum number of deliveries per transaction. A server that stores events waits for the
/// transaction.
const BATCH_SIZE: usize = 100;

/// Counts the matching deliveries, asks for confirmation, and changes them in batches.
pub(super) async fn change_matching(
    mut filter: FilterArgs,
    change: Change,
    confirm: &Confirm,
    store: &dyn Operations,
    output: &mut Output,
) -> Result<Exit, Error> {
    if filter.state.is_empty() {
        filter.state.push(ListedState::Dead);
    }
    check_states(&filter.state, change)?;
    if let Some(handler) = &filter.handler {
        check_handler(store, handler).await?;
    }
    let deliveries = within_limit(store.select_deliveries(&filter.into_filter())).await?;
    if deliveries.is_empty() {
        output.note("nothing found; `event-router inbox list` takes the same options");
        return Ok(Exit::Failure);
    }
    let announced = format!("about to {} {}", verb(change), describe(&deliveries));
    if !confirm.ask(&announced, output)? {
        return Ok(Exit::Failure);
    }
    let mut outcomes = Vec::new();
    let bar = bar(deliveries.len(), output);
    let is_complete = in_batches(&deliveries, BATCH_SIZE, &bar, async |batch| {
        outcomes.extend(within_limit(store.change(batch, change)).await?);
        Ok(())
    })
    .await;
    // The batches before an error have been changed, so they are printed first.
    if output.json {
        for (delivery, outcome) in deliveries.iter().zip(&outcomes) {
            output.json(&Line::new(delivery, *outcome))?;
        }
    }
    let totals = Totals::new(&outcomes);
    totals.print(change, output)?;
    let is_complete = is_complete?;
    if !is_complete {
        output.note(interrupted(deliveries.len(), outcomes.len(), "delivery"));
    }
    Ok(match totals.applied {
        _ if !is_complete => Exit::Interrupted,
        0 => Exit::Failure,
        _ => Exit::Success,
    })
}

/// Fails if deliveries in one of these states can never be changed.
fn check_states(states: &[ListedState], change: Change) -> Result<(), Error> {
    let why = |state: ListedState| {
        let Some(state) = state.delivery_state() else {
            return Some("unhandled events have no deliveries; to deliver one, use `replay`");
        };
        // A running delivery can be changed once its lease has expired.
        let is_finished = change.check_state(state, false) == ChangeOutcome::AlreadyFinished;
        is_finished.then_some(match change {
            Change::Retry => {
                "finished deliveries are not retried; to have an event handled again, use `replay`"
            }
            _ => "finished deliveries cannot be discarded",
        })
    };
    match states.iter().copied().find_map(why) {
        Some(why) => Err(Error::Usage(format!("--state: {why}"))),
        None => Ok(()),
    }
}

fn verb(change: Change) -> &'static str {
    if change == Change::Retry { "retry" } else { "discard" }
}

fn participle(change: Change) -> &'static str {
    if change == Change::Retry { "retried" } else { "discarded" }
}

/// Describes deliveries, as in `3 deliveries (mail: 2 dead, orders.fulfil: 1 dead)`.
fn describe(deliveries: &[SelectedDelivery]) -> String {
    let mut numbers = BTreeMap::<_, u64>::new();
    for SelectedDelivery { handler, state, .. } in deliveries {
        *numbers.entry((&**handler, state.name())).or_default() += 1;
    }
    let parts: Vec<_> = numbers
        .iter()
        .map(|((handler, state), number)| format!("{}: {number} {state}", sanitize(handler)))
        .collect();
    format!("{} ({})", count(deliveries.len() as u64, "delivery"), parts.join(", "))
}

/// The number of deliveries by outcome.
#[derive(Default)]
struct Totals {
    applied: u64,
    running: u64,
    finished: u64,
    changed: u64,
    superseded: u64,
    erased: u64,
    gone: u64,
}

impl Totals {
    fn new(outcomes: &[ChangeOutcome]) -> Self {
        let mut totals = Self::default();
        for outcome in outcomes {
            *match outcome {
                ChangeOutcome::Applied => &mut totals.applied,
                ChangeOutcome::StillRunning => &mut totals.running,
                ChangeOutcome::AlreadyFinished => &mut totals.finished,
                ChangeOutcome::ChangedMeanwhile => &mut totals.changed,
                ChangeOutcome::Superseded => &mut totals.superseded,
                ChangeOutcome::Erased => &mut totals.erased,
                ChangeOutcome::NotFound => &mut totals.gone,
            } += 1;
        }
        totals
    }

    fn print(&self, change: Change, output: &mut Output) -> Result<(), Error> {
        let Self { applied, running, finished, changed, superseded, erased, gone } = *self;
        if output.json {
            return output.json(&json!({"summary": {
                participle(change): applied, "running": running, "finished": finished,
                "changed_meanwhile": changed, "superseded": superseded, "erased": erased,
                "gone": gone,
            }}));
        }
        output.line(format_args!("{} {}", count(applied, "delivery"), participle(change)))?;
        let rows = [
            (running, "running; try again when the attempts have ended"),
            (finished, "finished in the meantime"),
            (changed, "claimed or changed in the meantime"),
            (superseded, "superseded by a replay"),
            (erased, "erased, so there is nothing to handle"),
            (gone, "purged in the meantime"),
        ];
        print_reasons(rows, "delivery", "unchanged", output)
    }
}
