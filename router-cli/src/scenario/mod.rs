//! `scenario`: a whole sequence of events, whose ids agree.

mod script;
mod story;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, builder::PossibleValue};
use router_catalog::samples::Sampler;
use router_core::{
    clock::{Clock as _, SystemClock},
    testing::{Payload, SyntheticEvent},
};
use serde_json::Value;

use self::{
    script::{Script, Step, scripts},
    story::Story,
};
use crate::{
    error::{Error, Exit},
    output::Output,
    send::{Deliveries, Disorder, Made, Pace, run},
    synthetic::Circumstances,
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
    circumstances: Circumstances,

    #[command(flatten)]
    target: Target,

    #[command(flatten, next_help_heading = "Delivery")]
    pace: Pace,

    #[command(flatten)]
    disorder: Disorder,
}

fn names() -> Vec<PossibleValue> {
    let named = |Script { name, about, .. }| PossibleValue::new(name).help(about);
    scripts().into_iter().map(named).collect()
}

impl Scenario {
    pub(crate) async fn run(self, output: &mut Output) -> Result<Exit, Error> {
        let seed = self.disorder.seed();
        let script = scripts().into_iter().find(|script| script.name == self.name);
        let script = script.ok_or_else(|| Error::Usage(format!("no scenario {}", self.name)))?;
        let payloads = play(&script, seed, &self.circumstances)?;
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
fn play(script: &Script, seed: u64, circumstances: &Circumstances) -> Result<Vec<Payload>, Error> {
    let mut time =
        SystemClock.wall() - script.steps.iter().map(|step| step.after).sum::<Duration>();
    let mut story = Story::new(seed);
    let mut payloads = Vec::new();
    for (step, number) in script.steps.iter().zip(0..) {
        time += step.after;
        let event = circumstances.of(event(step, seed, number, time));
        let payload = event.build().map_err(unplayable)?;
        let text = story.tell(payload.event().payload_text(), step);
        payloads.push(Payload::recorded(text).map_err(unplayable)?);
    }
    Ok(payloads)
}

fn unplayable(error: impl ToString) -> Error {
    Error::Usage(error.to_string())
}

fn event(step: &Step, seed: u64, number: u64, time: SystemTime) -> SyntheticEvent {
    // Two events of one type are two.
    let id = Sampler::new(seed.wrapping_mul(1000).wrapping_add(number), 0).id("event");
    let event = SyntheticEvent::new(step.event_type)
        .seed(of_round(seed, step.round))
        .id(id.unwrap_or_default())
        .created(time);
    let value = |text: &str| value(text, seed, time);
    let event = step.set.iter().fold(event, |event, (path, to)| event.set_text(*path, value(to)));
    step.previous.iter().fold(event, |event, (path, was)| event.previous_text(*path, value(was)))
}

/// A value of a script: `$now` and `$now+20d` are times, `invoice@1` the id of the first payment's
/// invoice, and everything else is itself.
fn value(text: &str, seed: u64, time: SystemTime) -> String {
    if let Some(later) = text.strip_prefix("$now") {
        let later = humantime::parse_duration(later.trim_start_matches('+')).unwrap_or_default();
        let seconds = (time + later).duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        return seconds.to_string();
    }
    let id = text.split_once('@').and_then(|(object, round)| {
        Sampler::new(of_round(seed, round.parse().ok()?), 0).id(object)
    });
    id.unwrap_or_else(|| text.to_owned())
}

/// Another seed for each payment, with the same amount.
fn of_round(seed: u64, round: u64) -> u64 {
    seed.wrapping_add((round - 1) * Sampler::AMOUNTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(name: &str, seed: u64) -> Vec<Value> {
        let scripts = scripts();
        let script = scripts.iter().find(|script| script.name == name).expect("it is there");
        let circumstances = Circumstances::default();
        let payloads = play(script, seed, &circumstances).expect("every step can be made");
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
    fn what_was_said_of_a_subscription_is_so_until_it_is_said_to_have_changed() {
        let events = events("subscription-lifecycle", 5);
        let of = |event_type: &str, pointer: &str| -> Vec<Value> {
            let events = events.iter().filter(|event| event["type"] == event_type);
            events.filter_map(|event| event.pointer(pointer)).cloned().collect()
        };
        let updated = "customer.subscription.updated";
        let invoices = of("invoice.paid", "/data/object/id");
        assert_eq!(
            of(updated, "/data/previous_attributes"),
            [
                serde_json::json!({"status": "incomplete"}),
                serde_json::json!({"latest_invoice": invoices[0]}),
                serde_json::json!({
                    "cancel_at": null,
                    "cancel_at_period_end": false,
                    "canceled_at": null,
                    "cancellation_details": {"reason": null},
                }),
            ]
        );
        let latest = of(updated, "/data/object/latest_invoice");
        assert_eq!(latest, [&invoices[0], &invoices[1], &invoices[1]].map(Clone::clone));
        let starts = of(updated, "/data/object/start_date");
        assert_eq!(starts, of(updated, "/data/object/created"));
        // The second payment is for the second month.
        let ends = of(updated, "/data/object/items/data/0/current_period_end");
        assert!(ends[0].as_u64() < ends[1].as_u64() && ends[1] == ends[2], "{ends:?}");
        let numbers = of("invoice.paid", "/data/object/number");
        assert_ne!(numbers[0], numbers[1]);
        assert_eq!(of("invoice.finalized", "/data/object/number"), numbers);
        let deleted = "customer.subscription.deleted";
        assert_eq!(
            of(deleted, "/data/object/canceled_at")[0],
            of(updated, "/data/object/canceled_at")[2]
        );
        assert_eq!(of(deleted, "/data/object/ended_at")[0], of(deleted, "/created")[0]);
    }

    #[test]
    fn nothing_is_made_before_what_it_comes_of() {
        for Script { name, .. } in scripts() {
            let events = events(name, 5);
            let created = |object: &str| {
                let objects = events.iter().map(|event| &event["data"]["object"]);
                let mut of = objects.filter(|it| it["object"] == object);
                of.find_map(|it| it["created"].as_u64())
            };
            assert!(created("payment_intent") < created("charge"), "{name}");
        }
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
