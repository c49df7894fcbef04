//! Keeps the events of one scenario consistent where they are about the same object.

use std::collections::BTreeMap;

use router_catalog::samples::{Sampler, stripe_json};
use serde_json::Value;

use super::script::Step;

/// Objects that all payments of a scenario share, and whose id is that of the first payment.
const SHARED_OBJECTS: [&str; 6] =
    ["customer", "payment_method", "price", "product", "subscription", "subscription_item"];

/// Fields that never change once an object has them.
const FIXED_FIELDS: [&str; 7] = [
    "/created",
    "/start_date",
    "/billing_cycle_anchor",
    "/canceled_at",
    "/period_start",
    "/period_end",
    "/items/data/0/created",
];

/// Fields that change only with the next payment.
const FIXED_FIELDS_PER_PAYMENT: [&str; 2] =
    ["/items/data/0/current_period_start", "/items/data/0/current_period_end"];

/// The state that carries over from event to event of a scenario.
pub(super) struct Continuity {
    seed: u64,
    /// The first value of each fixed field, by object id, payment (0 for all) and field.
    first_values: BTreeMap<(String, u64, &'static str), Value>,
}

impl Continuity {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, first_values: BTreeMap::new() }
    }

    /// Makes a step's event consistent with the events before it.
    ///
    /// Replaces the ids of shared objects by those of the first payment, fixed fields by their
    /// first value, and counts up the invoice number.
    pub(super) fn apply(&mut self, text: &str, step: &Step) -> String {
        let text = self.share_objects(text, step.payment);
        let Ok(mut event) = text.parse::<Value>() else { return text };
        self.fix_fields(&mut event["data"]["object"], step.payment);
        advance_invoice_number(&mut event["data"]["object"]["number"], step.payment);
        stripe_json(&event)
    }

    fn share_objects(&self, text: &str, payment: u64) -> String {
        let [first, current] =
            [1, payment].map(|number| Sampler::new(payment_seed(self.seed, number), 0));
        SHARED_OBJECTS.iter().fold(text.to_owned(), |text, object| {
            match (current.id(object), first.id(object)) {
                (Some(current), Some(first)) => text.replace(&current, &first),
                _ => text,
            }
        })
    }

    fn fix_fields(&mut self, object: &mut Value, payment: u64) {
        let Some(id) = object["id"].as_str().map(str::to_owned) else { return };
        let fixed = FIXED_FIELDS.map(|field| (field, 0)).into_iter();
        let per_payment = FIXED_FIELDS_PER_PAYMENT.map(|field| (field, payment));
        for (field, payment) in fixed.chain(per_payment) {
            if let Some(value) = object.pointer_mut(field).filter(|value| !value.is_null()) {
                let first = self.first_values.entry((id.clone(), payment, field));
                value.clone_from(first.or_insert_with(|| value.clone()));
            }
        }
    }
}

/// Returns the seed of a payment. The payments of a scenario have different ids and the same
/// amount.
pub(super) fn payment_seed(seed: u64, payment: u64) -> u64 {
    seed.wrapping_add((payment - 1) * Sampler::AMOUNTS)
}

/// Counts up the number of a later payment's invoice: `0759376C-0003` after `0759376C-0002`.
fn advance_invoice_number(number: &mut Value, payment: u64) {
    let Some((prefix, last)) = number.as_str().and_then(|number| number.rsplit_once('-')) else {
        return;
    };
    if let Ok(last) = last.parse::<u64>() {
        *number = format!("{prefix}-{:04}", last + payment - 1).into();
    }
}
