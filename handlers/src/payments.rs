//! Handlers for payments and payment methods.

use router_core::{Object, on_event};
use serde::Deserialize;

/// The fields that the handler uses of a
/// [`PaymentIntent`](https://docs.stripe.com/api/payment_intents/object).
#[derive(Debug, Deserialize)]
pub struct PaymentIntent {
    /// The id, `pi_…`.
    pub id: String,
    /// The amount in the smallest unit of the currency: cents for `usd`, yen for `jpy`.
    pub amount: i64,
    /// The three-letter ISO currency code in lower case.
    pub currency: String,
}

/// The fields that the handler uses of a
/// [`PaymentMethod`](https://docs.stripe.com/api/payment_methods/object).
#[derive(Debug, Deserialize)]
pub struct PaymentMethod {
    /// The id, `pm_…`.
    pub id: String,
    /// The customer that the payment method was attached to, `cus_…`; `None` if it was attached to
    /// an account instead.
    pub customer: Option<String>,
}

/// Logs the amount of the payment.
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

    /// A handler is a plain function, so a unit test can call it.
    #[tokio::test]
    async fn handler_can_be_called_directly() {
        let intent = PaymentIntent { id: "pi_1".into(), amount: 2000, currency: "usd".into() };
        payment_succeeded(Object(intent)).await;
    }
}
