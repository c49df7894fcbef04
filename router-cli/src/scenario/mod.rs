//! `scenario`: a whole sequence of events, whose ids agree.

mod script;

use std::{collections::BTreeMap, time::Duration};

use clap::{Args, builder::PossibleValue};
use router_catalog::samples::{Sampler, stripe_json};
use router_core::{
    clock::{Clock as _, SystemClock},
    testing::{Payload, SyntheticEvent},
};
use serde_json::Value;

use self::script::{Script, Step, scripts};
use crate::{
    error::{Error, Exit},
    output::Output,
    send::{Deliveries, Disorder, Made, Pace, run},
    target::Target,
};

/// Send a whole sequence of events, whose ids agree
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router scenario subscription-lifecycle
  event-router scenario refund --dry-run
  event-router scenario dispute --duplicate 0.3 --reorder --seed 7

With --json, a line for each delivery as `send` has it; with --dry-run, each event on a line.")]
pub(crate) struct Scenario {
    /// Which sequence.
    #[arg(value_parser = names())]
    name: String,

    /// Print the events, and send nothing.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    pace: Pace,

    #[command(flatten)]
    disorder: Disorder,
}

/// What is the same in all payments of a sequence.
const LASTING: [&str; 6] =
    ["customer", "payment_method", "price", "product", "subscription", "subscription_item"];

fn names() -> Vec<PossibleValue> {
    let named = |Script { name, about, .. }| PossibleValue::new(name).help(about);
    scripts().into_iter().map(named).collect()
}

impl Scenario {
    pub(crate) async fn run(self, output: &mut Output) -> Result<Exit, Error> {
        let seed = self.disorder.seed();
        let script = scripts().into_iter().find(|script| script.name == self.name);
        let script = script.ok_or_else(|| Error::Usage(format!("no scenario {}", self.name)))?;
        let payloads = play(&script, seed)?;
        let deliveries = Deliveries::new(payloads.len(), &self.disorder, seed);
        if self.dry_run {
            for index in deliveries.0 {
                let event = payloads[index].event().payload_text();
                match output.json {
                    true => output.json(&event.parse::<Value>().unwrap_or_default())?,
                    false => output.line(event)?,
                }
            }
            return Ok(Exit::Done);
        }
        let made =
            move |index: usize| Ok(Made { payload: payloads[index].clone(), seed: Some(seed) });
        run(deliveries, made, &self.target, &self.pace, output).await
    }
}

/// The events of a sequence, the last of which happens now.
fn play(script: &Script, seed: u64) -> Result<Vec<Payload>, Error> {
    let mut time =
        SystemClock.wall() - script.steps.iter().map(|step| step.after).sum::<Duration>();
    let mut born = BTreeMap::new();
    let mut payloads = Vec::new();
    for (step, number) in script.steps.iter().zip(0..) {
        time += step.after;
        let event = event(step, seed, number).created(time);
        let payload = event.build().map_err(|error| Error::Usage(error.to_string()))?;
        let text = of_one_story(payload.event().payload_text(), step, seed, &mut born);
        payloads.push(Payload::recorded(text).map_err(|error| Error::Usage(error.to_string()))?);
    }
    Ok(payloads)
}

fn event(step: &Step, seed: u64, number: u64) -> SyntheticEvent {
    // Two events of one type are two.
    let id = Sampler::new(seed.wrapping_mul(1000).wrapping_add(number), 0).id("event");
    let event = SyntheticEvent::new(step.event_type)
        .seed(of_round(seed, step.round))
        .id(id.unwrap_or_default());
    let event = step.set.iter().fold(event, |event, (path, value)| event.set_text(*path, *value));
    step.previous.iter().fold(event, |event, (path, value)| event.previous_text(*path, *value))
}

/// Another seed for each payment, with the same amount.
fn of_round(seed: u64, round: u64) -> u64 {
    seed.wrapping_add((round - 1) * Sampler::AMOUNTS)
}

/// The event of a later payment, about the customer and the subscription of the first; and an object is
/// as old as it was when it was first spoken of.
fn of_one_story(text: &str, step: &Step, seed: u64, born: &mut BTreeMap<String, Value>) -> String {
    let [first, other] = [1, step.round].map(|round| Sampler::new(of_round(seed, round), 0));
    let text = LASTING.iter().fold(text.to_owned(), |text, object| {
        match (other.id(object), first.id(object)) {
            (Some(other), Some(first)) => text.replace(&other, &first),
            _ => text,
        }
    });
    let Ok(mut event) = text.parse::<Value>() else { return text };
    let object = &mut event["data"]["object"];
    if let (Some(id), Some(created)) = (object["id"].as_str(), object.get("created")) {
        let created = born.entry(id.to_owned()).or_insert_with(|| created.clone()).clone();
        object["created"] = created;
    }
    stripe_json(&event)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(name: &str, seed: u64) -> Vec<Value> {
        let scripts = scripts();
        let script = scripts.iter().find(|script| script.name == name).expect("it is there");
        let payloads = play(script, seed).expect("every step can be made");
        let text = |payload: &Payload| payload.event().payload_text().to_owned();
        payloads.iter().map(|payload| text(payload).parse().expect("it is JSON")).collect()
    }

    #[test]
    fn every_sequence_has_events_of_their_own_in_the_order_of_time() {
        for Script { name, .. } in scripts() {
            let events = events(name, 5);
            let mut ids: Vec<String> = events.iter().map(|event| event["id"].to_string()).collect();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), events.len(), "{name}");
            assert!(events.is_sorted_by_key(|event| event["created"].as_u64()), "{name}");
        }
    }

    #[test]
    fn a_subscription_is_one_over_two_payments() {
        let events = events("subscription-lifecycle", 5);
        let of = |event_type: &str, pointer: &str| -> Vec<Value> {
            let events = events.iter().filter(|event| event["type"] == event_type);
            events.filter_map(|event| event.pointer(pointer)).cloned().collect()
        };
        let paid = of("invoice.paid", "/data/object/id");
        assert!(paid.len() == 2 && paid[0] != paid[1], "{paid:?}");
        for (event_type, pointer) in [
            ("invoice.paid", "/data/object/customer"),
            ("invoice.paid", "/data/object/amount_paid"),
            ("invoice.paid", "/data/object/parent/subscription_details/subscription"),
            ("customer.subscription.updated", "/data/object/id"),
            ("customer.subscription.updated", "/data/object/created"),
        ] {
            let values = of(event_type, pointer);
            assert!(
                values.len() > 1 && values.iter().all(|value| *value == values[0]),
                "{values:?}"
            );
        }
        let customer = &of("customer.created", "/data/object/id")[0];
        assert_eq!(&of("invoice.paid", "/data/object/customer")[1], customer);
        assert_eq!(of("customer.subscription.deleted", "/data/object/status"), ["canceled"]);
        assert_eq!(of("customer.subscription.created", "/data/object/status"), ["incomplete"]);
    }

    #[test]
    fn the_money_of_a_refund_and_of_a_dispute_is_that_of_the_charge() {
        for (name, last, amount) in
            [("refund", "refund.updated", "amount"), ("dispute", "charge.dispute.closed", "amount")]
        {
            let events = events(name, 9);
            let object = |event_type: &str| {
                let is_it = |event: &&Value| event["type"] == event_type;
                events
                    .iter()
                    .find(is_it)
                    .map(|event| &event["data"]["object"])
                    .expect("it is in it")
            };
            let (charge, last) = (object("charge.succeeded"), object(last));
            assert_eq!((&last["charge"], &last[amount]), (&charge["id"], &charge["amount"]));
        }
    }
}
