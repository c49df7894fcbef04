//! Payments: what was paid, and with what.

use router_core::{Object, on_event};
use serde::Deserialize;

/// The fields that we need of a
/// [`PaymentIntent`](https://docs.stripe.com/api/payment_intents/object).
#[derive(Debug, Deserialize)]
pub struct PaymentIntent {
    /// `pi_…`
    pub id: String,
    /// In the smallest unit of the currency: cents for `usd`, yen for `jpy`.
    pub amount: i64,
    /// The three-letter ISO code, in lower case.
    pub currency: String,
}

/// The fields that we need of a
/// [`PaymentMethod`](https://docs.stripe.com/api/payment_methods/object).
#[derive(Debug, Deserialize)]
pub struct PaymentMethod {
    /// `pm_…`
    pub id: String,
    /// The customer that it was attached to, `cus_…`; an account can stand in its place.
    pub customer: Option<String>,
}

/// Logs the amount that was paid.
#[on_event("payment_intent.succeeded", name = "payments.succeeded")]
pub async fn payment_succeeded(intent: Object<PaymentIntent>) {
    let PaymentIntent { id, amount, currency } = &*intent;
    tracing::info!(payment_intent = id, amount, currency, "payment succeeded");
}

/// Logs the customer who can now be charged.
#[on_event("payment_method.attached", name = "payments.method_attached")]
pub async fn payment_method_attached(method: Object<PaymentMethod>) {
    let PaymentMethod { id, customer } = &*method;
    tracing::info!(payment_method = id, customer, "payment method attached");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handler is a plain function: a unit test calls it.
    #[tokio::test]
    async fn a_handler_can_be_called_as_the_function_that_it_is() {
        let intent = PaymentIntent { id: "pi_1".into(), amount: 2000, currency: "usd".into() };
        payment_succeeded(Object(intent)).await;
    }
}
