//! Tests of the PostgreSQL store: the conformance suite, concurrent processes and server failures.

mod clock;
mod connect;
mod effects;
mod operations;
mod outages;
mod races;
mod shared_database;
mod storable;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod workers;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use router_core::handler::ErrorChain;
use router_inbox::{PostgresOptions, PostgresStore, StoreError, conformance::Subject};
use router_test_servers::{
    postgres::{self, PASSWORD},
    unused_name,
};
use sqlx::{AssertSqlSafe, PgPool};

struct TestInbox {
    store: Arc<PostgresStore>,
    database: PgPool,
    url: String,
    schema: String,
    now: AtomicI64,
}

impl TestInbox {
    /// Creates an inbox in its own schema, with a clock that only [`pass`](Subject::pass) advances.
    /// Returns `None` if PostgreSQL is not installed.
    async fn create() -> Option<Self> {
        let schema = unused_name();
        // Identifies the inbox's sessions in `pg_stat_activity`.
        let url = format!("{}?application_name={schema}", postgres::shared()?.url());
        let store = PostgresStore::options()
            .schema(&schema)
            .connect(&url)
            .await
            .expect("the schema can be created");
        let store = Arc::new(store);
        let database = PgPool::connect_lazy(&url).expect("the URL is valid");
        let now = AtomicI64::new(1_700_000_000_000);
        let inbox = Self { store, database, url, schema, now };
        inbox.pass(Duration::ZERO).await;
        Some(inbox)
    }

    /// Opens the same inbox again, as another process would.
    async fn reopen(&self) -> PostgresStore {
        self.reopen_with(PostgresStore::options()).await
    }

    /// Opens the same inbox again, with other settings.
    async fn reopen_with(&self, options: PostgresOptions) -> PostgresStore {
        options.schema(&self.schema).connect(&self.url).await.expect("the inbox exists")
    }

    /// Sets the clock back, as an operator of the server may do.
    async fn set_back(&self, time: Duration) {
        self.set_clock(-(time.as_millis() as i64)).await;
    }

    async fn set_clock(&self, change: i64) {
        let now = self.now.fetch_add(change, Ordering::Relaxed) + change;
        let function =
            "create or replace function inbox.inbox_now() returns bigint language sql stable";
        self.execute(&format!("{function} as 'select {now}'")).await;
    }

    /// Executes statements in which `inbox.` is replaced by the schema.
    async fn execute(&self, statements: &str) {
        let statements = AssertSqlSafe(statements.replace("inbox.", &format!("{}.", self.schema)));
        sqlx::raw_sql(statements).execute(&self.database).await.expect("the statements are valid");
    }
}

#[async_trait::async_trait]
impl Subject for TestInbox {
    type Store = PostgresStore;

    fn missing() -> Option<String> {
        postgres::missing()
    }

    async fn fresh() -> Self {
        TestInbox::create().await.expect("PostgreSQL is installed")
    }

    fn store(&self) -> &PostgresStore {
        &self.store
    }

    async fn pass(&self, time: Duration) {
        self.set_clock(time.as_millis() as i64).await;
    }
}

/// Formats an error with its causes, as it is logged, and asserts that it does not show the
/// password.
fn error_chain(error: &StoreError) -> String {
    let message = ErrorChain::new(error).text();
    let all = format!("{message} {error:?}");
    assert!(!all.contains(PASSWORD), "{all}");
    message
}

router_inbox::store_conformance!(TestInbox);
router_inbox::operations_conformance!(TestInbox);
