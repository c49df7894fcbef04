//! The transaction of a handler, in SQLite or in PostgreSQL.
//!
//! Both engines accept `$1` as a parameter and `on conflict … do update … where`, so a handler has
//! one statement for both.

use router_core::{
    BoxError, Event, FromEvent, Rejection,
    extract::{Either, PerDelivery},
};
use router_inbox::Tx;
use sqlx::{
    Encode, PgConnection, PgPool, Postgres, SqlSafeStr as _, Sqlite, SqliteConnection, SqlitePool,
    Type,
    encode::IsNull,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    postgres::{PgArgumentBuffer, PgTypeInfo, types::Oid},
    query::Query,
    sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo},
};

/// The transaction that commits a handler's writes with its delivery, in the inbox's database.
#[derive(Debug)]
pub enum Database {
    /// The inbox is in SQLite.
    Sqlite(Tx<Sqlite>),
    /// The inbox is in PostgreSQL.
    Postgres(Tx<Postgres>),
}

/// A connection in a transaction that has begun.
#[derive(Debug)]
pub enum Connection<'c> {
    /// A connection to SQLite.
    Sqlite(&'c mut SqliteConnection),
    /// A connection to PostgreSQL.
    Postgres(&'c mut PgConnection),
}

/// A value of a parameter.
#[derive(Debug, Clone, Copy)]
pub enum Value<'v> {
    /// A text, or null.
    Text(Option<&'v str>),
    /// An integer, or null.
    Integer(Option<i64>),
    /// A truth value.
    Boolean(bool),
    /// A JSON text, for a column of type `json`.
    Json(&'v str),
}

/// The tables' migrations, in the order of their versions. A released migration never changes.
const MIGRATIONS: [&str; 5] = [
    include_str!("../migrations/1_orders.sql"),
    include_str!("../migrations/2_subscriptions.sql"),
    include_str!("../migrations/3_disputes.sql"),
    include_str!("../migrations/4_stripe_objects.sql"),
    include_str!("../migrations/5_sent_mails.sql"),
];

/// Creates or migrates the shop's tables in the SQLite file of the inbox.
///
/// # Errors
///
/// Fails if the database cannot be written, or if another program has made the tables.
pub async fn migrate_sqlite(pool: &SqlitePool) -> Result<(), MigrateError> {
    // sqlx takes no lock on SQLite, so two processes could both find the tables missing. The write
    // lock lets the second one wait.
    let mut transaction = pool.begin_with("begin immediate").await?;
    migrator().run(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

/// Creates or migrates the shop's tables in the PostgreSQL database of the inbox, in the first
/// schema of the search path. The inbox has a schema of its own.
///
/// # Errors
///
/// Fails if the database cannot be written, or if another program has made the tables.
pub async fn migrate_postgres(pool: &PgPool) -> Result<(), MigrateError> {
    migrator().run(pool).await
}

fn migrator() -> Migrator {
    let migrations = (1..).zip(MIGRATIONS).map(|(version, sql)| {
        Migration::new(version, "shop".into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // The application may have migrations of its own in the default table.
    migrator.dangerous_set_table_name("shop_migrations");
    migrator
}

impl Database {
    /// Begins the transaction, or continues it. See [`Tx::begin`]: on SQLite nothing else can write
    /// from here on, so do slow work before.
    ///
    /// # Errors
    ///
    /// Fails if the database cannot begin a transaction.
    pub async fn begin(&mut self) -> Result<Connection<'_>, BoxError> {
        Ok(match self {
            Self::Sqlite(tx) => Connection::Sqlite(tx.begin().await?),
            Self::Postgres(tx) => Connection::Postgres(tx.begin().await?),
        })
    }
}

impl FromEvent for Database {
    type Needs = Either<PerDelivery<Tx<Sqlite>>, PerDelivery<Tx<Postgres>>>;

    async fn from_event(_: &Event, provided: Self::Needs) -> Result<Self, Rejection> {
        Ok(match provided {
            Either::First(PerDelivery(tx)) => Self::Sqlite(tx),
            Either::Second(PerDelivery(tx)) => Self::Postgres(tx),
        })
    }
}

impl Connection<'_> {
    /// Executes a statement. Returns the number of rows that it has inserted or changed.
    ///
    /// # Errors
    ///
    /// Fails if the database refuses the statement or a value.
    pub async fn execute(
        &mut self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64, BoxError> {
        Ok(match self {
            Self::Sqlite(connection) => {
                let query = values.iter().fold(sqlx::query(statement), bind);
                query.execute(&mut **connection).await?.rows_affected()
            }
            Self::Postgres(connection) => {
                let query = values.iter().fold(sqlx::query(statement), bind);
                query.execute(&mut **connection).await?.rows_affected()
            }
        })
    }
}

fn bind<'q, DB: sqlx::Database>(
    query: Query<'q, DB, DB::Arguments>,
    value: &Value<'_>,
) -> Query<'q, DB, DB::Arguments>
where
    for<'v> Option<&'v str>: Encode<'v, DB> + Type<DB>,
    for<'v> Option<i64>: Encode<'v, DB> + Type<DB>,
    for<'v> bool: Encode<'v, DB> + Type<DB>,
    for<'v> JsonText<'v>: Encode<'v, DB> + Type<DB>,
{
    match *value {
        Value::Text(text) => query.bind(text),
        Value::Integer(integer) => query.bind(integer),
        Value::Boolean(boolean) => query.bind(boolean),
        Value::Json(text) => query.bind(JsonText(text)),
    }
}

/// A JSON text that the database stores unchanged. A `sqlx::types::Json` is sent to PostgreSQL as
/// `jsonb`, which refuses the escape `\u0000`.
struct JsonText<'v>(&'v str);

impl Type<Sqlite> for JsonText<'_> {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for JsonText<'_> {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxError> {
        Encode::<Sqlite>::encode_by_ref(&self.0, buffer)
    }
}

impl Type<Postgres> for JsonText<'_> {
    fn type_info() -> PgTypeInfo {
        // `json` in the system catalog.
        PgTypeInfo::with_oid(Oid(114))
    }
}

impl Encode<'_, Postgres> for JsonText<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxError> {
        Encode::<Postgres>::encode_by_ref(&self.0, buffer)
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(text: &'v str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'v> From<&'v Option<String>> for Value<'v> {
    fn from(text: &'v Option<String>) -> Self {
        Self::Text(text.as_deref())
    }
}

impl From<i64> for Value<'_> {
    fn from(integer: i64) -> Self {
        Self::Integer(Some(integer))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(integer: Option<i64>) -> Self {
        Self::Integer(integer)
    }
}

impl From<bool> for Value<'_> {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}
