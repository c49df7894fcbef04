//! The schema of the tables and its migrations.

use std::fmt;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

/// The migrations, each applied once and in this order. They are never changed once released,
/// because databases exist in which they are applied. Processes of an older version may share the
/// database, so a change that would break them must create tables under a new name.
const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/1_inbox.sql"),
    include_str!("migrations/2_operating.sql"),
    include_str!("migrations/3_checkpoints.sql"),
];

/// The name of the schema that holds the tables and nothing else.
#[derive(Debug, Clone)]
pub(super) struct Schema(String);

#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a valid schema name for an inbox; use up to 63 letters a to z, digits and underscores, not \
     starting with a digit"
)]
pub(super) struct InvalidName(String);

impl Schema {
    pub(super) fn new(name: &str) -> Result<Self, InvalidName> {
        let is_first = |first: u8| first.is_ascii_lowercase() || first == b'_';
        let is_name = |byte: u8| is_first(byte) || byte.is_ascii_digit();
        // PostgreSQL truncates longer identifiers, and rejects longer channel names.
        let fits = matches!(name.len(), 1..=63);
        if fits && is_first(name.as_bytes()[0]) && name.bytes().all(is_name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidName(name.to_owned()))
        }
    }

    /// The schema's name, which is also the name of the notification channel.
    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// Replaces `inbox.` in a statement by the schema. The `search_path` is not used for this,
    /// because it belongs to the application.
    pub(super) fn sql(&self, statement: &'static str) -> AssertSqlSafe<String> {
        AssertSqlSafe(statement.replace("inbox.", &format!("\"{}\".", self.0)))
    }

    /// Returns whether the schema holds an inbox of any version.
    pub(super) async fn has_inbox(&self, connection: &mut PgConnection) -> sqlx::Result<bool> {
        let has_inbox = sqlx::query("select to_regclass($1 || '.migrations') is not null");
        has_inbox.bind(&self.0).fetch_one(connection).await?.try_get(0)
    }

    /// Applies the missing migrations. An advisory lock serializes processes that start at the same
    /// time. Needs no privileges if nothing is missing.
    pub(super) async fn migrate(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let mut write = connection.begin().await?;
        sqlx::query("select pg_advisory_xact_lock(hashtextextended('inbox schema ' || $1, 0))")
            .bind(&self.0)
            .execute(&mut *write)
            .await?;
        let exists = sqlx::query(
            "select to_regnamespace($1) is not null, to_regclass($1 || '.migrations') is not null",
        );
        let exists = exists.bind(&self.0).fetch_one(&mut *write).await?;
        if !exists.try_get::<bool, _>(0)? {
            let create = AssertSqlSafe(format!("create schema \"{}\"", self.0));
            sqlx::raw_sql(create).execute(&mut *write).await?;
        }
        if !exists.try_get::<bool, _>(1)? {
            let create = "create table inbox.migrations (
                step integer primary key, applied_at timestamptz not null default now())";
            sqlx::raw_sql(self.sql(create)).execute(&mut *write).await?;
        }
        let applied = sqlx::query(self.sql("select coalesce(max(step), 0) from inbox.migrations"));
        let applied: i32 = applied.fetch_one(&mut *write).await?.try_get(0)?;
        // A change of a table waits for every transaction that uses it, and everything else waits
        // behind the change. So it gives up soon, before events are refused and leases expire.
        sqlx::query("set local lock_timeout = '2s'").execute(&mut *write).await?;
        let steps = (1..).zip(MIGRATIONS).skip(usize::try_from(applied).unwrap_or(0));
        for (number, step) in steps {
            sqlx::raw_sql(self.sql(step)).execute(&mut *write).await?;
            let applied = sqlx::query(self.sql("insert into inbox.migrations (step) values ($1)"));
            applied.bind::<i32>(number).execute(&mut *write).await?;
        }
        write.commit().await
    }

    /// Returns whether the user may read the paused handlers. No worker claims anything without
    /// them.
    pub(super) async fn may_read_pauses(
        &self,
        connection: &mut PgConnection,
    ) -> sqlx::Result<bool> {
        let may_read = sqlx::query_scalar("select has_table_privilege($1 || '.paused', 'select')");
        may_read.bind(&self.0).fetch_one(connection).await
    }

    /// Returns a table that the migrations create and that does not exist.
    pub(super) async fn missing_table(
        &self,
        connection: &mut PgConnection,
    ) -> sqlx::Result<Option<String>> {
        let tables = MIGRATIONS.iter().flat_map(|step| step.split("create table inbox.").skip(1));
        let tables = tables.filter_map(|table| table.split_whitespace().next());
        let missing = sqlx::query_scalar(
            "select name from unnest($1) name where to_regclass($2 || '.' || name) is null limit 1",
        );
        let missing = missing.bind(tables.collect::<Vec<_>>()).bind(&self.0);
        missing.fetch_optional(connection).await
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
