//! A server that becomes unavailable or unresponsive and comes back.

use std::{sync::Arc, time::Duration};

use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{
    JetStreamStore, Store as _,
    store::{CompleteResult, DeliveryOutcome, Stored},
};
use router_test_servers::nats::Server;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    duplicate, error_chain,
    support::{paid, wanted},
};

/// Stripe is answered within seconds, and the store recovers without intervention.
#[tokio::test]
async fn unavailable_server_fails_soon_and_is_reused() {
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
        assert!(error_chain(&error).contains(&server.address()), "{}", error_chain(&error));
    }
    server.restart();
    let stored =
        retry_until_available(async || store.store(&[paid("evt_2"), paid("evt_3")]).await).await;
    assert_eq!(stored, [duplicate(), Stored::New]);
    let completed = retry_until_available(async || {
        store.complete(&[(lease.clone(), DeliveryOutcome::Done)]).await
    })
    .await;
    assert_eq!(completed, [CompleteResult::Recorded], "a lease survives a restart of the server");
    // It follows the stream again, and wakes once because events may have been stored meanwhile.
    store.notified().await;
    let mut claimed = 0;
    while claimed < 2 {
        claimed += retry_until_available(async || store.claim(&wanted(9)).await).await.len();
    }
    let other = JetStreamStore::connect(&server.url()).await.unwrap();
    other.store(&[paid("evt_4")]).await.unwrap();
    while retry_until_available(async || store.claim(&wanted(9)).await).await.is_empty() {
        store.notified().await;
    }
}

/// A suspended server keeps its connections open but does not answer.
#[tokio::test]
async fn suspended_server_fails_and_is_reused() {
    let Some(mut server) = Server::start() else { return };
    let store = JetStreamStore::connect(&server.url()).await.unwrap();
    store.store(&[paid("evt_1")]).await.unwrap();
    server.suspend();
    let error = error_chain(&store.store(&[paid("evt_2")]).await.unwrap_err());
    assert!(
        error.contains(&format!("no answer from the NATS server {}", server.address())),
        "{error}"
    );
    server.resume();
    // The event was sent, so the server stored it when it resumed, unless the message was lost.
    let stored =
        retry_until_available(async || store.store(&[paid("evt_2"), paid("evt_3")]).await).await;
    assert_eq!(stored[1], Stored::New);
    assert_eq!(store.deliveries("evt_2").await.unwrap().len(), 1);
    let mut claimed = 0;
    while claimed < 3 {
        claimed += retry_until_available(async || store.claim(&wanted(9)).await).await.len();
    }
}

/// The server is killed while events are being stored.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_events_survive_killed_server() {
    let Some(mut server) = Server::start() else { return };
    let store = Arc::new(JetStreamStore::connect(&server.url()).await.unwrap());
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
                            // The receiver is gone once enough events are stored.
                            sender.send(()).unwrap_or_default();
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
            let deliveries = retry_until_available(async || store.deliveries(&id).await).await;
            assert_eq!(deliveries.len(), 1, "{id}");
        }
    }
}

/// Retries until the server is available, for about 30 seconds.
pub(crate) async fn retry_until_available<T>(
    call: impl AsyncFn() -> Result<T, router_inbox::StoreError>,
) -> T {
    for _ in 0..300 {
        if let Ok(value) = call().await {
            return value;
        }
        SystemClock.sleep(Duration::from_millis(100)).await;
    }
    panic!("the store did not recover");
}
