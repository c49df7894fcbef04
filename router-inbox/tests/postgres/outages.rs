//! A server that goes and comes back.

use std::{sync::Arc, time::Duration};

use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{Completed, DeliveryOutcome, PostgresStore, Store as _, Stored};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    support::{paid, postgres::Server, wanted},
    told,
};

/// Stripe is answered within seconds, and nobody need do anything once the server is there.
#[tokio::test]
async fn a_server_that_is_down_is_told_of_soon_and_used_again_once_it_is_there() {
    let Some(mut server) = Server::start() else { return };
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    store.store(&[paid("evt_1"), paid("evt_2")]).await.unwrap();
    let lease = store.claim(&wanted(1)).await.unwrap().remove(0).lease;
    // More than one connection is lost.
    let (one, other) = tokio::join!(store.deliveries("evt_1"), store.deliveries("evt_2"));
    assert_eq!((one.unwrap().len(), other.unwrap().len()), (1, 1));
    store.notified().await;
    server.stop();
    for _ in 0..2 {
        let began = SystemClock.monotonic();
        let error = store.store(&[paid("evt_3")]).await.unwrap_err();
        let took = SystemClock.monotonic() - began;
        assert!(took < Duration::from_secs(5), "{took:?}");
        let told = told(&error);
        assert!(told.contains(&server.address()), "{told}");
        assert!(told.contains("the server cannot be reached, or all 10 connections"), "{told}");
    }
    server.restart();
    let stored = store.store(&[paid("evt_2"), paid("evt_3")]).await.unwrap();
    assert_eq!(stored, [Stored::Duplicate, Stored::New]);
    let told = store.complete(&[(lease, DeliveryOutcome::Done)]).await.unwrap();
    assert_eq!(told, [Completed::Recorded], "a lease outlives the server");
    assert_eq!(store.claim(&wanted(9)).await.unwrap().len(), 2);
    // It listens again, and tells that something may have been stored meanwhile.
    store.notified().await;
    let other = PostgresStore::connect(&server.url()).await.unwrap();
    other.store(&[paid("evt_4")]).await.unwrap();
    store.notified().await;
}

/// However the server ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_server_that_is_killed() {
    let Some(mut server) = Server::start() else { return };
    let store = Arc::new(PostgresStore::connect(&server.url()).await.unwrap());
    for round in 0..3 {
        let mut tasks = JoinSet::new();
        let (tell, mut told) = mpsc::unbounded_channel();
        for task in 0..4 {
            let (store, tell) = (store.clone(), tell.clone());
            tasks.spawn(async move {
                let mut acknowledged = Vec::new();
                for n in 0.. {
                    let id = format!("evt_{round}_{task}_{n}");
                    match store.store(&[paid(&id)]).await {
                        Ok(_) => {
                            acknowledged.push(id);
                            tell.send(()).expect("the test listens");
                        }
                        Err(_) => break,
                    }
                }
                acknowledged
            });
        }
        for _ in 0..10 {
            told.recv().await.expect("they go on");
        }
        server.kill();
        let acknowledged = tasks.join_all().await.concat();
        server.restart();
        for id in acknowledged {
            assert_eq!(store.deliveries(&id).await.unwrap().len(), 1, "{id}");
        }
    }
}
