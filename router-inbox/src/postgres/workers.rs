//! Records the running workers.

use std::{sync::Arc, time::Duration};

use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::{schema::Schema, writes::replace_nul};
use crate::store::{WorkerInfo, rows::millis};

/// Replaces the worker's record, and deletes expired records. Each statement is its own
/// transaction.
///
/// The deletion skips locked records, so that workers that report at the same time never wait for
/// each other.
pub(super) async fn report(
    write: &mut PgConnection,
    schema: &Schema,
    worker: &WorkerInfo,
    ttl: Duration,
) -> sqlx::Result<()> {
    let report = sqlx::query(schema.sql(
        "insert into inbox.workers (name, handlers, expires_at) values ($1, $2, inbox.inbox_now() + $3)
         on conflict (name) do update set handlers = excluded.handlers, expires_at = excluded.expires_at",
    ));
    let handlers: Vec<_> = worker.handlers.iter().map(|handler| replace_nul(handler)).collect();
    let report = report.bind(replace_nul(&worker.name)).bind(handlers).bind(millis(ttl));
    report.execute(&mut *write).await?;
    let delete = sqlx::query(schema.sql(
        "delete from inbox.workers where name in (
             select name from inbox.workers where expires_at <= inbox.inbox_now() for update skip locked)",
    ));
    delete.execute(write).await?;
    Ok(())
}

/// Returns the running workers, sorted by name.
pub(super) async fn running(
    read: &mut PgConnection,
    schema: &Schema,
) -> sqlx::Result<Vec<WorkerInfo>> {
    let rows = sqlx::query(schema.sql(
        "select name, handlers from inbox.workers where expires_at > inbox.inbox_now() order by name",
    ));
    let worker = |row: &PgRow| {
        let handlers: Vec<String> = row.try_get("handlers")?;
        let name: String = row.try_get("name")?;
        Ok(WorkerInfo::new(name, handlers.into_iter().map(Arc::from)))
    };
    rows.fetch_all(read).await?.iter().map(worker).collect()
}
