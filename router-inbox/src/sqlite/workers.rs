//! Records the running workers.

use std::{sync::Arc, time::Duration};

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use crate::store::{WorkerInfo, rows::millis};

/// Replaces the worker's record, and deletes expired records. The caller commits the transaction.
pub(super) async fn report(
    write: &mut SqliteConnection,
    worker: &WorkerInfo,
    ttl: Duration,
    now: i64,
) -> sqlx::Result<()> {
    let report = sqlx::query(
        "replace into stripe_inbox_workers (name, handlers, expires_at) values (?1, ?2, ?3)",
    );
    let handlers = serde_json::json!(worker.handlers).to_string();
    let report = report.bind(&*worker.name).bind(handlers).bind(now.saturating_add(millis(ttl)));
    report.execute(&mut *write).await?;
    let delete = sqlx::query("delete from stripe_inbox_workers where expires_at <= ?1");
    delete.bind(now).execute(write).await?;
    Ok(())
}

/// Returns the running workers, sorted by name.
pub(super) async fn running(
    read: &mut SqliteConnection,
    now: i64,
) -> sqlx::Result<Vec<WorkerInfo>> {
    let rows = sqlx::query(
        "select name, handlers from stripe_inbox_workers where expires_at > ?1 order by name",
    );
    let worker = |row: &SqliteRow| {
        let handlers: Result<Vec<Arc<str>>, _> = serde_json::from_str(row.try_get("handlers")?);
        let handlers = handlers.map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(WorkerInfo::new(row.try_get::<&str, _>("name")?, handlers))
    };
    rows.bind(now).fetch_all(read).await?.iter().map(worker).collect()
}
