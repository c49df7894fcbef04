//! The handlers that an operator has paused.

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use crate::store::PausedHandler;

/// Returns the paused handlers, sorted by name.
pub(super) async fn list(read: &mut SqliteConnection) -> sqlx::Result<Vec<PausedHandler>> {
    let rows =
        sqlx::query("select handler, paused_at, note from stripe_inbox_paused order by handler");
    rows.fetch_all(read).await?.iter().map(record).collect()
}

/// Pauses a handler, and returns its earlier record. The caller commits the transaction.
pub(super) async fn pause(
    write: &mut SqliteConnection,
    handler: &str,
    note: Option<&str>,
    now: i64,
) -> sqlx::Result<Option<PausedHandler>> {
    let earlier =
        sqlx::query("select handler, paused_at, note from stripe_inbox_paused where handler = ?1");
    let earlier = earlier.bind(handler).fetch_optional(&mut *write).await?;
    let pause = sqlx::query(
        "insert into stripe_inbox_paused (handler, paused_at, note) values (?1, ?2, ?3)
         on conflict do update set note = coalesce(excluded.note, note)",
    );
    pause.bind(handler).bind(now).bind(note).execute(write).await?;
    earlier.as_ref().map(record).transpose()
}

/// Resumes a handler, and returns the record of its pause. The caller commits the transaction.
pub(super) async fn resume(
    write: &mut SqliteConnection,
    handler: &str,
) -> sqlx::Result<Option<PausedHandler>> {
    let resume = sqlx::query(
        "delete from stripe_inbox_paused where handler = ?1 returning handler, paused_at, note",
    );
    resume.bind(handler).fetch_optional(write).await?.as_ref().map(record).transpose()
}

fn record(row: &SqliteRow) -> sqlx::Result<PausedHandler> {
    let handler: String = row.try_get("handler")?;
    Ok(PausedHandler::from_stored(handler, row.try_get("paused_at")?, row.try_get("note")?))
}
