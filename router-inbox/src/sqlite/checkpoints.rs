//! The checkpoints that programs store.

use sqlx::SqliteConnection;

/// Returns the value of a checkpoint.
pub(super) async fn get(read: &mut SqliteConnection, name: &str) -> sqlx::Result<Option<String>> {
    let value = sqlx::query_scalar("select value from stripe_inbox_checkpoints where name = ?1");
    value.bind(name).fetch_optional(read).await
}

/// Sets a checkpoint. The caller commits the transaction.
pub(super) async fn set(write: &mut SqliteConnection, name: &str, value: &str) -> sqlx::Result<()> {
    let set = sqlx::query(
        "insert into stripe_inbox_checkpoints (name, value) values (?1, ?2)
         on conflict do update set value = excluded.value",
    );
    set.bind(name).bind(value).execute(write).await?;
    Ok(())
}
