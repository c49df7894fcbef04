//! Where the tables are, and how an older schema gets them.

use std::fmt;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

/// Each is applied once, in this order, and never changed: databases are out there that have it. What an older
/// version, which may run beside this one, cannot live with would be a step of its own with a new name for the
/// tables.
const STEPS: [&str; 2] = [include_str!("schema.sql"), include_str!("operations.sql")];

/// The schema that has the tables, and nothing else.
#[derive(Debug, Clone)]
pub(super) struct Schema(String);

#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} cannot be the name of an inbox's schema; take up to 63 letters a to z, digits and underscores, no digit \
     first"
)]
pub(super) struct NoName(String);

impl Schema {
    pub(super) fn new(name: &str) -> Result<Self, NoName> {
        let is_first = |first: u8| first.is_ascii_lowercase() || first == b'_';
        let is_name = |byte: u8| is_first(byte) || byte.is_ascii_digit();
        // PostgreSQL would cut a longer one off, and has no channel of that name.
        let fits = matches!(name.len(), 1..=63);
        if fits && is_first(name.as_bytes()[0]) && name.bytes().all(is_name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(NoName(name.to_owned()))
        }
    }

    /// Its name, which is also that of the channel on which stores tell each other.
    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// A statement in which `inbox.` stands for the schema. Not by the `search_path`: that is the application's.
    pub(super) fn sql(&self, statement: &'static str) -> AssertSqlSafe<String> {
        AssertSqlSafe(statement.replace("inbox.", &format!("\"{}\".", self.0)))
    }

    /// Whether it has the tables of an inbox, of any version.
    pub(super) async fn is_there(&self, connection: &mut PgConnection) -> sqlx::Result<bool> {
        let is_there = sqlx::query("select to_regclass($1 || '.migrations') is not null");
        is_there.bind(&self.0).fetch_one(connection).await?.try_get(0)
    }

    /// Applies what the schema does not have yet. Several processes that begin at once do it one after the other.
    /// Where nothing is to be done nothing need be allowed.
    pub(super) async fn migrate(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let mut write = connection.begin().await?;
        sqlx::query("select pg_advisory_xact_lock(hashtextextended('inbox schema ' || $1, 0))")
            .bind(&self.0)
            .execute(&mut *write)
            .await?;
        let there = sqlx::query(
            "select to_regnamespace($1) is not null, to_regclass($1 || '.migrations') is not null",
        );
        let there = there.bind(&self.0).fetch_one(&mut *write).await?;
        if !there.try_get::<bool, _>(0)? {
            let create = AssertSqlSafe(format!("create schema \"{}\"", self.0));
            sqlx::raw_sql(create).execute(&mut *write).await?;
        }
        if !there.try_get::<bool, _>(1)? {
            let create = "create table inbox.migrations (
                step integer primary key, applied_at timestamptz not null default now())";
            sqlx::raw_sql(self.sql(create)).execute(&mut *write).await?;
        }
        let applied = sqlx::query(self.sql("select coalesce(max(step), 0) from inbox.migrations"));
        let applied: i32 = applied.fetch_one(&mut *write).await?.try_get(0)?;
        let steps = (1..).zip(STEPS).skip(usize::try_from(applied).unwrap_or(0));
        for (number, step) in steps {
            sqlx::raw_sql(self.sql(step)).execute(&mut *write).await?;
            let applied = sqlx::query(self.sql("insert into inbox.migrations (step) values ($1)"));
            applied.bind::<i32>(number).execute(&mut *write).await?;
        }
        write.commit().await
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
