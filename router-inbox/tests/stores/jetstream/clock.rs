//! A server whose clock is set back.

use std::time::Duration;

use router_core::{
    clock::{Clock as _, SystemClock},
    testing::ManualClock,
};
use router_inbox::{JetStreamStore, Store as _};
use router_test_servers::nats::Server;

use crate::support::{paid, wanted};

const SECOND: Duration = Duration::from_secs(1);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Claims up to nine deliveries, and returns the ids of their events.
async fn claim_ids(store: &JetStreamStore) -> Vec<String> {
    let claims = store.claim(&wanted(9)).await.expect("the store is available").into_iter();
    claims.map(|claim| claim.event.expect("the event is undamaged").id().to_owned()).collect()
}

/// The deliveries were scheduled by the time of a server that was far ahead. A process that is
/// running finds them when it asks the server for its time, as it does after it has reconnected.
#[tokio::test]
async fn running_process_corrects_due_times_of_server_that_was_ahead() {
    let Some(mut server) = Server::start() else { return };
    let store = JetStreamStore::connect(&server.url()).await.unwrap();
    assert!(claim_ids(&store).await.is_empty());
    let ahead = ManualClock::at(SystemClock.wall() + YEAR * 73);
    let other = JetStreamStore::options().clock(ahead).connect(&server.url()).await.unwrap();
    other.store(&[paid("evt_1")]).await.unwrap();
    store.notified().await;
    assert!(claim_ids(&store).await.is_empty(), "the store's estimate is up to a minute old");
    server.kill();
    server.restart();
    // The limit only guards against hanging.
    let deadline = SystemClock.monotonic() + SECOND * 30;
    while SystemClock.monotonic() < deadline {
        match store.claim(&wanted(9)).await.as_deref() {
            Ok([claim]) => {
                assert_eq!(claim.event.as_ref().unwrap().id(), "evt_1");
                return;
            }
            _ => SystemClock.sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("the delivery is still waiting");
}
