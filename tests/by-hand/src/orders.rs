//! Orders of Stripe Checkout, and their refunds.

use sqlx::SqliteConnection;
use stripe_shared::{
    Charge, CheckoutSession, CheckoutSessionMode, CheckoutSessionPaymentStatus, Refund,
};
use stripe_webhook::{Event, EventObject};

/// Records the state of an order.
///
/// A session is completed although it is unpaid if the payment method is a delayed one. The order
/// is then pending until the payment succeeds or fails.
pub(crate) async fn record(
    tx: &mut SqliteConnection,
    event: &Event,
    session: &CheckoutSession,
) -> sqlx::Result<()> {
    if session.mode == CheckoutSessionMode::Setup {
        return Ok(());
    }
    let state = match &event.data.object {
        EventObject::CheckoutSessionAsyncPaymentSucceeded(_) => "paid",
        EventObject::CheckoutSessionAsyncPaymentFailed(_) => "failed",
        EventObject::CheckoutSessionExpired(_) => "expired",
        _ if session.payment_status == CheckoutSessionPaymentStatus::Unpaid => "pending",
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
        .bind(session.id.as_str())
        .bind(&session.client_reference_id)
        .bind(session.customer.as_ref().map(|customer| customer.id().as_str()))
        .bind(session.payment_intent.as_ref().map(|intent| intent.id().as_str()))
        .bind(session.amount_total)
        .bind(session.currency.as_ref().map(ToString::to_string))
        .bind(state)
        .bind(event.created)
        .execute(tx)
        .await?;
    tracing::info!(order = %session.id, state, "order recorded");
    Ok(())
}

/// Records the total of a charge's refunds.
pub(crate) async fn record_refunded_charge(
    tx: &mut SqliteConnection,
    charge: &Charge,
) -> sqlx::Result<()> {
    let statement = "insert into refunded_charges (charge, payment_intent, amount)
         values ($1, $2, $3)
         on conflict (charge) do update set amount = excluded.amount
         where refunded_charges.amount < excluded.amount";
    sqlx::query(statement)
        .bind(charge.id.as_str())
        .bind(charge.payment_intent.as_ref().map(|intent| intent.id().as_str()))
        .bind(charge.amount_refunded)
        .execute(tx)
        .await?;
    Ok(())
}

/// Records the state of a refund.
pub(crate) async fn record_refund(
    tx: &mut SqliteConnection,
    event: &Event,
    refund: &Refund,
) -> sqlx::Result<()> {
    let statement = "insert into refunds (refund, payment_intent, amount, state, changed_at)
         values ($1, $2, $3, $4, $5)
         on conflict (refund) do update set state = excluded.state,
             changed_at = excluded.changed_at
         where refunds.changed_at <= excluded.changed_at";
    sqlx::query(statement)
        .bind(refund.id.as_str())
        .bind(refund.payment_intent.as_ref().map(|intent| intent.id().as_str()))
        .bind(refund.amount)
        .bind(refund.status.as_deref().unwrap_or("pending"))
        .bind(event.created)
        .execute(tx)
        .await?;
    Ok(())
}
