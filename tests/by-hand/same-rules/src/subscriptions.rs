//! The present state of each subscription.

use router_core::{BoxError, Event, Object, on_event};
use router_inbox::Tx;
use serde::Deserialize;
use sqlx::Sqlite;

use crate::created;

#[derive(Deserialize)]
struct Subscription {
    id: String,
    customer: String,
    status: String,
    cancel_at_period_end: bool,
}

/// Records the state of a subscription, unless a newer one is recorded.
#[on_event("customer.subscription.*", name = "subscriptions.record")]
async fn record(
    event: Event,
    subscription: Object<Subscription>,
    mut tx: Tx<Sqlite>,
) -> Result<(), BoxError> {
    let statement = "insert into subscriptions (subscription, customer, status, \
             cancel_at_period_end, deleted, changed_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (subscription) do update set customer = excluded.customer,
             status = excluded.status, cancel_at_period_end = excluded.cancel_at_period_end,
             deleted = excluded.deleted, changed_at = excluded.changed_at
         where not subscriptions.deleted and subscriptions.changed_at <= excluded.changed_at";
    sqlx::query(statement)
        .bind(&subscription.id)
        .bind(&subscription.customer)
        .bind(&subscription.status)
        .bind(subscription.cancel_at_period_end)
        .bind(event.event_type().ends_with(".deleted"))
        .bind(created(&event)?)
        .execute(tx.begin().await?)
        .await?;
    Ok(())
}
