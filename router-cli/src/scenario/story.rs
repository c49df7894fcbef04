//! What events of one sequence say of the same objects agrees.

use std::collections::BTreeMap;

use router_catalog::samples::{Sampler, stripe_json};
use serde_json::Value;

use super::{of_round, script::Step};

/// What is the same in all payments of a sequence.
const LASTING: [&str; 6] =
    ["customer", "payment_method", "price", "product", "subscription", "subscription_item"];

/// What an object keeps once it is there.
const KEPT: [&str; 7] = [
    "/created",
    "/start_date",
    "/billing_cycle_anchor",
    "/canceled_at",
    "/period_start",
    "/period_end",
    "/items/data/0/created",
];

/// What it keeps until the next payment.
const KEPT_FOR_A_PAYMENT: [&str; 2] =
    ["/items/data/0/current_period_start", "/items/data/0/current_period_end"];

/// A sequence that is being told.
pub(super) struct Story {
    seed: u64,
    /// By object, payment and field.
    first_said: BTreeMap<(String, u64, &'static str), Value>,
}

impl Story {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, first_said: BTreeMap::new() }
    }

    /// The event of a step: one of a later payment is about the customer and the subscription of the
    /// first, and what has been said of an object before is so.
    pub(super) fn tell(&mut self, text: &str, step: &Step) -> String {
        let text = self.about_what_lasts(text, step.round);
        let Ok(mut event) = text.parse::<Value>() else { return text };
        self.keep(&mut event["data"]["object"], step.round);
        count(&mut event["data"]["object"]["number"], step.round);
        stripe_json(&event)
    }

    fn about_what_lasts(&self, text: &str, round: u64) -> String {
        let [first, other] = [1, round].map(|round| Sampler::new(of_round(self.seed, round), 0));
        LASTING.iter().fold(text.to_owned(), |text, object| {
            match (other.id(object), first.id(object)) {
                (Some(other), Some(first)) => text.replace(&other, &first),
                _ => text,
            }
        })
    }

    fn keep(&mut self, object: &mut Value, round: u64) {
        let Some(id) = object["id"].as_str().map(str::to_owned) else { return };
        let kept = KEPT.map(|field| (field, 0)).into_iter();
        for (field, round) in kept.chain(KEPT_FOR_A_PAYMENT.map(|field| (field, round))) {
            if let Some(value) = object.pointer_mut(field).filter(|value| !value.is_null()) {
                let first = self.first_said.entry((id.clone(), round, field));
                value.clone_from(first.or_insert_with(|| value.clone()));
            }
        }
    }
}

/// A later payment's invoice has a later number: `0759376C-0003` after `0759376C-0002`.
fn count(number: &mut Value, round: u64) {
    let Some((prefix, last)) = number.as_str().and_then(|number| number.rsplit_once('-')) else {
        return;
    };
    if let Ok(last) = last.parse::<u64>() {
        *number = format!("{prefix}-{:04}", last + round - 1).into();
    }
}
