//! Histories in a database that cannot be read, because an operator or another program has changed
//! them.

use std::time::Duration;

use router_inbox::{
    PostgresStore, SqliteStore, Store,
    operations::Operations,
    sqlx::{self, AssertSqlSafe, PgPool, SqlitePool},
    store::{CompleteResult, DeliveryOutcome},
};
use router_test_servers::postgres;

use crate::support::{paid, wanted};

/// Each sets the column `history` to a value that the stores do not write.
const DAMAGED: [&str; 2] = [r#"'{"number":1}'"#, r#"'[{"number":"one"}]'"#];

/// Asserts that an outcome is recorded, and that the delivery can be shown.
async fn assert_is_recorded(store: &(impl Store + Operations)) {
    let lease = store.claim(&wanted(1)).await.expect("store is available").remove(0).lease;
    let (wait, error) = (Duration::ZERO, "not now".to_owned());
    let outcomes = [(lease, DeliveryOutcome::Retry { wait, error })];
    let completed = store.complete(&outcomes).await.expect("store is available");
    assert_eq!(completed, [CompleteResult::Recorded]);
    let shown = store.show("evt_1").await.expect("store is available");
    assert_eq!(shown[0].deliveries[0].error.as_deref(), Some("not now"));
}

#[tokio::test]
async fn damaged_history_in_sqlite_does_not_block_the_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/inbox.db", folder.path().display());
    let store = SqliteStore::open(&url).await.unwrap();
    store.store(&[paid("evt_1")]).await.unwrap();
    let pool = SqlitePool::connect(&url).await.unwrap();
    for history in DAMAGED.into_iter().chain(["'not JSON'"]) {
        let damage = format!("update stripe_inbox_deliveries set history = {history}");
        sqlx::raw_sql(AssertSqlSafe(damage)).execute(&pool).await.unwrap();
        assert_is_recorded(&store).await;
    }
}

#[tokio::test]
async fn damaged_history_in_postgres_does_not_block_the_outcome() {
    let Some(server) = postgres::shared() else { return };
    let schema = router_test_servers::unused_name();
    let store = PostgresStore::options().schema(&schema).connect(&server.url()).await.unwrap();
    store.store(&[paid("evt_1")]).await.unwrap();
    let pool = PgPool::connect(&server.url()).await.unwrap();
    for history in DAMAGED {
        let damage = format!("update {schema}.deliveries set history = {history}");
        sqlx::raw_sql(AssertSqlSafe(damage)).execute(&pool).await.unwrap();
        assert_is_recorded(&store).await;
    }
}
