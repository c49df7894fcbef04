//! `send`: sends events to a webhook server.

mod deliveries;
mod report;
mod run;
mod sender;
mod twin;

use clap::Args;
use router_core::testing::Payload;

use self::twin::build_twin;
pub(crate) use self::{
    deliveries::{Deliveries, DeliveryOptions},
    report::{format_answer, signature_help},
    run::{PaceOptions, run},
    sender::{Answer, OutgoingEvent, Sender},
};
use crate::{
    body_file::read,
    error::{Error, Exit},
    event_options::EventOptions,
    events::matching,
    output::Output,
    target::Target,
};

/// Send events to a webhook server, signed as Stripe signs them
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router send payment_intent.succeeded
  event-router send customer.created invoice.paid --seed 7
  event-router send invoice.paid --set amount_paid=500 --set metadata.order_id=6735
  event-router send 'charge.*' --repeat 1000 --concurrency 16 --duplicate 0.1 --reorder
  event-router send customer.created --twin
  event-router send --file dead-letters.jsonl --to https://staging.example.com/webhook

Each run generates new ids. To repeat a run, pass its --seed: a server that has already received
those events deduplicates them.

With --json, prints one object per delivery: {\"type\", \"event\", \"snapshot_event\", \"seed\",
\"status\", \"retry_after\", \"answer\", \"ms\"}, or {…, \"error\", \"ms\"} if there was no answer. After
several deliveries, also prints {\"summary\"}.")]
pub(crate) struct SendArgs {
    /// Event types to send, in this order; `invoice.*` sends all matching types.
    #[arg(required_unless_present = "file", value_name = "TYPE")]
    types: Vec<String>,

    /// Send the events in a file unchanged; `-` reads standard input.
    ///
    /// The file contains one event, or one event or dead letter per line.
    #[arg(long, conflicts_with_all = ["types", "repeat"])]
    file: Option<String>,

    /// Send each snapshot event's thin event too, as Stripe does while an account moves from
    /// snapshot events to thin events.
    ///
    /// The thin event (`v1.customer.created` for `customer.created`) follows its snapshot event,
    /// names it as `snapshot_event`, and has an id of its own. The two report one change, so a
    /// handler of both types must run once. --duplicate applies to each of the two, and --reorder
    /// may send the thin event first.
    #[arg(long, conflicts_with = "thin", help_heading = "Event options")]
    twin: bool,

    #[command(flatten)]
    event: EventOptions,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    load: LoadOptions,
}

/// The maximum number of events in a run. The order of all deliveries is held in memory.
const MAX_EVENTS: usize = 10_000_000;

/// Options for the number, the rate and the order of deliveries.
#[derive(Args)]
#[command(next_help_heading = "Load options")]
struct LoadOptions {
    /// Number of events to send of each type, each with its own ids.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    #[command(flatten)]
    pace: PaceOptions,

    #[command(flatten)]
    delivery: DeliveryOptions,
}

impl SendArgs {
    pub(crate) async fn run(self, output: &mut Output) -> Result<Exit, Error> {
        match &self.file {
            Some(file) => self.send_file(file, output).await,
            None => self.send_types(output).await,
        }
    }

    async fn send_file(&self, file: &str, output: &mut Output) -> Result<Exit, Error> {
        if !self.event.is_default() {
            let why =
                "events from --file are sent unchanged; remove --set and the other event options";
            return Err(Error::Usage(why.to_owned()));
        }
        let (delivery, pace) = (&self.load.delivery, &self.load.pace);
        let seed = delivery.seed();
        let mut payloads = Vec::new();
        for (payload, number) in parse_events(&read(file, output)?, file)?.into_iter().zip(0..) {
            let twin = self.twin.then(|| build_twin(&payload, seed.wrapping_add(number)));
            payloads.push(payload);
            payloads.extend(twin.transpose()?);
        }
        let deliveries = Deliveries::new(payloads.len(), delivery, seed);
        let event =
            move |index: usize| Ok(OutgoingEvent { payload: payloads[index].clone(), seed: None });
        run(deliveries, event, &self.target, pace, output).await
    }

    async fn send_types(&self, output: &mut Output) -> Result<Exit, Error> {
        let mut types = Vec::new();
        for pattern in &self.types {
            if pattern.contains('*') {
                types.extend(matching(pattern)?.into_iter().map(|listed| listed.name.to_owned()));
            } else {
                types.push(pattern.clone());
            }
        }
        let (options, has_twins) = (self.event.clone(), self.twin);
        let build = move |event_type: &str, seed: u64, is_twin: bool| {
            let payload = options.build(event_type, seed)?;
            if is_twin { build_twin(&payload, seed) } else { Ok(payload) }
        };
        // Reports an invalid type or field before anything is sent.
        for event_type in &types {
            build(event_type, 0, has_twins)?;
        }
        let events_per_type = if has_twins { 2 } else { 1 };
        let round = types.len() * events_per_type;
        let count = round.saturating_mul(self.load.repeat as usize);
        if count > MAX_EVENTS {
            let why = format!("{count} events exceed the limit of {MAX_EVENTS} events in one run");
            return Err(Error::Usage(why));
        }
        let (delivery, pace) = (&self.load.delivery, &self.load.pace);
        let seed = delivery.seed();
        let deliveries = Deliveries::new(count, delivery, seed);
        let event = move |index: usize| {
            let seed = seed.wrapping_add((index / round) as u64);
            let event_type = &types[index % round / events_per_type];
            let is_twin = index % events_per_type == 1;
            Ok(OutgoingEvent { payload: build(event_type, seed, is_twin)?, seed: Some(seed) })
        };
        run(deliveries, event, &self.target, pace, output).await
    }
}

/// Parses a file that contains one event, or one event or dead letter per line.
fn parse_events(bytes: &[u8], file: &str) -> Result<Vec<Payload>, Error> {
    let file = if file == "-" { "standard input" } else { file };
    let error = match Payload::recorded(bytes.to_vec()) {
        Ok(event) => return Ok(vec![event]),
        Err(error) => error,
    };
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let is_json_lines = lines.len() > 1
        && lines[0].trim_start().starts_with('{')
        && lines[0].trim_end().ends_with('}');
    if !is_json_lines && dead_letter_payload(&text).is_none() {
        return Err(Error::Usage(format!("{file} contains no event: {error}")));
    }
    let numbered = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    numbered
        .map(|(line, number)| {
            let event = dead_letter_payload(line).unwrap_or_else(|| line.to_owned());
            Payload::recorded(event)
                .map_err(|error| Error::Usage(format!("{file}:{number}: not an event: {error}")))
        })
        .collect()
}

/// Returns the payload of a dead letter, in the format of `DeadLetterFile`.
fn dead_letter_payload(line: &str) -> Option<String> {
    let dead_letter: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(dead_letter.get("payload")?.as_str()?.to_owned())
}
