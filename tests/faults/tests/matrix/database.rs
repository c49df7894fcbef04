//! The database or stream of a shop, as accessed by the tests.

use std::path::Path;

use router_inbox::{
    JetStreamStore, PostgresStore, SqliteStore, Store,
    sqlx::{self, AssertSqlSafe, PgPool, Row as _, SqlitePool},
};
use router_test_servers::{postgres::Server, unused_name};

pub(crate) struct Database {
    pub(crate) url: String,
    /// The inbox's store, which the shop's processes use too.
    pub(crate) store: Box<dyn Store>,
    pool: Pool,
}

enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    /// A stream, which has no SQL.
    None,
}

impl Database {
    pub(crate) async fn in_sqlite(folder: &Path) -> Self {
        let url = format!("sqlite:{}/inbox.db", folder.display());
        let store = SqliteStore::open(&url).await.expect("inbox can be created");
        let pool = Pool::Sqlite(SqlitePool::connect_lazy(&url).expect("URL is valid"));
        Self { url, store: Box::new(store), pool }.with_effects().await
    }

    pub(crate) async fn in_postgres(server: &Server) -> Self {
        let name = unused_name();
        let all = PgPool::connect_lazy(&server.url()).expect("URL is valid");
        let create = sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&all);
        create.await.expect("server is running");
        all.close().await;
        let url = server.url_of(&name);
        let store = PostgresStore::connect(&url).await.expect("inbox can be created");
        let pool = Pool::Postgres(PgPool::connect_lazy(&url).expect("URL is valid"));
        Self { url, store: Box::new(store), pool }.with_effects().await
    }

    /// Creates an inbox on the NATS server or cluster at this URL.
    pub(crate) async fn in_jetstream(server: &str) -> Self {
        let url = format!("{server}/{}", unused_name());
        let store = JetStreamStore::connect(&url).await.expect("inbox can be created");
        Self { url, store: Box::new(store), pool: Pool::None }
    }

    /// Creates the table for the handlers' effects. It has no unique index, so that an effect that
    /// happens twice has two rows.
    async fn with_effects(self) -> Self {
        self.run_sql("create table effects (event text not null, handler text not null)").await;
        self
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.pool, Pool::Postgres(_))
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self.pool, Pool::Sqlite(_))
    }

    /// Returns whether handlers can write in a `Tx`.
    pub(crate) fn has_tx(&self) -> bool {
        !matches!(self.pool, Pool::None)
    }

    pub(crate) async fn run_sql(&self, statements: &str) {
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        match &self.pool {
            Pool::Sqlite(pool) => statements.execute(pool).await.map(drop),
            Pool::Postgres(pool) => statements.execute(pool).await.map(drop),
            Pool::None => panic!("a stream has no SQL"),
        }
        .expect("statements are valid");
    }

    /// Returns the handler and event of each effect that handlers have committed in a `Tx`.
    pub(crate) async fn effects(&self) -> Vec<(String, String)> {
        const ALL: &str = "select handler, event from effects";
        match &self.pool {
            Pool::Sqlite(pool) => {
                let rows = sqlx::query(ALL).fetch_all(pool).await.expect("table is readable");
                rows.iter().map(|row| (row.get(0), row.get(1))).collect()
            }
            Pool::Postgres(pool) => {
                let rows = sqlx::query(ALL).fetch_all(pool).await.expect("table is readable");
                rows.iter().map(|row| (row.get(0), row.get(1))).collect()
            }
            Pool::None => Vec::new(),
        }
    }

    /// Returns the first column of the rows, which must be a text.
    pub(crate) async fn texts(&self, query: &str) -> Vec<String> {
        let query = AssertSqlSafe(query.to_owned());
        match &self.pool {
            Pool::Sqlite(pool) => {
                let rows = sqlx::query(query).fetch_all(pool).await.expect("query is valid");
                rows.iter().map(|row| row.get(0)).collect()
            }
            Pool::Postgres(pool) => {
                let rows = sqlx::query(query).fetch_all(pool).await.expect("query is valid");
                rows.iter().map(|row| row.get(0)).collect()
            }
            Pool::None => panic!("a stream has no SQL"),
        }
    }

    /// Locks the SQLite file exclusively, until the transaction ends.
    pub(crate) async fn lock_sqlite(&self) -> sqlx::Transaction<'static, sqlx::Sqlite> {
        let Pool::Sqlite(pool) = &self.pool else { panic!("the inbox is not in SQLite") };
        pool.begin_with("BEGIN EXCLUSIVE")
            .await
            .expect("file can be locked within the busy timeout")
    }
}
