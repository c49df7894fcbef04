//! A server or a table that becomes unavailable.

use std::time::Duration;

use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{
    Store as _,
    conformance::{ServerSubject as _, Subject as _},
    store::Stored,
};
use router_test_servers::postgres;
use sqlx::AssertSqlSafe;
use tokio::task::JoinSet;

use super::{ServerInbox, TestInbox};
use crate::support::{error_chain, paid, wanted};

/// The default of `PostgresOptions::connections`.
const CONNECTIONS: u32 = 10;

/// The error names the cause. The restarted server is used at once, because lost connections are
/// replaced before a call uses them.
#[tokio::test]
async fn restarted_server_is_used_at_once() {
    if postgres::missing().is_some() {
        return;
    }
    let inbox = ServerInbox::fresh().await;
    inbox.store().store(&[paid("evt_1")]).await.unwrap();
    inbox.stop().await;
    let message = error_chain(&inbox.store().store(&[paid("evt_2")]).await.unwrap_err());
    assert!(message.contains("the server cannot be reached or does not answer"), "{message}");
    inbox.start().await;
    assert_eq!(inbox.store().store(&[paid("evt_2")]).await.unwrap(), [Stored::New]);
}

/// A claim that succeeded after its worker has stopped waiting would belong to no worker.
/// `session_settings_override_database` checks the time limit itself, so that a slow machine fails
/// no test.
#[tokio::test]
async fn claims_blocked_by_a_lock_end_and_claim_nothing() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.store(&[paid("evt_1")]).await.unwrap();
    let mut lock = inbox.database.begin().await.unwrap();
    let statement = format!("lock table {}.deliveries in access exclusive mode", inbox.schema);
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *lock).await.unwrap();
    let mut claims = JoinSet::new();
    // One for each connection of the store.
    for _ in 0..CONNECTIONS {
        let store = inbox.store.clone();
        claims.spawn(async move { store.claim(&wanted(1)).await });
    }
    let claims = tokio::select! {
        claims = claims.join_all() => claims,
        // The limit only guards against hanging.
        () = SystemClock.sleep(Duration::from_secs(60)) => panic!("the claims do not end"),
    };
    for claim in claims {
        let message = error_chain(&claim.unwrap_err());
        assert!(message.contains("statement timeout"), "{message}");
    }
    // Counted on the connection of the lock, because `inbox.database` might open another one.
    let sessions =
        sqlx::query_scalar("select count(*) from pg_stat_activity where application_name = $1");
    let sessions: i64 = sessions.bind(&inbox.schema).fetch_one(&mut *lock).await.unwrap();
    // Those of the store, and the one of the lock.
    assert!(sessions <= i64::from(CONNECTIONS) + 1, "{sessions}");
    lock.rollback().await.unwrap();
    assert_eq!(inbox.store.claim(&wanted(1)).await.unwrap().len(), 1, "no claim was abandoned");
}
