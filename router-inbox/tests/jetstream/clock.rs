//! A server whose clock is set back.

use std::{sync::Arc, time::Duration};

use router_core::{
    clock::{Clock as _, SystemClock},
    testing::ManualClock,
};
use router_inbox::{
    JetStreamStore, Store as _,
    conformance::Subject as _,
    store::{DeliveryOutcome, DeliveryState},
};
use router_test_servers::nats::Server;

use crate::{
    TestInbox,
    support::{paid, updated, wanted},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

impl TestInbox {
    /// Opens the same inbox with a clock that is behind, as after the clock was set back.
    async fn reopen_behind(&self, time: Duration) -> Self {
        let clock = ManualClock::at(self.clock.wall() - time);
        let store = JetStreamStore::options().clock(clock.clone()).connect(&self.url).await;
        let store = Arc::new(store.expect("the inbox exists"));
        Self { store, url: self.url.clone(), clock }
    }
}

/// Claims up to nine deliveries, and returns the ids of their events.
async fn claim_ids(store: &JetStreamStore) -> Vec<String> {
    let claims = store.claim(&wanted(9)).await.expect("the store is available").into_iter();
    claims.map(|claim| claim.event.expect("the event is undamaged").id().to_owned()).collect()
}

#[tokio::test]
async fn clock_set_back_while_stopped_delays_no_event() {
    let Some(inbox) = TestInbox::create().await else { return };
    let events = [paid("evt_1"), updated("evt_2", 1), updated("evt_3", 1)];
    inbox.store.store(&events).await.unwrap();
    let inbox = inbox.reopen_behind(HOUR).await;
    let claims = inbox.store.claim(&wanted(9)).await.unwrap();
    assert_eq!(claims.len(), 2);
    inbox.store.complete(&[(claims[1].lease.clone(), DeliveryOutcome::Done)]).await.unwrap();
    assert_eq!(claim_ids(&inbox.store).await, ["evt_3"], "which was blocked");
}

/// The retry waits its delay, and the lease lasts as long as intended.
#[tokio::test]
async fn clock_set_back_keeps_delays_and_leases() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.store(&[paid("evt_1"), paid("evt_2")]).await.unwrap();
    let claims = inbox.store.claim(&wanted(9)).await.unwrap();
    let retry = DeliveryOutcome::Retry { wait: MINUTE * 5, error: "not now".into() };
    inbox.store.complete(&[(claims[0].lease.clone(), retry)]).await.unwrap();
    let inbox = inbox.reopen_behind(YEAR * 20).await;
    assert!(claim_ids(&inbox.store).await.is_empty());
    inbox.pass(MINUTE - SECOND).await;
    assert!(claim_ids(&inbox.store).await.is_empty());
    assert_eq!(inbox.store.deliveries("evt_2").await.unwrap()[0].state, DeliveryState::Running);
    inbox.pass(SECOND).await;
    let expired = inbox.store.claim(&wanted(9)).await.unwrap();
    assert!(expired[0].lease_expired && expired.len() == 1);
    inbox.pass(MINUTE * 4 - SECOND).await;
    assert_eq!(claim_ids(&inbox.store).await, ["evt_2"], "whose lease has expired again");
    inbox.pass(SECOND).await;
    assert_eq!(claim_ids(&inbox.store).await, ["evt_1"]);
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
    // Only guards against hanging.
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
