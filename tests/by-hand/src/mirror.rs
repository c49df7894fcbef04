//! The present state of every object in one table.

use serde_json::Value;
use sqlx::SqliteConnection;
use stripe_webhook::Event;

/// Records the state of an object, unless a newer one is recorded.
///
/// async-stripe's types do not serialize every field that Stripe sends, so the object is from the
/// body.
pub(crate) async fn record(
    tx: &mut SqliteConnection,
    event: &Event,
    body: &str,
) -> anyhow::Result<()> {
    let body: Value = serde_json::from_str(body)?;
    let data = &body["data"]["object"];
    let (Some(id), Some(object)) = (data["id"].as_str(), data["object"].as_str()) else {
        return Ok(());
    };
    let statement = "insert into stripe_objects (account, id, object, deleted, data, changed_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (account, id) do update set object = excluded.object,
             deleted = excluded.deleted, data = excluded.data, changed_at = excluded.changed_at
         where not stripe_objects.deleted and stripe_objects.changed_at <= excluded.changed_at";
    sqlx::query(statement)
        .bind(event.account.as_deref().unwrap_or_default())
        .bind(id)
        .bind(object)
        .bind(event.type_.as_str().ends_with(".deleted"))
        .bind(data.to_string())
        .bind(event.created)
        .execute(tx)
        .await?;
    Ok(())
}
