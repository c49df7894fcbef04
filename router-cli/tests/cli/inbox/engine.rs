//! The stores on which the tests of `inbox` run: SQLite, PostgreSQL and NATS JetStream.

use std::time::{SystemTime, UNIX_EPOCH};

use router_core::{clock::Clock as _, testing::ManualClock};
use router_inbox::{
    JetStreamStore, PostgresStore, SqliteStore, Store,
    sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql},
    store::Operations,
};
use router_test_servers::{nats, postgres, unused_name};
use tempfile::TempDir;

/// Defines a `#[test]` for each test on SQLite. For PostgreSQL and for NATS JetStream it defines a
/// single `#[test]` that runs all of them, because starting a server takes longer than most tests.
macro_rules! on_each_store {
    ($($test:ident),* $(,)?) => {
        mod on_sqlite {
            $(
                #[test]
                fn $test() {
                    super::$test(crate::inbox::engine::Sqlite::new());
                }
            )*
        }

        #[test]
        fn on_postgres() {
            $crate::inbox::engine::run_tests::<crate::inbox::engine::Postgres>(&[
                $((stringify!($test), $test)),*
            ]);
        }

        #[test]
        fn on_jetstream() {
            $crate::inbox::engine::run_tests::<crate::inbox::engine::JetStream>(&[
                $((stringify!($test), $test)),*
            ]);
        }
    };
}
pub(super) use on_each_store;

/// A test and its name.
type Test<E> = (&'static str, fn(E));

/// Runs tests one after the other, each with an inbox of its own. Skips them if the engine's server
/// is not installed.
pub(super) fn run_tests<E: Engine>(tests: &[Test<E>]) {
    for (name, test) in tests {
        let Some(engine) = E::start() else { return };
        println!("{name}");
        // Each store asserts the same inline snapshots again, which insta would refuse.
        insta::allow_duplicates!(test(engine));
    }
}

/// An engine of the store, with an inbox that no other test uses.
pub(super) trait Engine: Sized + Send + Sync {
    type Store: Store + Operations + Clone;

    /// Returns an engine with an unused inbox, and starts the shared server if needed. Returns
    /// `None` if the server is not installed.
    fn start() -> Option<Self>;

    /// Returns the URL of the inbox.
    fn url(&self) -> String;

    /// Creates the inbox. Returns a store whose time is that of `clock`.
    async fn create(&self, clock: &ManualClock) -> Self::Store;

    /// Sets the store's time. Does nothing for a store that reads the clock given to `create`.
    async fn set_time(&self, _: SystemTime) {}
}

pub(super) struct Sqlite {
    pub(super) folder: TempDir,
}

impl Sqlite {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be created") }
    }
}

impl Engine for Sqlite {
    type Store = SqliteStore;

    fn start() -> Option<Self> {
        Some(Self::new())
    }

    fn url(&self) -> String {
        format!("sqlite:{}/inbox.db", self.folder.path().display())
    }

    async fn create(&self, clock: &ManualClock) -> SqliteStore {
        let store = SqliteStore::options().clock(clock.clone()).open(&self.url()).await;
        store.expect("the file can be created")
    }
}

/// A database that only one test uses, in the server that the tests share.
pub(super) struct Postgres {
    server: &'static postgres::Server,
    database: String,
}

impl Postgres {
    /// Executes statements in a database of the server.
    async fn execute(&self, database: &str, statements: String) {
        let connection = PgConnection::connect(&self.server.url_of(database)).await;
        let mut connection = connection.expect("the server is running");
        let executed = raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await;
        executed.expect("the statements are valid");
    }
}

impl Engine for Postgres {
    type Store = PostgresStore;

    fn start() -> Option<Self> {
        let database = unused_name();
        Some(Self { server: postgres::shared()?, database })
    }

    fn url(&self) -> String {
        self.server.url_of(&self.database)
    }

    /// Creates the database. In the store's sessions `inbox_now()` returns the time in a table, so
    /// that a test can advance the store's time. For the CLI it returns the server's time.
    async fn create(&self, clock: &ManualClock) -> PostgresStore {
        self.execute("postgres", format!("create database {}", self.database)).await;
        let url = format!("{}?application_name=store", self.url());
        let store = PostgresStore::connect(&url).await.expect("the tables can be created");
        let store_time = "create table time (now bigint);
             insert into time values (0);
             create or replace function stripe_inbox.inbox_now() returns bigint language sql stable as $$
                 select case current_setting('application_name')
                     when 'store' then (select now from public.time)
                     else (extract(epoch from clock_timestamp()) * 1000)::bigint
                 end $$";
        self.execute(&self.database, store_time.to_owned()).await;
        self.set_time(clock.wall()).await;
        store
    }

    async fn set_time(&self, time: SystemTime) {
        let now = time.duration_since(UNIX_EPOCH).expect("the time is after 1970").as_millis();
        self.execute(&self.database, format!("update time set now = {now}")).await;
    }
}

/// A stream that only one test uses, in the server that the tests share.
pub(super) struct JetStream {
    url: String,
}

impl Engine for JetStream {
    type Store = JetStreamStore;

    fn start() -> Option<Self> {
        let server = nats::shared()?;
        Some(Self { url: server.url_of(&unused_name()) })
    }

    fn url(&self) -> String {
        self.url.clone()
    }

    async fn create(&self, clock: &ManualClock) -> JetStreamStore {
        let store = JetStreamStore::options().clock(clock.clone()).connect(&self.url).await;
        store.expect("the stream can be created")
    }
}
