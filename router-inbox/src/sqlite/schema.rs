//! The tables and their migrations.
//!
//! The names of all tables, indexes, views and triggers begin with `stripe_inbox_`, because the
//! application's own tables may be in the same file. For the same reason `pragma user_version` is
//! never used.

use std::collections::BTreeSet;

use sqlx::{Connection as _, Row as _, SqliteConnection};

/// The migrations, each applied once and in this order. They are never changed once released,
/// because files exist in which they are applied. Processes of an older version may share the file,
/// so a change that would break them must create tables under a new name.
const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/1_inbox.sql"),
    include_str!("migrations/2_operating.sql"),
    include_str!("migrations/3_checkpoints.sql"),
];

#[derive(Debug, thiserror::Error)]
pub(super) enum MigrateError {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

/// The reason why a database cannot be used as an inbox.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("is a database that contains no inbox")]
    NoInbox,
    #[error(
        "has an inbox from before its tables were renamed to `stripe_inbox_…`; finish its deliveries with the \
         program that wrote them, or start with a new file"
    )]
    FormerInbox,
    #[error(
        "has a {0} that the inbox did not create; rename it, because names that begin with \
         `stripe_inbox_` are reserved for the inbox"
    )]
    NameInUse(String),
    #[error(
        "has an inbox without the {0}; restore a backup of the file, or start with an empty inbox: drop everything \
         whose name begins with `stripe_inbox_`"
    )]
    Incomplete(String),
}

/// Checks that the database contains an inbox of any version.
pub(super) async fn check(read: &mut SqliteConnection) -> Result<(), MigrateError> {
    let tables = sqlx::query(
        "select exists (select 1 from pragma_table_info('stripe_inbox_migrations') where name = 'step'),
             (select count(*) from pragma_table_info('events') where name in ('identity', 'event_id', 'generation'))
             + (select count(*) from pragma_table_info('deliveries') where name in ('handler', 'token')) = 5",
    );
    let row = tables.fetch_one(read).await?;
    match (row.try_get(0)?, row.try_get(1)?) {
        (true, _) => Ok(()),
        (false, true) => Err(Unusable::FormerInbox.into()),
        (false, false) => Err(Unusable::NoInbox.into()),
    }
}

/// Applies the missing migrations, and checks that everything they create exists. The write lock
/// serializes processes that start at the same time.
pub(super) async fn migrate(writer: &mut SqliteConnection) -> Result<(), MigrateError> {
    let mut write = writer.begin_with("BEGIN IMMEDIATE").await?;
    match check(&mut write).await {
        Err(MigrateError::Unusable(Unusable::NoInbox)) => create(&mut write).await?,
        checked => checked?,
    }
    let applied = sqlx::query("select coalesce(max(step), 0) from stripe_inbox_migrations");
    let applied: i64 = applied.fetch_one(&mut *write).await?.try_get(0)?;
    let steps = (1..).zip(MIGRATIONS).skip(usize::try_from(applied).unwrap_or(0));
    for (number, step) in steps {
        sqlx::raw_sql(step).execute(&mut *write).await?;
        let applied = sqlx::query("insert into stripe_inbox_migrations (step) values (?1)");
        applied.bind::<i64>(number).execute(&mut *write).await?;
    }
    let (created, existing) = (created().await?, names(&mut write).await?);
    let missing = created.difference(&existing);
    // If a table is missing, so are its columns, indexes and triggers; the error names the table.
    if let Some(missing) = missing.max_by_key(|name| name.starts_with("table")) {
        return Err(Unusable::Incomplete(missing.clone()).into());
    }
    Ok(write.commit().await?)
}

/// Creates the table of the applied migrations in a database without an inbox.
async fn create(write: &mut SqliteConnection) -> Result<(), MigrateError> {
    if let Some(name) = names(write).await?.pop_last() {
        return Err(Unusable::NameInUse(name).into());
    }
    let create = "create table stripe_inbox_migrations (
        step integer primary key, applied_at text not null default current_timestamp) strict";
    sqlx::raw_sql(create).execute(write).await?;
    Ok(())
}

/// Returns the names that the migrations create, by applying them to a database in memory.
async fn created() -> sqlx::Result<BTreeSet<String>> {
    let mut empty = SqliteConnection::connect("sqlite::memory:").await?;
    for step in MIGRATIONS {
        sqlx::raw_sql(step).execute(&mut empty).await?;
    }
    let created = names(&mut empty).await?;
    empty.close().await?;
    Ok(created)
}

/// Returns the tables, indexes, views and triggers whose names begin with the prefix, and the
/// columns of the tables, such as `table stripe_inbox_events`.
async fn names(read: &mut SqliteConnection) -> sqlx::Result<BTreeSet<String>> {
    let names = sqlx::query_scalar(
        "with named as (select type, name from sqlite_schema where name like 'stripe\\_inbox\\_%' escape '\\')
         select type || ' `' || name || '`' from named
         union all
         select 'column `' || c.name || '` of the table `' || named.name || '`'
         from named join pragma_table_info(named.name) c where named.type = 'table'",
    );
    Ok(names.fetch_all(read).await?.into_iter().collect())
}
