//! Inboxes in SQLite and in PostgreSQL with the shop's tables.

use std::time::{Duration, UNIX_EPOCH};

use router_core::{
    Router,
    build::RouterBuilder,
    clock::{Clock as _, SystemClock},
    testing::{ManualClock, Payload, SyntheticEvent},
};
use router_inbox::{PostgresStore, testing::TestInbox};
use router_test_servers::{postgres, unused_name};
use shop::database;
use sqlx::{AssertSqlSafe, PgPool, Row as _};

/// A shop with an inbox.
pub(crate) enum Shop {
    Sqlite(TestInbox),
    Postgres(TestInbox<PostgresStore>, PgPool),
}

pub(crate) fn router() -> RouterBuilder {
    Router::builder().plugins([shop::PLUGIN])
}

/// Returns an event of this time, in seconds since 1970.
pub(crate) fn event(event_type: &str, seconds: u64) -> SyntheticEvent {
    let created = UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds);
    SyntheticEvent::new(event_type).created(created)
}

/// Returns all permutations of the numbers below `length`.
pub(crate) fn permutations(length: usize) -> Vec<Vec<usize>> {
    if length == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(length - 1).into_iter();
    let longer = shorter.flat_map(|shorter| {
        (0..length).map(move |index| {
            let mut longer = shorter.clone();
            longer.insert(index, length - 1);
            longer
        })
    });
    longer.collect()
}

impl Shop {
    /// Returns a shop in SQLite, and one in PostgreSQL if it is installed.
    pub(crate) async fn on_each_engine(router: impl Fn() -> RouterBuilder) -> Vec<Self> {
        let mut shops = vec![Self::sqlite(router()).await];
        shops.extend(Self::postgres(router()).await);
        shops
    }

    pub(crate) async fn sqlite(router: RouterBuilder) -> Self {
        let inbox = TestInbox::new(router).await.expect("the router is valid");
        database::migrate_sqlite(inbox.pool()).await.expect("the tables are new");
        Self::Sqlite(inbox)
    }

    async fn postgres(router: RouterBuilder) -> Option<Self> {
        let server = postgres::shared()?;
        let name = unused_name();
        let admin = PgPool::connect(&server.url()).await.expect("the database is available");
        let create = AssertSqlSafe(format!("create database {name}"));
        sqlx::raw_sql(create).execute(&admin).await.expect("the database is available");
        let pool = PgPool::connect(&server.url_of(&name)).await.expect("the database is available");
        let store = PostgresStore::from_pool(&pool).await.expect("the database exists");
        database::migrate_postgres(&pool).await.expect("the tables are new");
        let (router, clock) = (router.delivered_by(&store), ManualClock::at(SystemClock.wall()));
        Some(Self::Postgres(
            TestInbox::with_store(router, store, clock).expect("the router is valid"),
            pool,
        ))
    }

    /// Delivers an event, and runs its handlers.
    pub(crate) async fn handle(&self, event: &Payload) {
        match self {
            Self::Sqlite(inbox) => {
                inbox.deliver(event).await;
                inbox.run_until_idle().await;
            }
            Self::Postgres(inbox, _) => {
                inbox.deliver(event).await;
                inbox.run_until_idle().await;
            }
        }
    }

    /// Returns the outcomes of a handler's attempts.
    pub(crate) fn outcomes(&self, handler: &str) -> Vec<&'static str> {
        match self {
            Self::Sqlite(inbox) => inbox.outcomes(handler),
            Self::Postgres(inbox, _) => inbox.outcomes(handler),
        }
    }

    /// Returns the first column of the rows, which must be a text.
    pub(crate) async fn rows(&self, query: &'static str) -> Vec<String> {
        match self {
            Self::Sqlite(inbox) => {
                let rows = sqlx::query(query)
                    .fetch_all(inbox.pool())
                    .await
                    .expect("the database is available");
                rows.iter().map(|row| row.get(0)).collect()
            }
            Self::Postgres(_, pool) => {
                let rows =
                    sqlx::query(query).fetch_all(pool).await.expect("the database is available");
                rows.iter().map(|row| row.get(0)).collect()
            }
        }
    }
}
