//! A server that goes and comes back.

use std::{sync::Arc, time::Duration};

use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{Completed, DeliveryOutcome, JetStreamStore, Store as _, Stored};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    support::{nats::Server, paid, wanted},
    told,
};

/// Stripe is answered within seconds, and nobody need do anything once the server is there.
#[tokio::test]
async fn a_server_that_is_down_is_told_of_soon_and_used_again_once_it_is_there() {
    let Some(mut server) = Server::start() else { return };
    let store = JetStreamStore::connect(&server.url()).await.unwrap();
    store.store(&[paid("evt_1"), paid("evt_2")]).await.unwrap();
    let lease = store.claim(&wanted(1)).await.unwrap().remove(0).lease;
    store.notified().await;
    server.stop();
    for _ in 0..2 {
        let began = SystemClock.monotonic();
        let error = store.store(&[paid("evt_3")]).await.unwrap_err();
        let took = SystemClock.monotonic() - began;
        assert!(took < Duration::from_secs(6), "{took:?}");
        assert!(told(&error).contains(&server.address()), "{}", told(&error));
    }
    server.restart();
    let stored = until_there(async || store.store(&[paid("evt_2"), paid("evt_3")]).await).await;
    assert_eq!(stored, [Stored::Duplicate, Stored::New]);
    let told =
        until_there(async || store.complete(&[(lease.clone(), DeliveryOutcome::Done)]).await).await;
    assert_eq!(told, [Completed::Recorded], "a lease outlives the server");
    // It follows the stream again, and tells that something may have been stored meanwhile.
    store.notified().await;
    let mut claimed = 0;
    while claimed < 2 {
        claimed += until_there(async || store.claim(&wanted(9)).await).await.len();
    }
    let other = JetStreamStore::connect(&server.url()).await.unwrap();
    other.store(&[paid("evt_4")]).await.unwrap();
    while until_there(async || store.claim(&wanted(9)).await).await.is_empty() {
        store.notified().await;
    }
}

/// A connection stays, and nobody answers.
#[tokio::test]
async fn a_server_that_stands_still_is_told_of_and_used_again_once_it_goes_on() {
    let Some(mut server) = Server::start() else { return };
    let store = JetStreamStore::connect(&server.url()).await.unwrap();
    store.store(&[paid("evt_1")]).await.unwrap();
    server.suspend();
    let error = told(&store.store(&[paid("evt_2")]).await.unwrap_err());
    assert!(
        error.contains(&format!("no answer from the NATS server {}", server.address())),
        "{error}"
    );
    server.resume();
    // It had been sent, and was stored once the server went on. Or not, if it was lost on the way.
    let stored = until_there(async || store.store(&[paid("evt_2"), paid("evt_3")]).await).await;
    assert_eq!(stored[1], Stored::New);
    assert_eq!(store.deliveries("evt_2").await.unwrap().len(), 1);
    let mut claimed = 0;
    while claimed < 3 {
        claimed += until_there(async || store.claim(&wanted(9)).await).await.len();
    }
}

/// However the server ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_server_that_is_killed() {
    let Some(mut server) = Server::start() else { return };
    let store = Arc::new(JetStreamStore::connect(&server.url()).await.unwrap());
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
                            // Nobody listens any more, once there are enough.
                            tell.send(()).unwrap_or_default();
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
            let kept = until_there(async || store.deliveries(&id).await).await;
            assert_eq!(kept.len(), 1, "{id}");
        }
    }
}

/// Asks again until the server is there.
async fn until_there<T>(ask: impl AsyncFn() -> Result<T, router_inbox::StoreError>) -> T {
    for _ in 0..300 {
        if let Ok(told) = ask().await {
            return told;
        }
        SystemClock.sleep(Duration::from_millis(100)).await;
    }
    panic!("the server is not used again");
}
