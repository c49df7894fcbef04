//! `send`: events to a server, one or many.

mod deliveries;
mod report;
mod run;
mod sender;

use clap::Args;
use router_core::testing::Payload;

pub(crate) use self::{
    deliveries::{Deliveries, Disorder},
    run::{Made, Pace, run},
};
use crate::{
    error::{Error, Exit},
    events::matching,
    output::Output,
    sign::read,
    synthetic::Synthetic,
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
  event-router send --file dead-letters.jsonl --to https://staging.example.com/webhook

Each event is new, and so is what it is about, unless --seed says which it is: a server that has seen the
event of a seed takes it for a duplicate. With --json, a line for each delivery: {\"type\", \"event\",
\"seed\", \"status\", \"ms\", \"answer\"}, or {…, \"error\"}; and after several, {\"summary\"}.")]
pub(crate) struct Send {
    /// Event types, sent in this order; `invoice.*` is all of them.
    #[arg(required_unless_present = "file", value_name = "TYPE")]
    types: Vec<String>,

    /// Send what is in a file instead: an event, or a line for each event or dead letter; `-` is
    /// standard input.
    #[arg(long, conflicts_with_all = ["types", "repeat"])]
    file: Option<String>,

    #[command(flatten)]
    event: Synthetic,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    load: Load,
}

/// The order of all deliveries is made before the first, and has to fit into memory.
const MOST: usize = 10_000_000;

/// How many, how fast, and in what order.
#[derive(Args)]
#[command(next_help_heading = "Many")]
struct Load {
    /// Send so many of each, each with ids of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    #[command(flatten)]
    pace: Pace,

    #[command(flatten)]
    disorder: Disorder,
}

impl Send {
    pub(crate) async fn run(self, output: &mut Output) -> Result<Exit, Error> {
        let (disorder, pace) = (&self.load.disorder, &self.load.pace);
        let seed = disorder.seed();
        if let Some(file) = &self.file {
            if !self.event.is_plain() {
                let why = "an event from a file is sent as it is: leave out what would change it";
                return Err(Error::Usage(why.to_owned()));
            }
            let payloads = recorded(&read(file, output)?, file)?;
            let deliveries = Deliveries::new(payloads.len(), disorder, seed);
            let made =
                move |index: usize| Ok(Made { payload: payloads[index].clone(), seed: None });
            return run(deliveries, made, &self.target, pace, output).await;
        }
        let mut types = Vec::new();
        for pattern in &self.types {
            if pattern.contains('*') {
                types.extend(matching(pattern)?.into_iter().map(|known| known.name.to_owned()));
            } else {
                types.push(pattern.clone());
            }
        }
        // A mistake in a type or a field is told before anything is sent.
        for event_type in &types {
            self.event.build(event_type, 0)?;
        }
        let count = types.len().saturating_mul(self.load.repeat as usize);
        if count > MOST {
            let why = format!("{count} events are more than the {MOST} that one run can send");
            return Err(Error::Usage(why));
        }
        let deliveries = Deliveries::new(count, disorder, seed);
        let event = self.event.clone();
        let made = move |index: usize| {
            let seed = seed.wrapping_add((index / types.len()) as u64);
            let payload = event.build(&types[index % types.len()], seed)?;
            Ok(Made { payload, seed: Some(seed) })
        };
        run(deliveries, made, &self.target, pace, output).await
    }
}

/// The events of a file: all of it is one, or each of its lines is one, or a dead letter.
fn recorded(bytes: &[u8], file: &str) -> Result<Vec<Payload>, Error> {
    let file = if file == "-" { "standard input" } else { file };
    let whole = match Payload::recorded(bytes.to_vec()) {
        Ok(event) => return Ok(vec![event]),
        Err(error) => error,
    };
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let is_lines = lines.len() > 1
        && lines[0].trim_start().starts_with('{')
        && lines[0].trim_end().ends_with('}');
    if !is_lines && letter(&text).is_none() {
        return Err(Error::Usage(format!("{file} holds no event: {whole}")));
    }
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    lines
        .map(|(line, number)| {
            let event = letter(line).unwrap_or_else(|| line.to_owned());
            Payload::recorded(event)
                .map_err(|error| Error::Usage(format!("{file}:{number} is no event: {error}")))
        })
        .collect()
}

/// The payload of a dead letter, as a `DeadLetterFile` has it.
fn letter(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(line.get("payload")?.as_str()?.to_owned())
}
