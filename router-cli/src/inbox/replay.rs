//! `inbox replay`: has events handled again.

use std::{sync::Arc, time::Duration};

use clap::Args;
use router_inbox::{
    operations::{EventSelector, ReplayResult},
    store::Operations,
};
use serde_json::{Value, json};

use super::{
    batches::{Confirm, in_batches, interrupted, print_reasons},
    filter::parse_ago,
    format::count,
    show::event_not_found,
    store::{parse_handler, unknown_handler_warning, within_limit},
};
use crate::{
    error::{Error, Exit},
    output::{FAILURE, Output, SUCCESS, WARNING, sanitize, styled},
    progress::bar,
};

/// Have events handled again, by the same handlers or by others
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox replay evt_1NG8Du2eZvKYlo2CUI79vXWy
  event-router inbox replay evt_1NG8Du2eZvKYlo2CUI79vXWy --handler orders.fulfil
  event-router inbox replay --since 2days --type 'invoice.*' --handler audit
  event-router inbox replay --since 2026-11-25T09:00:00Z --until 2026-11-25T11:00:00Z

A replay is a new generation of the event, with a new IdempotencyKey: handlers that have already
done their work do it again. It is delivered to the handlers of the original event, or to those
given with --handler. Dead letters of the same event and handler are discarded. An erased event cannot
be replayed.

With --json, prints one object per event: {\"event\", \"generation\", \"handlers\"} or {\"event\",
\"error\"}. Without event ids, also prints {\"summary\"}.")]
pub(super) struct ReplayArgs {
    /// Ids of the events.
    #[arg(value_name = "EVENT",  conflicts_with_all = ["since", "until", "type"])]
    ids: Vec<String>,

    /// Deliver only to this handler (its stable name), even if the event was not for it.
    /// Repeatable.
    #[arg(long, value_name = "NAME", value_parser = parse_handler)]
    handler: Vec<String>,

    /// Replay events received after this time, as in `2h` (ago) or `2026-11-25T09:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = parse_ago)]
    since: Option<Duration>,

    /// Replay events received before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_ago)]
    until: Option<Duration>,

    /// Replay events of this type, or of all types in `prefix.*`.
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,

    #[command(flatten)]
    confirm: Confirm,
}

/// The number of events by result.
#[derive(Default)]
struct Totals {
    replayed: u64,
    no_handler: u64,
    damaged: u64,
    erased: u64,
    gone: u64,
}

const BATCH_SIZE: usize = 100;

impl ReplayArgs {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let by_filter = self.ids.is_empty();
        let events = self.select(store).await?;
        let warning =
            unknown_handler_warning(store, self.handler.iter().map(String::as_str)).await?;
        let needs_confirmation = (by_filter || warning.is_some()) && !events.is_empty();
        let change = self.describe(events.len(), warning.as_deref());
        if needs_confirmation && !self.confirm.ask(&change, output)? {
            return Ok(Exit::Failure);
        }
        let handlers: Vec<Arc<str>> = self.handler.iter().map(|name| Arc::from(&**name)).collect();
        let (mut printed, mut totals, mut processed) = (Vec::new(), Totals::default(), 0);
        let bar = bar(events.len(), output);
        let is_complete = in_batches(&events, BATCH_SIZE, &bar, async |batch| {
            let results = within_limit(store.replay(batch, &handlers)).await?;
            results.iter().for_each(|result| totals.add(result));
            processed += results.len();
            if output.json || !by_filter {
                printed.extend(results);
            }
            Ok(())
        })
        .await;
        // The batches before an error have been replayed, so they are printed first.
        for result in &printed {
            match output.json {
                true => output.json(&json_line(result))?,
                false if !by_filter => print_result(result, output)?,
                false => {}
            }
        }
        if by_filter {
            totals.print(output)?;
        }
        let is_complete = is_complete?;
        if !is_complete {
            output.note(interrupted(events.len(), processed, "event"));
        }
        Ok(match totals.replayed {
            _ if !is_complete => Exit::Interrupted,
            0 => Exit::Failure,
            _ => Exit::Success,
        })
    }

    /// Returns the numbers of the events to replay.
    ///
    /// # Errors
    ///
    /// - Neither ids nor filters are given.
    /// - An id does not exist. Nothing has been replayed then.
    /// - The store failed.
    async fn select(&self, store: &dyn Operations) -> Result<Vec<i64>, Error> {
        let (since, until, event_type) = (self.since, self.until, self.r#type.clone());
        let filter = EventSelector {
            event_type,
            max_age: since,
            min_age: until,
            ..EventSelector::default()
        };
        if filter == EventSelector::default() && self.ids.is_empty() {
            let why = "no events selected; pass event ids, or --since, --until or --type";
            return Err(Error::Usage(why.to_owned()));
        }
        if self.ids.is_empty() {
            return within_limit(store.select(&filter)).await;
        }
        let mut events = Vec::new();
        for id in &self.ids {
            let by_id = EventSelector { event_id: Some(id.clone()), ..EventSelector::default() };
            let found = within_limit(store.select(&by_id)).await?;
            if found.is_empty() {
                return Err(event_not_found(id));
            }
            events.extend(found);
        }
        Ok(events)
    }

    fn describe(&self, number: usize, warning: Option<&str>) -> String {
        let of_type = self.r#type.as_ref().map(|event_type| format!(" of type `{event_type}`"));
        let ago = |time: Duration| humantime::format_duration(Duration::from_secs(time.as_secs()));
        let received = match (self.since.map(ago), self.until.map(ago)) {
            (Some(since), None) => format!(" received in the last {since}"),
            (None, Some(until)) => format!(" received more than {until} ago"),
            (Some(since), Some(until)) => format!(" received between {since} and {until} ago"),
            (None, None) => String::new(),
        };
        let handlers = match &self.handler[..] {
            [] => "their original handlers".to_owned(),
            handlers => handlers.join(", "),
        };
        format!(
            "{}about to replay {}{}{received} for {handlers}",
            warning.unwrap_or_default(),
            count(number as u64, "event"),
            of_type.unwrap_or_default()
        )
    }
}

impl Totals {
    fn add(&mut self, result: &ReplayResult) {
        match result {
            ReplayResult::Replayed { .. } => self.replayed += 1,
            ReplayResult::NoHandler { .. } => self.no_handler += 1,
            ReplayResult::Damaged { .. } => self.damaged += 1,
            ReplayResult::Erased { .. } => self.erased += 1,
            ReplayResult::NotFound => self.gone += 1,
        }
    }

    fn print(&self, output: &mut Output) -> Result<(), Error> {
        let Self { replayed, no_handler, damaged, erased, gone } = *self;
        if output.json {
            return output.json(&json!({"summary": {
                "replayed": replayed, "no_handler": no_handler, "damaged": damaged,
                "erased": erased, "gone": gone,
            }}));
        }
        output.line(format_args!("{} replayed", count(replayed, "event")))?;
        let rows = [
            (no_handler, "unhandled; pass --handler to deliver to a handler"),
            (damaged, "unreadable: damaged in the store, or stored by a newer version"),
            (erased, "erased, so there is nothing to handle"),
            (gone, "purged in the meantime"),
        ];
        print_reasons(rows, "event", "skipped", output)
    }
}

fn json_line(result: &ReplayResult) -> Value {
    match result {
        ReplayResult::Replayed { event_id, generation, handlers } => {
            let handlers: Vec<&str> = handlers.iter().map(|handler| &**handler).collect();
            json!({"event": event_id, "generation": generation, "handlers": handlers})
        }
        ReplayResult::NoHandler { event_id } => json!({"event": event_id, "error": "no handler"}),
        ReplayResult::Damaged { event_id } => json!({"event": event_id, "error": "damaged"}),
        ReplayResult::Erased { event_id } => json!({"event": event_id, "error": "erased"}),
        ReplayResult::NotFound => json!({"event": null, "error": "gone"}),
    }
}

fn print_result(result: &ReplayResult, output: &mut Output) -> Result<(), Error> {
    let text = match result {
        ReplayResult::Replayed { event_id, generation, handlers } => format!(
            "{}  {event_id}  replay {generation} for {}",
            styled(SUCCESS, "replayed"),
            sanitize(&handlers.join(", "))
        ),
        ReplayResult::NoHandler { event_id } => format!(
            "{}   {event_id}  unhandled; pass --handler to deliver it to a handler",
            styled(WARNING, "skipped")
        ),
        ReplayResult::Damaged { event_id } => format!(
            "{}   {event_id}  unreadable: damaged in the store, or stored by a newer version",
            styled(FAILURE, "skipped")
        ),
        ReplayResult::Erased { event_id } => {
            format!("{}   {event_id}  its data was erased", styled(WARNING, "skipped"))
        }
        ReplayResult::NotFound => {
            format!("{}   an event was purged in the meantime", styled(WARNING, "skipped"))
        }
    };
    output.line(text)
}
