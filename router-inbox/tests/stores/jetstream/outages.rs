//! A server that becomes unresponsive and comes back.

use std::time::Duration;

use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{JetStreamStore, Store as _, store::Stored};
use router_test_servers::nats::Server;

use crate::support::error_chain;
use crate::support::{paid, wanted};

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

/// The stream cannot be followed when the wait begins. Other processes may store events before this
/// one follows the stream again.
#[tokio::test]
async fn wait_that_begins_during_outage_is_notified_after_it() {
    let Some(mut server) = Server::start() else { return };
    let store = JetStreamStore::connect(&server.url()).await.unwrap();
    store.notified().await;
    server.kill();
    let is_noticed = async || {
        let claimed = store.claim(&wanted(9)).await;
        claimed.is_err_and(|error| error_chain(&error).contains("cannot follow"))
    };
    while !is_noticed().await {
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
    let notified = async {
        tokio::select! {
            () = store.notified() => {}
            // The limit only guards against hanging.
            () = SystemClock.sleep(Duration::from_secs(30)) => panic!("the wait did not end"),
        }
    };
    tokio::join!(notified, async { server.restart() });
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
