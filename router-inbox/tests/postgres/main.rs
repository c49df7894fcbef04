//! The store in a PostgreSQL database keeps the promises of every store, with many processes at once, and through
//! what happens to a server.

mod effects;
mod kept;
mod opening;
mod operated;
mod outages;
mod races;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod together;

use std::{
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use router_inbox::{PostgresStore, StoreError, conformance::Subject};
use sqlx::{AssertSqlSafe, PgPool};

use self::support::postgres::{self, PASSWORD};

struct InPostgres {
    store: Arc<PostgresStore>,
    database: PgPool,
    url: String,
    schema: String,
    now: AtomicI64,
}

impl InPostgres {
    /// An inbox in a schema of its own, for which time stands still; none, where there is no PostgreSQL.
    async fn made() -> Option<Self> {
        let schema = postgres::unused_name();
        // So that the server can tell whose sessions are whose.
        let url = format!("{}?application_name={schema}", postgres::shared()?.url());
        let store = PostgresStore::connect_in(&url, &schema).await.expect("it can be made");
        let store = Arc::new(store);
        let database = PgPool::connect_lazy(&url).expect("it is a URL");
        let now = AtomicI64::new(1_700_000_000_000);
        let inbox = Self { store, database, url, schema, now };
        inbox.pass(Duration::ZERO).await;
        Some(inbox)
    }

    /// The same database, as another process opens it.
    async fn again(&self) -> PostgresStore {
        let store = PostgresStore::connect_in(&self.url, &self.schema).await;
        store.expect("it is there")
    }

    /// Statements in which `inbox.` stands for the schema.
    async fn run(&self, statements: &str) {
        let statements = AssertSqlSafe(statements.replace("inbox.", &format!("{}.", self.schema)));
        sqlx::raw_sql(statements).execute(&self.database).await.expect("the tables are there");
    }
}

#[async_trait::async_trait]
impl Subject for InPostgres {
    type Store = PostgresStore;

    fn missing() -> Option<String> {
        postgres::missing()
    }

    async fn fresh() -> Self {
        InPostgres::made().await.expect("nothing is missing")
    }

    fn store(&self) -> &PostgresStore {
        &self.store
    }

    async fn pass(&self, time: Duration) {
        let time = time.as_millis() as i64;
        let now = self.now.fetch_add(time, Ordering::Relaxed) + time;
        let stopped =
            "create or replace function inbox.inbox_now() returns bigint language sql stable";
        self.run(&format!("{stopped} as 'select {now}'")).await;
    }
}

/// An error as it is logged, with all that caused it.
fn told(error: &StoreError) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told += &format!(": {error}");
        cause = error.source();
    }
    let all = format!("{told} {error:?}");
    assert!(!all.contains(PASSWORD), "{all}");
    told
}

router_inbox::store_conformance!(InPostgres);
router_inbox::operations_conformance!(InPostgres);
