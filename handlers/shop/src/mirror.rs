//! The present state of every object in one table, for reports and joins in SQL.
//!
//! A state replaces one of lower [`Recency`]. Of two updates of one second, the fetched state wins
//! if the program has a client of Stripe's API (see [`Current`]; that is one request for each
//! update). Without a client, the greater JSON text wins. The row can then be wrong until the next
//! event, but it does not depend on the order of arrival.
//!
//! A deleted object stays as a tombstone with its last state. An object with an id that the shop
//! chose, such as a coupon, stays deleted even if it is created again. The rows contain personal
//! data, which erasing the events in the inbox does not remove. To erase a customer, replace
//! `data` by `{}` and keep the row.
//!
//! The handler takes every event, but it is an observer: the router still logs and counts an event
//! without another handler as unhandled. A program that needs no mirror leaves it out:
//! `.without::<shop::mirror::record>()`.

use router_core::{
    BoxError, Event, Failure, FailureExt as _, Outcome, Rejection,
    event::{Recency, decode_json},
    on_event,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    current::Current,
    database::{Connection, Database, Value},
};

#[derive(Deserialize)]
struct Identity {
    id: Option<String>,
    object: Option<String>,
}

/// Records the present state of an object.
#[on_event("*", name = "mirror.record", observer, ordered)]
pub async fn record(
    event: Event,
    recency: Option<Recency>,
    object: Result<Current<Box<RawValue>>, Rejection>,
    mut database: Database,
) -> Result<Outcome, Failure> {
    if event.is_thin() {
        return Ok(Outcome::ignored("a thin event contains no object"));
    }
    let Some(recency) = recency else {
        return Ok(Outcome::ignored("without a creation time, the object's recency is unknown"));
    };
    let current = object?;
    let Identity { id, object } =
        decode_json("data.object", current.object.get()).or_permanent()?;
    let (Some(id), Some(object)) = (id.filter(|id| !id.is_empty()), object) else {
        return Ok(Outcome::ignored("the object has no id, such as a balance"));
    };
    let mut connection = database.begin().await?;
    Ok(write(&mut connection, &event, recency, (&id, &object), &current).await?)
}

/// Writes a state of the object with this id and of this type in a transaction that has begun.
/// Returns whether the state was recorded or ignored.
///
/// # Errors
///
/// Fails if the database refuses the statement.
pub async fn write(
    connection: &mut Connection<'_>,
    event: &Event,
    recency: Recency,
    (id, object): (&str, &str),
    Current { object: data, is_fetched }: &Current<Box<RawValue>>,
) -> Result<Outcome, BoxError> {
    let statement = "insert into stripe_objects (account, id, object, recency, deleted, data)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (account, object, id) do update set recency = excluded.recency,
             deleted = excluded.deleted, data = excluded.data
         where (stripe_objects.recency, cast(stripe_objects.data as text))
             < (excluded.recency, cast(excluded.data as text))
             or ($7 and stripe_objects.recency = excluded.recency)";
    let values = [
        event.account().unwrap_or_default().into(),
        id.into(),
        object.into(),
        recency.as_i64().into(),
        event.event_type().ends_with(".deleted").into(),
        Value::Json(data.get()),
        (*is_fetched).into(),
    ];
    Ok(match connection.execute(statement, &values).await? {
        0 => Outcome::ignored("a state as recent or more recent is already recorded"),
        _ => Outcome::Done,
    })
}
