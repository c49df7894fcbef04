//! A server that becomes unavailable and comes back.

use std::{sync::Arc, time::Duration};

use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{
    PostgresStore, Store as _,
    store::{CompleteResult, DeliveryOutcome, Stored},
};
use router_test_servers::postgres::Server;
use sqlx::AssertSqlSafe;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    TestInbox, error_chain,
    support::{paid, wanted},
};

/// The default of `PostgresOptions::connections`.
const CONNECTIONS: u32 = 10;

/// Stripe is answered within seconds, and the store recovers without intervention.
#[tokio::test]
async fn unavailable_server_fails_soon_and_is_reused() {
    let Some(mut server) = Server::start() else { return };
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    store.store(&[paid("evt_1"), paid("evt_2")]).await.unwrap();
    let lease = store.claim(&wanted(1)).await.unwrap().remove(0).lease;
    // Opens two connections, so that more than one is lost.
    let (first, second) = tokio::join!(store.deliveries("evt_1"), store.deliveries("evt_2"));
    assert_eq!((first.unwrap().len(), second.unwrap().len()), (1, 1));
    store.notified().await;
    server.stop();
    for _ in 0..2 {
        let began = SystemClock.monotonic();
        let error = store.store(&[paid("evt_3")]).await.unwrap_err();
        let took = SystemClock.monotonic() - began;
        assert!(took < Duration::from_secs(5), "{took:?}");
        let message = error_chain(&error);
        assert!(message.contains(&server.address()), "{message}");
        assert!(message.contains("the server cannot be reached or does not answer"), "{message}");
    }
    server.restart();
    let stored = store.store(&[paid("evt_2"), paid("evt_3")]).await.unwrap();
    assert!(stored[0].is_duplicate() && stored[1] == Stored::New, "{stored:?}");
    let completed = store.complete(&[(lease, DeliveryOutcome::Done)]).await.unwrap();
    assert_eq!(completed, [CompleteResult::Recorded], "a lease survives a restart of the server");
    assert_eq!(store.claim(&wanted(9)).await.unwrap().len(), 2);
    // It listens again, and wakes once because events may have been stored meanwhile.
    store.notified().await;
    let other = PostgresStore::connect(&server.url()).await.unwrap();
    other.store(&[paid("evt_4")]).await.unwrap();
    store.notified().await;
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
        // Only guards against hanging.
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

/// The server is killed while events are being stored.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_events_survive_killed_server() {
    let Some(mut server) = Server::start() else { return };
    let store = Arc::new(PostgresStore::connect(&server.url()).await.unwrap());
    for round in 0..3 {
        let mut tasks = JoinSet::new();
        let (sender, mut receiver) = mpsc::unbounded_channel();
        for task in 0..4 {
            let (store, sender) = (store.clone(), sender.clone());
            tasks.spawn(async move {
                let mut acknowledged = Vec::new();
                for n in 0.. {
                    let id = format!("evt_{round}_{task}_{n}");
                    match store.store(&[paid(&id)]).await {
                        Ok(_) => {
                            acknowledged.push(id);
                            sender.send(()).expect("the receiver outlives the tasks");
                        }
                        Err(_) => break,
                    }
                }
                acknowledged
            });
        }
        for _ in 0..10 {
            receiver.recv().await.expect("the tasks store until the server is killed");
        }
        server.kill();
        let acknowledged = tasks.join_all().await.concat();
        server.restart();
        for id in acknowledged {
            assert_eq!(store.deliveries(&id).await.unwrap().len(), 1, "{id}");
        }
    }
}
