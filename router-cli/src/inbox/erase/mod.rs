//! `inbox erase`: erases the personal data in events.

mod copies;

use std::collections::BTreeSet;

use clap::{Args, builder::NonEmptyStringValueParser};
use router_inbox::{
    operations::{EraseOutcome, EraseResult, EventSelector},
    store::Operations,
};
use serde_json::json;

use self::copies::remaining_copies;
use super::{
    batches::{Confirm, in_batches, interrupted, print_reasons},
    format::count,
    show::event_not_found,
    store::within_limit,
};
use crate::{
    error::{Error, Exit},
    output::{DIM, Output, SUCCESS, WARNING, sanitize, styled},
    progress::bar,
};

/// Erase the personal data in events, such as the data of one customer
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox erase --object cus_NffrFeUfNV2Hib --mentioned
  event-router inbox erase --object cus_NffrFeUfNV2Hib
  event-router inbox erase evt_1NG8Du2eZvKYlo2CUI79vXWy

Erases the payloads of each event, as received and as redelivered, and the errors of its handlers.
This cannot be undone. The ids of the event and its object, the type, the states and the times remain
until the event is purged. A redelivery of the event is therefore a duplicate: it is answered with
200, runs no handler, and stores nothing. Dead letters are discarded. An erased event cannot be
retried or replayed.

An event is about one object. Events about a customer's invoices, charges and checkout sessions are
not about the customer, but they contain its id, and often the name and the email. --mentioned
erases them too, and without it the command prints their number. It finds the events that have the id
as a complete JSON string in their payload, not an id within a longer text. To find them, the command
reads all payloads.

Events with a waiting or running delivery are not erased, because the handler needs the payload. The
exit code is then 1: run the command again when their deliveries have finished, or discard these
first. The command counts the events, asks for confirmation, and erases them in batches, so that servers
can use the inbox meanwhile. After Ctrl-C, the same command continues with the rest.

Copies of the data remain in the database's files and in backups. The command prints how to remove
them. Each erased event's id is printed, as a record of the erasure.

With --json, prints one object per event: {\"event\", \"outcome\"}, in which the outcome is `erased`,
`already_erased`, `unfinished` or `gone` (purged meanwhile). Then prints {\"summary\": {\"erased\",
\"already_erased\", \"unfinished\", \"gone\", \"mentions_left\"}}, in which `mentions_left` is the number
of other events that contain the object's id.")]
pub(super) struct EraseArgs {
    /// Ids of the events.
    #[arg(value_name = "EVENT", conflicts_with = "object", required_unless_present = "object")]
    ids: Vec<String>,

    /// Erase the events about the object with this id.
    // An empty id, as from an unset variable of a script, would match the events without an object.
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    object: Option<String>,

    /// Erase the events whose payload contains the object's id, too.
    #[arg(long, requires = "object", conflicts_with = "ids")]
    mentioned: bool,

    #[command(flatten)]
    confirm: Confirm,
}

/// Maximum number of events per transaction. A server that stores events waits for the transaction.
const BATCH_SIZE: usize = 100;

/// The selected events.
struct Selection {
    events: Vec<i64>,
    /// The number of other events whose payload contains the object's id.
    mentions_left: usize,
}

/// The numbers of events by outcome.
#[derive(Default)]
struct Totals {
    erased: u64,
    already_erased: u64,
    unfinished: u64,
    gone: u64,
}

impl EraseArgs {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        url: &str,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let selection = self.select(store).await?;
        let Selection { events, mentions_left } = &selection;
        if events.is_empty() {
            output.note(self.describe_empty(*mentions_left));
            return Ok(Exit::Failure);
        }
        if !self.confirm.ask(&self.describe(&selection), output)? {
            return Ok(Exit::Failure);
        }
        let mut results = Vec::new();
        let bar = bar(events.len(), output);
        let is_complete = in_batches(events, BATCH_SIZE, &bar, async |batch| {
            let erased = within_limit(store.erase(batch)).await?;
            // The output is the record of the erasure. An erased event is no longer found by the id
            // that it contained, so the ids must be printed before the process can end.
            bar.suspend(|| erased.iter().try_for_each(|result| self.print_result(result, output)))?;
            results.extend(erased);
            Ok(())
        })
        .await;
        let totals = Totals::new(&results);
        totals.print(*mentions_left, output)?;
        if is_complete.is_err() {
            let unknown = (events.len() - results.len()).min(BATCH_SIZE);
            output.note(format_args!(
                "{WARNING}warning:{WARNING:#} {} may have been erased without being printed; the \
                 next run prints only those that are about the object or named by their ids",
                count(unknown as u64, "further event"),
            ));
        }
        let is_complete = is_complete?;
        if !is_complete {
            output.note(interrupted(events.len(), results.len(), "event"));
        }
        if !output.json {
            self.print_next_steps(&results, *mentions_left, url, output);
        }
        Ok(match totals.unfinished {
            _ if !is_complete => Exit::Interrupted,
            0 => Exit::Success,
            _ => Exit::Failure,
        })
    }

    /// Finds the events to erase.
    ///
    /// # Errors
    ///
    /// - An id does not exist. Nothing has been erased then.
    /// - The store failed.
    async fn select(&self, store: &dyn Operations) -> Result<Selection, Error> {
        let select = async |selector| within_limit(store.select(&selector)).await;
        let mut events = BTreeSet::new();
        for id in &self.ids {
            let by_id = EventSelector { event_id: Some(id.clone()), ..EventSelector::default() };
            let found = select(by_id).await?;
            if found.is_empty() {
                return Err(event_not_found(id));
            }
            events.extend(found);
        }
        let mut mentions_left = 0;
        if self.object.is_some() {
            let object = || self.object.clone();
            let about = EventSelector { object: object(), ..EventSelector::default() };
            events.extend(select(about).await?);
            let mentions = EventSelector { mentions: object(), ..EventSelector::default() };
            let mentions = select(mentions).await?;
            match self.mentioned {
                true => events.extend(mentions),
                false => {
                    let others = mentions.iter().filter(|number| !events.contains(number));
                    mentions_left = others.count();
                }
            }
        }
        let events = Vec::from_iter(events);
        Ok(Selection { events, mentions_left })
    }

    /// Returns the object's id as it is printed.
    fn object(&self) -> String {
        self.object.as_deref().map(sanitize).unwrap_or_default()
    }

    fn describe_empty(&self, mentions: usize) -> String {
        let object = self.object();
        let others = match mentions {
            0 => "and no payload contains this id".to_owned(),
            number => {
                format!(
                    "but {} this id; to erase the data there, pass --mentioned",
                    other_events_contain(number)
                )
            }
        };
        format!("the inbox has no event about `{object}`, {others}")
    }

    fn describe(&self, Selection { events, mentions_left }: &Selection) -> String {
        let number = count(events.len() as u64, "event");
        let object = self.object();
        let which = match (mentions_left, self.mentioned) {
            _ if self.object.is_none() => String::new(),
            (_, true) => format!(" that are about `{object}` or contain this id"),
            (0, false) => format!(" about `{object}`"),
            (left, false) => format!(
                " about `{object}`, but not of {} that contain this id (pass --mentioned for them)",
                other_events(*left)
            ),
        };
        format!("about to permanently erase the data of {number}{which}")
    }

    fn print_result(&self, result: &EraseResult, output: &mut Output) -> Result<(), Error> {
        if output.json {
            let EraseResult { event_id, outcome, .. } = result;
            return output.json(&json!({"event": event_id, "outcome": outcome_code(*outcome)}));
        }
        let (style, word, why) = match result.outcome {
            EraseOutcome::Erased => (SUCCESS, "erased", ""),
            EraseOutcome::Unfinished => (WARNING, "unchanged", "  waiting or running"),
            EraseOutcome::AlreadyErased => (DIM, "unchanged", "  its data was erased before"),
            EraseOutcome::NotFound => return Ok(()),
        };
        let id = result.event_id.as_deref().map(sanitize).unwrap_or_default();
        output.line(format_args!("{}  {id}{why}", styled(style, format_args!("{word:9}"))))
    }

    /// Prints the remaining steps of a complete erasure.
    fn print_next_steps(
        &self,
        results: &[EraseResult],
        mentions_left: usize,
        url: &str,
        output: &mut Output,
    ) {
        let mut help = |text: String| output.note(format_args!("{WARNING}help:{WARNING:#} {text}"));
        let unfinished: Vec<_> =
            results.iter().filter(|result| result.outcome == EraseOutcome::Unfinished).collect();
        if let Some(first) = unfinished.first() {
            let id = match unfinished.len() {
                1 => first.event_id.as_deref().map(sanitize).unwrap_or_default(),
                _ => "EVENT…".to_owned(),
            };
            help(format!(
                "the data of {} remains, because the handlers still need it: run the command again \
                 when the deliveries have finished, or discard them first: `event-router inbox \
                 discard {id}`",
                count(unfinished.len() as u64, "event"),
            ));
        }
        if mentions_left > 0 {
            let object = self.object();
            help(format!(
                "{} `{object}` and may have the same personal data, for example in invoices and \
                 charges of a customer: to erase it there, run `event-router inbox erase --object \
                 {object} --mentioned`",
                other_events_contain(mentions_left)
            ));
        }
        let is_erased = |result: &EraseResult| {
            matches!(result.outcome, EraseOutcome::Erased | EraseOutcome::AlreadyErased)
        };
        if results.iter().any(is_erased) {
            help(remaining_copies(url));
        }
    }
}

impl Totals {
    fn new(results: &[EraseResult]) -> Self {
        let mut totals = Self::default();
        for result in results {
            *match result.outcome {
                EraseOutcome::Erased => &mut totals.erased,
                EraseOutcome::AlreadyErased => &mut totals.already_erased,
                EraseOutcome::Unfinished => &mut totals.unfinished,
                EraseOutcome::NotFound => &mut totals.gone,
            } += 1;
        }
        totals
    }

    fn print(&self, mentions_left: usize, output: &mut Output) -> Result<(), Error> {
        let Self { erased, already_erased, unfinished, gone } = *self;
        if output.json {
            return output.json(&json!({"summary": {
                "erased": erased, "already_erased": already_erased, "unfinished": unfinished,
                "gone": gone, "mentions_left": mentions_left,
            }}));
        }
        output.line(format_args!("{} erased", count(erased, "event")))?;
        let rows = [
            (already_erased, "erased before"),
            (unfinished, "a delivery is waiting or running"),
            (gone, "purged in the meantime"),
        ];
        print_reasons(rows, "event", "unchanged", output)
    }
}

fn outcome_code(outcome: EraseOutcome) -> &'static str {
    match outcome {
        EraseOutcome::Erased => "erased",
        EraseOutcome::AlreadyErased => "already_erased",
        EraseOutcome::Unfinished => "unfinished",
        EraseOutcome::NotFound => "gone",
    }
}

/// Formats a number of other events, as in `1 other event`.
fn other_events(number: usize) -> String {
    count(number as u64, "other event")
}

/// Formats a number of other events with their verb, as in `1 other event contains`.
fn other_events_contain(number: usize) -> String {
    format!("{} {}", other_events(number), if number == 1 { "contains" } else { "contain" })
}
