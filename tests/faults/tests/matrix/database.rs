//! The database of a shop, or its stream, as somebody else sees it.

use std::path::Path;

use router_inbox::{
    JetStreamStore, PostgresStore, SqliteStore, Store,
    sqlx::{self, AssertSqlSafe, PgPool, Row as _, SqlitePool},
};

use crate::{
    nats,
    postgres::{Server, unused_name},
};

pub(crate) struct Database {
    pub(crate) url: String,
    /// As a process of the shop has it.
    pub(crate) store: Box<dyn Store>,
    pool: Pool,
}

enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    /// A stream: nobody else writes to it.
    None,
}

impl Database {
    pub(crate) async fn in_sqlite(folder: &Path) -> Self {
        let url = format!("sqlite:{}/inbox.db", folder.display());
        let store = SqliteStore::open(&url).await.expect("it can be made");
        let pool = Pool::Sqlite(SqlitePool::connect_lazy(&url).expect("it is a URL"));
        Self { url, store: Box::new(store), pool }.with_effects().await
    }

    pub(crate) async fn in_postgres(server: &Server) -> Self {
        let name = unused_name();
        let all = PgPool::connect_lazy(&server.url()).expect("it is a URL");
        let create = sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&all);
        create.await.expect("the server runs");
        all.close().await;
        let url = server.url_of(&name);
        let store = PostgresStore::connect(&url).await.expect("it can be made");
        let pool = Pool::Postgres(PgPool::connect_lazy(&url).expect("it is a URL"));
        Self { url, store: Box::new(store), pool }.with_effects().await
    }

    /// In the server, or the cluster, at this URL.
    pub(crate) async fn in_jetstream(server: &str) -> Self {
        let url = format!("{server}/{}", nats::unused_name());
        let store = JetStreamStore::connect(&url).await.expect("it can be made");
        Self { url, store: Box::new(store), pool: Pool::None }
    }

    /// Nothing is unique, so that what is there twice is seen.
    async fn with_effects(self) -> Self {
        self.run("create table effects (event text not null, handler text not null)").await;
        self
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.pool, Pool::Postgres(_))
    }

    pub(crate) fn is_a_file(&self) -> bool {
        matches!(self.pool, Pool::Sqlite(_))
    }

    /// Whether handlers can write in it.
    pub(crate) fn has_tx(&self) -> bool {
        !matches!(self.pool, Pool::None)
    }

    pub(crate) async fn run(&self, statements: &str) {
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        match &self.pool {
            Pool::Sqlite(pool) => statements.execute(pool).await.map(drop),
            Pool::Postgres(pool) => statements.execute(pool).await.map(drop),
            Pool::None => panic!("it understands no SQL"),
        }
        .expect("they are correct");
    }

    /// What handlers have written in their `Tx`: handler and event.
    pub(crate) async fn effects(&self) -> Vec<(String, String)> {
        const ALL: &str = "select handler, event from effects";
        match &self.pool {
            Pool::Sqlite(pool) => {
                let rows = sqlx::query(ALL).fetch_all(pool).await.expect("it can be read");
                rows.iter().map(|row| (row.get(0), row.get(1))).collect()
            }
            Pool::Postgres(pool) => {
                let rows = sqlx::query(ALL).fetch_all(pool).await.expect("it can be read");
                rows.iter().map(|row| (row.get(0), row.get(1))).collect()
            }
            Pool::None => Vec::new(),
        }
    }

    /// Nobody else writes, until what this returns is dropped. (Where there is a file.)
    pub(crate) async fn locked(&self) -> sqlx::Transaction<'static, sqlx::Sqlite> {
        let Pool::Sqlite(pool) = &self.pool else { panic!("it is no file") };
        pool.begin_with("BEGIN EXCLUSIVE").await.expect("nobody writes for long")
    }
}
