//! Tests of the PostgreSQL store: the conformance suite, and tests specific to PostgreSQL.

mod checkpoints;
mod connect;
mod effects;
mod notifications;
mod outages;
mod pause;
mod plans;
mod races;
mod status;
mod tls;
mod workers;

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use router_inbox::{
    PostgresOptions, PostgresStore, StoreError,
    conformance::{ServerSubject, Subject},
};
use router_test_servers::{
    postgres::{self, PASSWORD, Server},
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
        Some(Self::create_on(postgres::shared()?).await)
    }

    async fn create_on(server: &Server) -> Self {
        let schema = unused_name();
        // Identifies the inbox's sessions in `pg_stat_activity`.
        let url = format!("{}?application_name={schema}", server.url());
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
        inbox
    }

    /// Opens the same inbox again, with other settings.
    async fn reopen_with(&self, options: PostgresOptions) -> PostgresStore {
        options.schema(&self.schema).connect(&self.url).await.expect("the inbox exists")
    }

    async fn set_clock(&self, change: i64) {
        let now = self.now.fetch_add(change, Ordering::Relaxed) + change;
        let function =
            "create or replace function inbox.inbox_now() returns bigint language sql stable";
        self.execute(&format!("{function} as 'select {now}'")).await;
    }

    /// Opens the inbox as a user with all privileges except those for one table.
    async fn open_without_privilege_for(&self, table: &str) -> Result<PostgresStore, StoreError> {
        let (schema, user) = (&self.schema, unused_name());
        let grant = format!(
            "create role {user} login password '{PASSWORD}';
             grant usage on schema {schema} to {user};
             grant select, insert, update, delete on all tables in schema {schema} to {user};
             revoke all on {schema}.{table} from {user}"
        );
        self.execute(&grant).await;
        let url = self.url.replace("postgres:of", &format!("{user}:of"));
        PostgresStore::options().schema(schema).connect(&url).await
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

    async fn reopen(&self) -> PostgresStore {
        self.reopen_with(PostgresStore::options()).await
    }

    fn notifies() -> bool {
        true
    }

    async fn pass(&self, time: Duration) {
        self.set_clock(time.as_millis() as i64).await;
    }

    async fn set_back(&self, time: Duration) -> bool {
        self.set_clock(-(time.as_millis() as i64)).await;
        true
    }
}

/// An inbox on a server of its own.
struct ServerInbox {
    inbox: TestInbox,
    server: Mutex<Server>,
}

impl ServerInbox {
    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().expect("no holder of the lock panics")
    }
}

#[async_trait::async_trait]
impl Subject for ServerInbox {
    type Store = PostgresStore;

    fn missing() -> Option<String> {
        postgres::missing()
    }

    async fn fresh() -> Self {
        let server = Server::start().expect("PostgreSQL is installed");
        let inbox = TestInbox::create_on(&server).await;
        Self { inbox, server: Mutex::new(server) }
    }

    fn store(&self) -> &PostgresStore {
        self.inbox.store()
    }

    async fn reopen(&self) -> PostgresStore {
        self.inbox.reopen().await
    }

    fn notifies() -> bool {
        true
    }

    async fn pass(&self, time: Duration) {
        self.inbox.pass(time).await;
    }
}

#[async_trait::async_trait]
impl ServerSubject for ServerInbox {
    fn address(&self) -> String {
        self.server().address()
    }

    async fn stop(&self) {
        self.server().stop();
    }

    async fn kill(&self) {
        self.server().kill();
    }

    async fn start(&self) {
        self.server().restart();
    }
}

router_inbox::store_conformance!(TestInbox);
router_inbox::operations_conformance!(TestInbox);
router_inbox::outage_conformance!(ServerInbox);
