//! The store in a PostgreSQL database keeps the promises of every store, with many processes at once, and through
//! what happens to a server.

mod support;

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use router_inbox::{PostgresStore, conformance::Subject};
use sqlx::{AssertSqlSafe, PgPool};

use self::support::postgres::{self, shared, unused_name};

struct InPostgres {
    store: PostgresStore,
    database: PgPool,
    schema: String,
    now: AtomicI64,
}

#[async_trait::async_trait]
impl Subject for InPostgres {
    type Store = PostgresStore;

    fn missing() -> Option<String> {
        postgres::missing()
    }

    async fn fresh() -> Self {
        let (url, schema) = (shared().url(), unused_name());
        let store = PostgresStore::connect_in(&url, &schema).await.expect("it can be made");
        let database = PgPool::connect_lazy(&url).expect("it is a URL");
        let subject = Self { store, database, schema, now: AtomicI64::new(1_700_000_000_000) };
        subject.pass(Duration::ZERO).await;
        subject
    }

    fn store(&self) -> &PostgresStore {
        &self.store
    }

    async fn pass(&self, time: Duration) {
        let time = time.as_millis() as i64;
        let now = self.now.fetch_add(time, Ordering::Relaxed) + time;
        let schema = &self.schema;
        let stopped = format!(
            "create or replace function {schema}.inbox_now() returns bigint language sql stable as 'select {now}'"
        );
        let stopped = sqlx::raw_sql(AssertSqlSafe(stopped)).execute(&self.database).await;
        stopped.expect("the function is there");
    }
}

router_inbox::store_conformance!(InPostgres);
