//! The present state of each subscription.

use sqlx::SqliteConnection;
use stripe_shared::Subscription;
use stripe_webhook::{Event, EventObject};

/// Records the state of a subscription, unless a newer one is recorded.
pub(crate) async fn record(
    tx: &mut SqliteConnection,
    event: &Event,
    subscription: &Subscription,
) -> sqlx::Result<()> {
    let deleted = matches!(event.data.object, EventObject::CustomerSubscriptionDeleted(_));
    let statement = "insert into subscriptions (subscription, customer, status, \
             cancel_at_period_end, deleted, changed_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (subscription) do update set customer = excluded.customer,
             status = excluded.status, cancel_at_period_end = excluded.cancel_at_period_end,
             deleted = excluded.deleted, changed_at = excluded.changed_at
         where not subscriptions.deleted and subscriptions.changed_at <= excluded.changed_at";
    sqlx::query(statement)
        .bind(subscription.id.as_str())
        .bind(subscription.customer.id().as_str())
        .bind(subscription.status.as_str())
        .bind(subscription.cancel_at_period_end)
        .bind(deleted)
        .bind(event.created)
        .execute(tx)
        .await?;
    Ok(())
}
