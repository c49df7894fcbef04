//! `scenario`: sends a realistic sequence of related events.

mod continuity;
mod script;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, builder::PossibleValue};
use router_catalog::samples::Sampler;
use router_core::{
    clock::{Clock as _, SystemClock},
    testing::{Payload, SyntheticEvent},
};
use serde_json::Value;

use self::{
    continuity::{Continuity, payment_seed},
    script::{Script, Step, scripts},
};
use crate::{
    error::{Error, Exit},
    event_options::EnvelopeOptions,
    output::Output,
    send::{Deliveries, DeliveryOptions, OutgoingEvent, PaceOptions, run},
    target::Target,
};

/// The difference between the seeds of two runs of a scenario. It is odd, so that amounts vary, and
/// no multiple of [`Sampler::AMOUNTS`], by which the seeds of the payments of one run differ.
const RUN_STRIDE: u64 = 2 * Sampler::AMOUNTS + 1;

/// Send a realistic sequence of related events
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router scenario subscription-lifecycle
  event-router scenario delayed-payment
  event-router scenario refund --dry-run
  event-router scenario dispute --duplicate 0.3 --reorder --seed 7
  event-router scenario checkout --repeat 1000 --concurrency 16

Ids agree across the events: an invoice, for example, names the customer that was created before.

With --json, prints one object per delivery, as `send` does. With --dry-run --json, prints one
event per line.")]
pub(crate) struct ScenarioArgs {
    /// Scenario to send.
    #[arg(value_parser = names())]
    name: String,

    /// Print the events instead of sending them.
    #[arg(long)]
    dry_run: bool,

    /// Number of times that the scenario is sent, each with its own ids.
    ///
    /// --reorder mixes the events of all of them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    repeat: u16,

    #[command(flatten)]
    envelope: EnvelopeOptions,

    #[command(flatten)]
    target: Target,

    #[command(flatten, next_help_heading = "Delivery options")]
    pace: PaceOptions,

    #[command(flatten)]
    delivery: DeliveryOptions,
}

fn names() -> Vec<PossibleValue> {
    let named = |Script { name, description, .. }| PossibleValue::new(name).help(description);
    scripts().into_iter().map(named).collect()
}

impl ScenarioArgs {
    pub(crate) async fn run(self, output: &mut Output) -> Result<Exit, Error> {
        let seed = self.delivery.seed();
        let script = scripts().into_iter().find(|script| script.name == self.name);
        let script =
            script.ok_or_else(|| Error::Usage(format!("unknown scenario `{}`", self.name)))?;
        let seed_of = move |run: u64| seed.wrapping_add(run * RUN_STRIDE);
        let mut payloads = Vec::new();
        for run in 0..u64::from(self.repeat) {
            payloads.extend(build_events(&script, seed_of(run), &self.envelope)?);
        }
        let deliveries = Deliveries::new(payloads.len(), &self.delivery, seed);
        if self.dry_run {
            for index in deliveries.0 {
                let event = payloads[index].event().payload_text();
                match output.json {
                    true => output.json(&event.parse::<Value>().unwrap_or_default())?,
                    false => output.line(event)?,
                }
            }
            return Ok(Exit::Success);
        }
        let steps = script.steps.len();
        let event = move |index: usize| {
            let seed = seed_of((index / steps) as u64);
            Ok(OutgoingEvent { payload: payloads[index].clone(), seed: Some(seed) })
        };
        run(deliveries, event, &self.target, &self.pace, output).await
    }
}

/// Builds the events of a scenario, of which the last one is created now.
fn build_events(
    script: &Script,
    seed: u64,
    envelope: &EnvelopeOptions,
) -> Result<Vec<Payload>, Error> {
    let mut time =
        SystemClock.wall() - script.steps.iter().map(|step| step.delay).sum::<Duration>();
    let mut continuity = Continuity::new(seed);
    let mut payloads = Vec::new();
    for (step, number) in script.steps.iter().zip(0..) {
        time += step.delay;
        let event = envelope.apply(step_event(step, seed, number, time));
        let payload = event.build().map_err(usage_error)?;
        let text = continuity.apply(payload.event().payload_text(), step);
        payloads.push(Payload::recorded(text).map_err(usage_error)?);
    }
    Ok(payloads)
}

fn usage_error(error: impl ToString) -> Error {
    Error::Usage(error.to_string())
}

fn step_event(step: &Step, seed: u64, number: u64, time: SystemTime) -> SyntheticEvent {
    // Two events of the same type need different ids.
    let id = Sampler::new(seed.wrapping_mul(1000).wrapping_add(number), 0).id("event");
    let event = SyntheticEvent::new(step.event_type)
        .seed(payment_seed(seed, step.payment))
        .id(id.unwrap_or_default())
        .created(time);
    let value = |text: &str| resolve_value(text, seed, time);
    let event = step.set.iter().fold(event, |event, (path, to)| event.set_text(*path, value(to)));
    step.previous
        .iter()
        .fold(event, |event, (path, previous)| event.previous_text(*path, value(previous)))
}

/// Resolves a value of a script.
///
/// `$now` and `$now+20d` are times and `invoice@1` is the id of the first payment's invoice.
/// Everything else is taken literally.
fn resolve_value(text: &str, seed: u64, time: SystemTime) -> String {
    if let Some(later) = text.strip_prefix("$now") {
        let later = humantime::parse_duration(later.trim_start_matches('+')).unwrap_or_default();
        let seconds = (time + later).duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        return seconds.to_string();
    }
    let id = text.split_once('@').and_then(|(object, payment)| {
        Sampler::new(payment_seed(seed, payment.parse().ok()?), 0).id(object)
    });
    id.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(name: &str, seed: u64) -> Vec<Value> {
        let scripts = scripts();
        let script =
            scripts.iter().find(|script| script.name == name).expect("the scenario exists");
        let envelope = EnvelopeOptions::default();
        let payloads = build_events(script, seed, &envelope).expect("every step is valid");
        let text = |payload: &Payload| payload.event().payload_text().to_owned();
        payloads.iter().map(|payload| text(payload).parse().expect("an event is JSON")).collect()
    }

    #[test]
    fn ids_are_unique_and_times_ascend() {
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
    fn subscription_is_shared_by_both_payments() {
        let events = events("subscription-lifecycle", 5);
        let values = |event_type: &str, pointer: &str| -> Vec<Value> {
            let events = events.iter().filter(|event| event["type"] == event_type);
            events.filter_map(|event| event.pointer(pointer)).cloned().collect()
        };
        let paid = values("invoice.paid", "/data/object/id");
        assert!(paid.len() == 2 && paid[0] != paid[1], "{paid:?}");
        for (event_type, pointer) in [
            ("invoice.paid", "/data/object/customer"),
            ("invoice.paid", "/data/object/amount_paid"),
            ("invoice.paid", "/data/object/parent/subscription_details/subscription"),
            ("customer.subscription.updated", "/data/object/id"),
            ("customer.subscription.updated", "/data/object/created"),
        ] {
            let found = values(event_type, pointer);
            assert!(found.len() > 1 && found.iter().all(|value| *value == found[0]), "{found:?}");
        }
        let customer = &values("customer.created", "/data/object/id")[0];
        assert_eq!(&values("invoice.paid", "/data/object/customer")[1], customer);
        assert_eq!(values("customer.subscription.deleted", "/data/object/status"), ["canceled"]);
        assert_eq!(values("customer.subscription.created", "/data/object/status"), ["incomplete"]);
    }

    #[test]
    fn changes_are_listed_in_previous_attributes() {
        let events = events("subscription-lifecycle", 5);
        let values = |event_type: &str, pointer: &str| -> Vec<Value> {
            let events = events.iter().filter(|event| event["type"] == event_type);
            events.filter_map(|event| event.pointer(pointer)).cloned().collect()
        };
        let updated = "customer.subscription.updated";
        let invoices = values("invoice.paid", "/data/object/id");
        assert_eq!(
            values(updated, "/data/previous_attributes"),
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
        let latest = values(updated, "/data/object/latest_invoice");
        assert_eq!(latest, [&invoices[0], &invoices[1], &invoices[1]].map(Clone::clone));
        let starts = values(updated, "/data/object/start_date");
        assert_eq!(starts, values(updated, "/data/object/created"));
        // The second payment is for the second month.
        let ends = values(updated, "/data/object/items/data/0/current_period_end");
        assert!(ends[0].as_u64() < ends[1].as_u64() && ends[1] == ends[2], "{ends:?}");
        let numbers = values("invoice.paid", "/data/object/number");
        assert_ne!(numbers[0], numbers[1]);
        assert_eq!(values("invoice.finalized", "/data/object/number"), numbers);
        let deleted = "customer.subscription.deleted";
        assert_eq!(
            values(deleted, "/data/object/canceled_at")[0],
            values(updated, "/data/object/canceled_at")[2]
        );
        assert_eq!(values(deleted, "/data/object/ended_at")[0], values(deleted, "/created")[0]);
    }

    #[test]
    fn payment_intent_is_created_before_its_charge() {
        for Script { name, .. } in scripts() {
            let events = events(name, 5);
            let created = |object: &str| {
                let objects = events.iter().map(|event| &event["data"]["object"]);
                let mut matching = objects.filter(|candidate| candidate["object"] == object);
                matching.find_map(|found| found["created"].as_u64())
            };
            assert!(created("payment_intent") < created("charge"), "{name}");
        }
    }

    #[test]
    fn delayed_payment_is_unpaid_until_its_last_event() {
        for (name, outcome, status) in [
            ("delayed-payment", "succeeded", "paid"),
            ("delayed-payment-failed", "failed", "unpaid"),
        ] {
            let events = events(name, 3);
            let sessions: Vec<_> = events
                .iter()
                .filter(|event| event["data"]["object"]["object"] == "checkout.session")
                .map(|event| {
                    let session = &event["data"]["object"];
                    assert_eq!(session["status"], "complete");
                    (event["type"].as_str(), session["payment_status"].as_str())
                })
                .collect();
            let last = format!("checkout.session.async_payment_{outcome}");
            let expected = [
                (Some("checkout.session.completed"), Some("unpaid")),
                (Some(&*last), Some(status)),
            ];
            assert_eq!(sessions, expected);
            // Both events are about one session, payment intent and customer.
            for field in ["id", "payment_intent", "customer", "amount_total", "created"] {
                let values = |object: &str| -> Vec<&Value> {
                    let objects = events.iter().map(|event| &event["data"]["object"]);
                    objects
                        .filter(|found| found["object"] == object)
                        .map(|found| &found[field])
                        .collect()
                };
                let sessions = values("checkout.session");
                assert!(
                    !sessions[0].is_null() && sessions[0] == sessions[1],
                    "{field}: {sessions:?}"
                );
            }
        }
    }

    #[test]
    fn refund_and_dispute_amounts_match_the_charge() {
        for (name, last, amount) in
            [("refund", "refund.updated", "amount"), ("dispute", "charge.dispute.closed", "amount")]
        {
            let events = events(name, 9);
            let object = |event_type: &str| {
                let has_type = |event: &&Value| event["type"] == event_type;
                events
                    .iter()
                    .find(has_type)
                    .map(|event| &event["data"]["object"])
                    .expect("the scenario contains the event type")
            };
            let (charge, last) = (object("charge.succeeded"), object(last));
            assert_eq!((&last["charge"], &last[amount]), (&charge["id"], &charge["amount"]));
        }
    }
}
