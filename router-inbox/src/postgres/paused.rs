//! The handlers that an operator has paused.

use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::{schema::Schema, writes::replace_nul};
use crate::store::PausedHandler;

/// Returns the paused handlers, sorted by name.
pub(super) async fn list(
    read: &mut PgConnection,
    schema: &Schema,
) -> sqlx::Result<Vec<PausedHandler>> {
    let rows = sqlx::query(
        schema.sql("select handler, paused_at, note from inbox.paused order by handler"),
    );
    rows.fetch_all(read).await?.iter().map(record).collect()
}

/// Pauses a handler, and returns its earlier record.
pub(super) async fn pause(
    write: &mut PgConnection,
    schema: &Schema,
    handler: &str,
    note: Option<&str>,
) -> sqlx::Result<Option<PausedHandler>> {
    // Both parts of the statement read the table as it was before.
    let pause = sqlx::query(schema.sql(
        "with paused as (
             insert into inbox.paused as earlier (handler, paused_at, note) values ($1, inbox.inbox_now(), $2)
             on conflict (handler) do update set note = coalesce(excluded.note, earlier.note))
         select handler, paused_at, note from inbox.paused where handler = $1",
    ));
    let pause = pause.bind(replace_nul(handler)).bind(note.map(replace_nul));
    pause.fetch_optional(write).await?.as_ref().map(record).transpose()
}

/// Resumes a handler, and returns the record of its pause.
pub(super) async fn resume(
    write: &mut PgConnection,
    schema: &Schema,
    handler: &str,
) -> sqlx::Result<Option<PausedHandler>> {
    let resume = sqlx::query(
        schema
            .sql("delete from inbox.paused where handler = $1 returning handler, paused_at, note"),
    );
    let resume = resume.bind(replace_nul(handler)).fetch_optional(write).await?;
    resume.as_ref().map(record).transpose()
}

fn record(row: &PgRow) -> sqlx::Result<PausedHandler> {
    let handler: String = row.try_get("handler")?;
    Ok(PausedHandler::from_stored(handler, row.try_get("paused_at")?, row.try_get("note")?))
}
