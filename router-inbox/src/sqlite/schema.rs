//! The tables and their migrations.

use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

/// The migrations, each applied once and in this order. They are never changed once released,
/// because files exist in which they are applied. Processes of an older version may share the file,
/// so a change that would break them must create tables under a new name.
const MIGRATIONS: [&str; 3] =
    [include_str!("schema.sql"), include_str!("operations.sql"), include_str!("delays.sql")];

/// Applies the missing migrations. The write lock serializes processes that start at the same time.
pub(super) async fn migrate(writer: &mut SqliteConnection) -> sqlx::Result<()> {
    let mut write = writer.begin_with("BEGIN IMMEDIATE").await?;
    let version = sqlx::query("pragma user_version").fetch_one(&mut *write);
    let version: i64 = version.await.and_then(|row| row.try_get(0))?;
    let applied = usize::try_from(version).unwrap_or(0);
    for migration in MIGRATIONS.iter().skip(applied) {
        sqlx::raw_sql(*migration).execute(&mut *write).await?;
    }
    if applied < MIGRATIONS.len() {
        let set_version = format!("pragma user_version = {}", MIGRATIONS.len());
        sqlx::raw_sql(AssertSqlSafe(set_version)).execute(&mut *write).await?;
    }
    write.commit().await
}
