//! Orders of Stripe Checkout, and their refunds.
//!
//! An order is a Checkout session, with the application's number (`client_reference_id`) in the
//! column `reference`. Two sessions with one reference are two orders, because a customer can pay
//! both, and then one has to be refunded.
//!
//! Every write raises a row's stage or leaves the row alone, so duplicates, late events and any
//! order of events lead to the same row. Refunds have tables of their own, because they can arrive
//! before the order. The view `order_balances` adds them up. It has no refunds of a subscription,
//! because the session of a subscription names no payment.
//!
//! Stripe generates the ids of sessions, charges and refunds, so the tables have no column for the
//! account.

use std::time::UNIX_EPOCH;

use router_core::{BoxError, Event, Object, Outcome, on_event};
use serde::Deserialize;

use crate::database::Database;

/// The fields that the handler uses of a
/// [Checkout session](https://docs.stripe.com/api/checkout/sessions/object).
#[derive(Debug, Deserialize)]
pub struct Session {
    id: String,
    client_reference_id: Option<String>,
    customer: Option<String>,
    payment_intent: Option<String>,
    /// In the smallest unit of the currency.
    amount_total: Option<i64>,
    currency: Option<String>,
    mode: String,
    payment_status: String,
}

/// The fields that the handler uses of a [charge](https://docs.stripe.com/api/charges/object).
#[derive(Debug, Deserialize)]
pub struct Charge {
    id: String,
    payment_intent: Option<String>,
    /// The sum of all refunds, in the smallest unit of the currency.
    amount_refunded: i64,
}

/// The fields that the handler uses of a [refund](https://docs.stripe.com/api/refunds/object).
#[derive(Debug, Deserialize)]
pub struct Refund {
    id: String,
    payment_intent: Option<String>,
    amount: i64,
    status: Option<String>,
}

/// Returns an order's state and its stage.
///
/// A session is [completed][fulfillment] although it is unpaid if the payment method is a delayed
/// one, such as a bank debit. The order is then pending until the payment succeeds or fails, days
/// later.
///
/// [fulfillment]: https://docs.stripe.com/checkout/fulfillment
fn order_state(event_type: &str, payment_status: &str) -> (&'static str, i64) {
    match (event_type, payment_status) {
        ("checkout.session.async_payment_succeeded", _) => ("paid", 4),
        ("checkout.session.completed", "paid" | "no_payment_required") => ("paid", 4),
        ("checkout.session.async_payment_failed", _) => ("failed", 3),
        ("checkout.session.expired", _) => ("expired", 2),
        _ => ("pending", 1),
    }
}

/// Records the state of an order. The order is paid once, when its row becomes paid.
#[on_event(
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    name = "orders.record"
)]
pub async fn record(
    event: Event,
    session: Object<Session>,
    mut database: Database,
) -> Result<Outcome, BoxError> {
    if session.mode == "setup" {
        return Ok(Outcome::ignored("a session that saves a payment method is no order"));
    }
    let (state, stage) = order_state(event.event_type(), &session.payment_status);
    let created = event.created().and_then(|created| created.duration_since(UNIX_EPOCH).ok());
    let created = created.ok_or("the event has no creation time")?.as_secs().cast_signed();
    let statement = "insert into orders (session, reference, customer, payment_intent, amount, \
             currency, state, stage, changed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (session) do update set reference = excluded.reference,
             customer = excluded.customer, payment_intent = excluded.payment_intent,
             amount = excluded.amount, currency = excluded.currency, state = excluded.state,
             stage = excluded.stage, changed_at = excluded.changed_at
         where orders.stage < excluded.stage";
    let Session { id, client_reference_id, customer, payment_intent, .. } = &*session;
    let values = [
        id.as_str().into(),
        client_reference_id.into(),
        customer.into(),
        payment_intent.into(),
        session.amount_total.into(),
        (&session.currency).into(),
        state.into(),
        stage.into(),
        created.into(),
    ];
    if database.begin().await?.execute(statement, &values).await? == 0 {
        return Ok(Outcome::ignored("the order is already in this state or in a later one"));
    }
    tracing::info!(order = id, state, "order recorded");
    Ok(Outcome::Done)
}

/// Records the total of a charge's refunds.
#[on_event("charge.refunded", name = "orders.record_refunded_charge")]
pub async fn record_refunded_charge(
    charge: Object<Charge>,
    mut database: Database,
) -> Result<(), BoxError> {
    let statement = "insert into refunded_charges (charge, payment_intent, amount)
         values ($1, $2, $3)
         on conflict (charge) do update set amount = excluded.amount
         where refunded_charges.amount < excluded.amount";
    let Charge { id, payment_intent, amount_refunded } = &*charge;
    let values = [id.as_str().into(), payment_intent.into(), (*amount_refunded).into()];
    database.begin().await?.execute(statement, &values).await?;
    Ok(())
}

/// Records the state of a refund.
#[on_event("refund.*", name = "orders.record_refund")]
pub async fn record_refund(refund: Object<Refund>, mut database: Database) -> Result<(), BoxError> {
    let state = refund.status.as_deref().unwrap_or("pending");
    // A refund that succeeded can still fail: https://docs.stripe.com/refunds#failed-refunds.
    let stage: i64 = match state {
        "failed" | "canceled" => 3,
        "succeeded" => 2,
        _ => 1,
    };
    let statement = "insert into refunds (refund, payment_intent, amount, state, stage)
         values ($1, $2, $3, $4, $5)
         on conflict (refund) do update set state = excluded.state, stage = excluded.stage
         where (refunds.stage, refunds.state) < (excluded.stage, excluded.state)";
    let Refund { id, payment_intent, amount, .. } = &*refund;
    let payment = payment_intent.into();
    let values = [id.as_str().into(), payment, (*amount).into(), state.into(), stage.into()];
    database.begin().await?.execute(statement, &values).await?;
    Ok(())
}
