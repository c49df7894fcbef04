//! The present state of each subscription, for any order of its events.
//!
//! A state replaces one of lower [`Recency`]. Two updates of one second have an equal recency, and
//! Stripe does not say which came later. With a client of Stripe's API, the fetched state wins (see
//! [`Current`]). Without a client, a fixed rule decides, so that the row does not depend on the
//! order of arrival: the status later in a subscription's usual life wins, then the greater event
//! id. The row can then be wrong until the next event, for example if a subscription becomes
//! `past_due` and `active` again in one second.

use router_core::{BoxError, Event, Outcome, event::Recency, on_event};
use serde::Deserialize;

use crate::{
    current::Current,
    database::{Connection, Database},
};

/// The fields that the handler uses of a
/// [subscription](https://docs.stripe.com/api/subscriptions/object).
#[derive(Debug, Deserialize)]
pub struct Subscription {
    id: String,
    customer: Option<String>,
    status: String,
    cancel_at_period_end: bool,
}

/// Records the present state of a subscription.
///
/// It is `ordered`, so two states of one subscription are never fetched at the same time, and the
/// state that was fetched first is written first.
#[on_event("customer.subscription.*", name = "subscriptions.record", ordered)]
pub async fn record(
    event: Event,
    recency: Recency,
    subscription: Current<Subscription>,
    mut database: Database,
) -> Result<Outcome, BoxError> {
    write(&mut database.begin().await?, &event, recency, &subscription).await
}

/// Writes a state of a subscription in a transaction that has begun. Returns whether the state was
/// recorded or ignored.
///
/// # Errors
///
/// Fails if the database refuses the statement.
pub async fn write(
    connection: &mut Connection<'_>,
    event: &Event,
    recency: Recency,
    Current { object: subscription, is_fetched }: &Current<Subscription>,
) -> Result<Outcome, BoxError> {
    let statement = "insert into subscriptions (subscription, customer, status, \
             cancel_at_period_end, deleted, recency, stage, event)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (subscription) do update set customer = excluded.customer,
             status = excluded.status, cancel_at_period_end = excluded.cancel_at_period_end,
             deleted = excluded.deleted, recency = excluded.recency, stage = excluded.stage,
             event = excluded.event
         where (subscriptions.recency, subscriptions.stage, subscriptions.event)
             < (excluded.recency, excluded.stage, excluded.event)
             or ($9 and subscriptions.recency = excluded.recency)";
    let values = [
        subscription.id.as_str().into(),
        (&subscription.customer).into(),
        subscription.status.as_str().into(),
        subscription.cancel_at_period_end.into(),
        event.event_type().ends_with(".deleted").into(),
        recency.as_i64().into(),
        stage(&subscription.status).into(),
        event.id().into(),
        (*is_fetched).into(),
    ];
    Ok(match connection.execute(statement, &values).await? {
        0 => Outcome::ignored("a state as recent or more recent is already recorded"),
        _ => Outcome::Done,
    })
}

/// Returns the position of a [status](https://docs.stripe.com/billing/subscriptions/overview) in a
/// subscription's usual life. An unknown status is in the middle.
fn stage(status: &str) -> i64 {
    match status {
        "incomplete" => 1,
        "trialing" => 2,
        "active" => 3,
        "past_due" => 5,
        "unpaid" => 6,
        "paused" => 7,
        "incomplete_expired" | "canceled" => 8,
        _ => 4,
    }
}
