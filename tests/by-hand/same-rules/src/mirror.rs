//! The present state of every object in one table.

use router_core::{BoxError, Event, Object, on_event};
use router_inbox::Tx;
use serde_json::Value;
use sqlx::Sqlite;

use crate::created;

/// Records the state of an object, unless a newer one is recorded.
#[on_event("*", name = "mirror.record")]
async fn record(
    event: Event,
    data: Option<Object<Value>>,
    mut tx: Tx<Sqlite>,
) -> Result<(), BoxError> {
    let Some(data) = data else { return Ok(()) };
    let (Some(id), Some(object)) = (data["id"].as_str(), data["object"].as_str()) else {
        return Ok(());
    };
    let statement = "insert into stripe_objects (account, id, object, deleted, data, changed_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (account, id) do update set object = excluded.object,
             deleted = excluded.deleted, data = excluded.data, changed_at = excluded.changed_at
         where not stripe_objects.deleted and stripe_objects.changed_at <= excluded.changed_at";
    sqlx::query(statement)
        .bind(event.account().unwrap_or_default())
        .bind(id)
        .bind(object)
        .bind(event.event_type().ends_with(".deleted"))
        .bind(data.to_string())
        .bind(created(&event)?)
        .execute(tx.begin().await?)
        .await?;
    Ok(())
}
