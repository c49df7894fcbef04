//! The tables, and how an older file gets them.

use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

/// Each is applied once, in this order, and never changed: files are out there that have it. What an older
/// version, which may run beside this one, cannot live with would be a step of its own with a new name for the
/// tables.
const STEPS: [&str; 2] = [include_str!("schema.sql"), include_str!("operations.sql")];

/// Applies what a file does not have yet. Two processes that begin at once do it one after the other.
pub(super) async fn migrate(writer: &mut SqliteConnection) -> sqlx::Result<()> {
    let mut write = writer.begin_with("BEGIN IMMEDIATE").await?;
    let row = sqlx::query("pragma user_version").fetch_one(&mut *write);
    let applied: i64 = row.await.and_then(|row| row.try_get(0))?;
    let applied = usize::try_from(applied).unwrap_or(0);
    for step in STEPS.iter().skip(applied) {
        sqlx::raw_sql(*step).execute(&mut *write).await?;
    }
    if applied < STEPS.len() {
        let version = format!("pragma user_version = {}", STEPS.len());
        let set = sqlx::raw_sql(AssertSqlSafe(version)).execute(&mut *write);
        set.await?;
    }
    write.commit().await
}
