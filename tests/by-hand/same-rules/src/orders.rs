//! Orders of Stripe Checkout, and their refunds.

use router_core::{BoxError, Event, Object, on_event};
use router_inbox::Tx;
use serde::Deserialize;
use sqlx::Sqlite;

use crate::created;

#[derive(Deserialize)]
struct Session {
    id: String,
    client_reference_id: Option<String>,
    customer: Option<String>,
    payment_intent: Option<String>,
    amount_total: Option<i64>,
    currency: Option<String>,
    mode: String,
    payment_status: String,
}

#[derive(Deserialize)]
struct Charge {
    id: String,
    payment_intent: Option<String>,
    amount_refunded: i64,
}

#[derive(Deserialize)]
struct Refund {
    id: String,
    payment_intent: Option<String>,
    amount: i64,
    status: Option<String>,
}

/// Records the state of an order.
///
/// A session is completed although it is unpaid if the payment method is a delayed one. The order
/// is then pending until the payment succeeds or fails.
#[on_event(
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    name = "orders.record"
)]
async fn record(
    event: Event,
    session: Object<Session>,
    mut tx: Tx<Sqlite>,
) -> Result<(), BoxError> {
    if session.mode == "setup" {
        return Ok(());
    }
    let state = match event.event_type() {
        "checkout.session.async_payment_succeeded" => "paid",
        "checkout.session.async_payment_failed" => "failed",
        "checkout.session.expired" => "expired",
        _ if session.payment_status == "unpaid" => "pending",
        _ => "paid",
    };
    let statement = "insert into orders (session, reference, customer, payment_intent, amount, \
             currency, state, changed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (session) do update set reference = excluded.reference,
             customer = excluded.customer, payment_intent = excluded.payment_intent,
             amount = excluded.amount, currency = excluded.currency, state = excluded.state,
             changed_at = excluded.changed_at
         where orders.changed_at <= excluded.changed_at";
    sqlx::query(statement)
        .bind(&session.id)
        .bind(&session.client_reference_id)
        .bind(&session.customer)
        .bind(&session.payment_intent)
        .bind(session.amount_total)
        .bind(&session.currency)
        .bind(state)
        .bind(created(&event)?)
        .execute(tx.begin().await?)
        .await?;
    tracing::info!(order = session.id, state, "order recorded");
    Ok(())
}

/// Records the total of a charge's refunds.
#[on_event("charge.refunded", name = "orders.record_refunded_charge")]
async fn record_refunded_charge(
    charge: Object<Charge>,
    mut tx: Tx<Sqlite>,
) -> Result<(), BoxError> {
    let statement = "insert into refunded_charges (charge, payment_intent, amount)
         values ($1, $2, $3)
         on conflict (charge) do update set amount = excluded.amount
         where refunded_charges.amount < excluded.amount";
    sqlx::query(statement)
        .bind(&charge.id)
        .bind(&charge.payment_intent)
        .bind(charge.amount_refunded)
        .execute(tx.begin().await?)
        .await?;
    Ok(())
}

/// Records the state of a refund.
#[on_event("refund.*", name = "orders.record_refund")]
async fn record_refund(
    event: Event,
    refund: Object<Refund>,
    mut tx: Tx<Sqlite>,
) -> Result<(), BoxError> {
    let statement = "insert into refunds (refund, payment_intent, amount, state, changed_at)
         values ($1, $2, $3, $4, $5)
         on conflict (refund) do update set state = excluded.state,
             changed_at = excluded.changed_at
         where refunds.changed_at <= excluded.changed_at";
    sqlx::query(statement)
        .bind(&refund.id)
        .bind(&refund.payment_intent)
        .bind(refund.amount)
        .bind(refund.status.as_deref().unwrap_or("pending"))
        .bind(created(&event)?)
        .execute(tx.begin().await?)
        .await?;
    Ok(())
}
