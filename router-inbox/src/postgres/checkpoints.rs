//! The checkpoints that programs store.

use sqlx::PgConnection;

use super::schema::Schema;

/// Returns the value of a checkpoint.
pub(super) async fn get(
    read: &mut PgConnection,
    schema: &Schema,
    name: &str,
) -> sqlx::Result<Option<String>> {
    let value =
        sqlx::query_scalar(schema.sql("select value from inbox.checkpoints where name = $1"));
    value.bind(name).fetch_optional(read).await
}

/// Sets a checkpoint.
pub(super) async fn set(
    write: &mut PgConnection,
    schema: &Schema,
    name: &str,
    value: &str,
) -> sqlx::Result<()> {
    let set = sqlx::query(schema.sql(
        "insert into inbox.checkpoints (name, value) values ($1, $2)
         on conflict (name) do update set value = excluded.value",
    ));
    set.bind(name).bind(value).execute(write).await?;
    Ok(())
}
