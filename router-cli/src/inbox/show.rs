//! `inbox show`: shows an event with its deliveries.

use clap::Args;
use router_catalog::samples::stripe_json;
use router_inbox::{
    DeliveryState, Operations,
    operations::{EventDetails, EventSummary},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    format::{DeliveryLine, EventLine, ago, format_delivery, rfc3339},
    store::store_error,
};
use crate::{
    error::{Error, Exit},
    output::{DIM, Output, WARNING, sanitize, styled},
};

/// Show an event and its deliveries
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox show evt_1NG8Du2eZvKYlo2CUI79vXWy
  event-router inbox show evt_1NG8Du2eZvKYlo2CUI79vXWy --payload
  event-router inbox show evt_1NG8Du2eZvKYlo2CUI79vXWy --payload --json | event-router send --file -

Each replay of the event is shown too, and each endpoint that received it.

With --json, prints one object for each: {\"event\", \"type\", \"object\", \"endpoint\", \"account\",
\"generation\", \"stored_at\", \"deliveries\": [{\"handler\", \"state\", \"attempts\", \"due_at\", \"blocked\",
\"ended_at\", \"error\"}]}; with --payload also {\"payload\"}, the text that Stripe sent.")]
pub(super) struct ShowArgs {
    /// Id of the event.
    #[arg(value_name = "EVENT")]
    id: String,

    /// Print the payload too. It may contain personal data.
    #[arg(long)]
    payload: bool,
}

#[derive(Serialize)]
struct Line<'l> {
    #[serde(flatten)]
    event: EventLine<'l>,
    deliveries: Vec<DeliveryLine<'l>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'l str>,
}

impl ShowArgs {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let found = find_event(store, &self.id).await?;
        for (index, shown) in found.iter().enumerate() {
            if output.json {
                let deliveries = shown.deliveries.iter().map(DeliveryLine::new).collect();
                let payload =
                    std::str::from_utf8(&shown.stored.payload).ok().filter(|_| self.payload);
                output.json(&Line { event: EventLine::new(&shown.event), deliveries, payload })?;
                continue;
            }
            if index > 0 {
                output.line("")?;
            }
            print_event(shown, output)?;
            if self.payload {
                output.line("")?;
                output.line(pretty(&shown.stored.payload))?;
            }
        }
        if !output.json {
            print_help(&self.id, &found, output);
        }
        Ok(Exit::Success)
    }
}

/// Returns all generations of an event, at all endpoints.
///
/// # Errors
///
/// Fails if the event does not exist or the store failed.
pub(super) async fn find_event(
    store: &dyn Operations,
    id: &str,
) -> Result<Vec<EventDetails>, Error> {
    let found = store.show(id).await.map_err(store_error)?;
    if found.is_empty() { Err(event_not_found(id)) } else { Ok(found) }
}

pub(super) fn event_not_found(id: &str) -> Error {
    let id = sanitize(id);
    Error::Usage(match id.starts_with("evt_") {
        true => format!(
            "the inbox has no event `{id}`: it was never received, or it was purged; \
             `event-router inbox list` lists the stored events"
        ),
        false => format!(
            "the inbox has no event `{id}`: ids of events begin with `evt_`; \
             `event-router inbox list --object {id}` lists the events about an object"
        ),
    })
}

fn print_event(
    EventDetails { event, stored, deliveries }: &EventDetails,
    output: &mut Output,
) -> Result<(), Error> {
    let EventSummary { id, endpoint, account, generation, event_type, object, stored_at } = event;
    output.line(format_args!("{}  {}", sanitize(event_type), sanitize(id)))?;
    let mut row = |name: &str, text: String| {
        output.line(format_args!("  {}  {text}", styled(DIM, format_args!("{name:9}"))))
    };
    row("object", sanitize(object))?;
    row("endpoint", sanitize(endpoint))?;
    if let Some(account) = account {
        row("account", sanitize(account))?;
    }
    let time = format!("{}, at {}", ago(*stored_at), rfc3339(*stored_at));
    match generation {
        0 => row("received", time)?,
        number => row("replay", format!("number {number}, {time}"))?,
    }
    row("payload", format!("{} bytes", stored.payload.len()))?;
    for delivery in deliveries {
        output.line(format_args!("  {}", format_delivery(delivery)))?;
    }
    if deliveries.is_empty() {
        output.line(format_args!("  {}", styled(WARNING, "unhandled: no handler matched")))?;
    }
    Ok(())
}

/// Prints the next steps for a dead or unhandled event.
fn print_help(id: &str, found: &[EventDetails], output: &mut Output) {
    let mut deliveries = found.iter().flat_map(|shown| &shown.deliveries);
    let text = match () {
        () if deliveries.any(|delivery| delivery.state == DeliveryState::Dead) => format!(
            "when the cause is fixed, run `event-router inbox retry {id}`; if it cannot be fixed, run \
             `event-router inbox discard {id}`"
        ),
        () if found.iter().all(|shown| shown.deliveries.is_empty()) => format!(
            "to deliver it to a handler, run `event-router inbox replay {id} --handler NAME`"
        ),
        () => return,
    };
    output.note(format_args!("{WARNING}help:{WARNING:#} {text}"));
}

/// Formats a payload as Stripe prints JSON, or returns it sanitized if it is not JSON.
fn pretty(payload: &[u8]) -> String {
    match serde_json::from_slice::<Value>(payload) {
        Ok(value) => stripe_json(&value),
        Err(_) => sanitize(&String::from_utf8_lossy(payload)),
    }
}
