//! `inbox show`: shows an event with its deliveries.

use clap::Args;
use router_catalog::samples::stripe_json;
use router_core::{Event, event::StoredEvent};
use router_inbox::{
    operations::{EventDetails, EventSummary},
    store::{DeliveryState, Operations},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    format::{EventLine, ago, rfc3339},
    history::{DeliveryWithHistory, format_with_history},
    store::within_limit,
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
  event-router inbox show evt_1NG8Du2eZvKYlo2CUI79vXWy --payload --json |
    jq -c '.redelivered[-1]' | event-router send --file -

Below each delivery is a line for each of its last ten attempts, with the number, the start time,
the outcome, the duration and the worker. The error is on the next line. An attempt that `failed`
did not make the delivery a dead letter. After `later`, for which the handler asked, the next
attempt has the same number. The numbers begin with 1 again if the delivery starts over. An attempt
that its worker released, as in a shutdown, is not shown.

Each replay of the event is shown too, and each endpoint that received it. A thin event and its
snapshot event are one event here, which is found by both ids.

A line `again` shows a redelivery that the inbox has stored, oldest first: for a handler that had no
delivery of the event, for a dead letter that started over, for a delivery that had not finished, or
because the thin event and its snapshot event have different ids. An added or restarted delivery
uses the redelivered payload, which may be in another API version. An unfinished delivery uses it
only if it ends as a dead letter. Other redeliveries are duplicates and are not stored.

With --json, prints one object for each: {\"event\", \"type\", \"object\", \"endpoint\", \"account\",
\"generation\", \"stored_at\", \"api_version\", \"redelivered\": [{\"event\", \"type\", \"api_version\",
\"signed_at\"}], \"deliveries\": [{\"handler\", \"state\", \"attempts\", \"due_at\", \"blocked\",
\"ended_at\", \"error\", \"history\": [{\"attempt\", \"started_at\", \"duration_seconds\", \"outcome\",
\"worker\", \"error\"}]}], \"erased\"}; with --payload also {\"payload\"}, the text that Stripe sent, in the
object and in each of \"redelivered\". The payload of an erased event is null.")]
pub(super) struct ShowArgs {
    /// Id of the event.
    #[arg(value_name = "EVENT")]
    id: String,

    /// Print the payload too, and the payloads of redeliveries, oldest first. They may contain
    /// personal data.
    #[arg(long)]
    payload: bool,
}

#[derive(Serialize)]
struct Line<'l> {
    #[serde(flatten)]
    event: EventLine<'l>,
    api_version: Option<String>,
    redelivered: Vec<RedeliveryLine<'l>>,
    deliveries: Vec<DeliveryWithHistory<'l>>,
    erased: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Payload<'l>,
}

/// The text that Stripe sent. `None` omits the field, if `--payload` is not given. `Some(None)` is
/// null, for a payload that was erased or is not text.
type Payload<'l> = Option<Option<&'l str>>;

/// A redelivery that the store had to store, in the JSON output. The event's fields are null if its
/// payload is damaged or erased.
#[derive(Serialize)]
struct RedeliveryLine<'l> {
    event: Option<String>,
    r#type: Option<String>,
    api_version: Option<String>,
    signed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Payload<'l>,
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
                output.json(&Line::new(shown, self.payload))?;
                continue;
            }
            if index > 0 {
                output.line("")?;
            }
            print_event(shown, output)?;
            if self.payload && !shown.is_erased() {
                for stored in [&shown.stored].into_iter().chain(&shown.redelivered) {
                    output.line("")?;
                    output.line(pretty(&stored.payload))?;
                }
            }
        }
        if !output.json {
            print_help(&self.id, &found, output);
        }
        Ok(Exit::Success)
    }
}

impl<'l> Line<'l> {
    fn new(shown: &'l EventDetails, with_payload: bool) -> Self {
        let payload = |stored: &'l StoredEvent| {
            let text = std::str::from_utf8(&stored.payload).ok().filter(|text| !text.is_empty());
            with_payload.then_some(text)
        };
        let redelivery = |stored: &'l StoredEvent| {
            let event = parse(stored);
            RedeliveryLine {
                event: event.as_ref().map(|event| event.id().to_owned()),
                r#type: event.as_ref().map(|event| event.event_type().to_owned()),
                api_version: event.as_ref().and_then(Event::api_version).map(str::to_owned),
                signed_at: stored.signed_at.map(rfc3339),
                payload: payload(stored),
            }
        };
        Self {
            event: EventLine::new(&shown.event),
            api_version: parse(&shown.stored)
                .and_then(|event| event.api_version().map(str::to_owned)),
            redelivered: shown.redelivered.iter().map(redelivery).collect(),
            deliveries: shown.deliveries.iter().map(DeliveryWithHistory::new).collect(),
            erased: shown.is_erased(),
            payload: payload(&shown.stored),
        }
    }
}

/// Restores the event, or returns `None` if its payload is damaged.
fn parse(stored: &StoredEvent) -> Option<Event> {
    Event::from_store(stored.clone()).ok()
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
    let found = within_limit(store.show(id)).await?;
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
            "the inbox has no event `{id}`: ids of Stripe's events begin with `evt_`; \
             `event-router inbox list --object {id}` lists the events about an object"
        ),
    })
}

fn print_event(
    EventDetails { event, stored, redelivered, deliveries, .. }: &EventDetails,
    output: &mut Output,
) -> Result<(), Error> {
    let EventSummary { id, endpoint, account, generation, event_type, object, stored_at, .. } =
        event;
    output.line(format_args!("{}  {}", sanitize(event_type), sanitize(id)))?;
    let mut row = |name: &str, text: String| {
        output.line(format_args!("  {}  {text}", styled(DIM, format_args!("{name:9}"))))
    };
    if !object.is_empty() {
        row("object", sanitize(object))?;
    }
    row("endpoint", sanitize(endpoint))?;
    if let Some(account) = account {
        row("account", sanitize(account))?;
    }
    let time = format!("{}, at {}", ago(*stored_at), rfc3339(*stored_at));
    match generation {
        0 => row("received", time)?,
        number => row("replay", format!("number {number}, {time}"))?,
    }
    row("payload", describe_payload(stored))?;
    for stored in redelivered {
        let mut text = describe_payload(stored);
        if let Some(twin) = parse(stored).filter(|again| again.id() != *id) {
            let (event_type, id) = (sanitize(twin.event_type()), sanitize(twin.id()));
            text = format!("as {event_type} {id}, {text}");
        }
        if let Some(signed_at) = stored.signed_at {
            text = format!("{text}, signed {}", ago(signed_at));
        }
        row("again", text)?;
    }
    for delivery in deliveries {
        output.line(format_args!("  {}", format_with_history(delivery)))?;
    }
    if deliveries.is_empty() {
        output.line(format_args!("  {}", styled(WARNING, "unhandled: no handler matched")))?;
    }
    Ok(())
}

/// Formats the size and the API version of a payload. A thin event has no version.
fn describe_payload(stored: &StoredEvent) -> String {
    if stored.payload.is_empty() {
        return "erased".to_owned();
    }
    let bytes = format!("{} bytes", stored.payload.len());
    match parse(stored).as_ref().map(Event::api_version) {
        None => format!("{bytes}, damaged"),
        Some(None) => bytes,
        Some(Some(version)) => format!("{bytes}, API version {}", sanitize(version)),
    }
}

/// Prints the next steps for a dead or unhandled event.
fn print_help(id: &str, found: &[EventDetails], output: &mut Output) {
    let mut deliveries = found.iter().flat_map(|shown| &shown.deliveries);
    let text = match () {
        () if deliveries.any(|delivery| delivery.state == DeliveryState::Dead) => format!(
            "when the cause is fixed, run `event-router inbox retry {id}`; if it cannot be fixed, run \
             `event-router inbox discard {id}`"
        ),
        () if found.iter().all(|shown| shown.deliveries.is_empty() && !shown.is_erased()) => {
            format!(
                "to deliver it to a handler, run `event-router inbox replay {id} --handler NAME`"
            )
        }
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
