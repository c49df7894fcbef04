//! A server whose clock is set back.

use std::time::Duration;

use router_inbox::{
    PostgresStore, Store as _,
    conformance::Subject as _,
    store::{DeliveryOutcome, DeliveryState},
};

use crate::{
    TestInbox,
    support::{paid, updated, wanted},
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

impl TestInbox {
    /// Claims up to nine deliveries, and returns the ids of their events.
    async fn claim_ids(&self, store: &PostgresStore) -> Vec<String> {
        let claims = store.claim(&wanted(9)).await.expect("the store is available").into_iter();
        claims.map(|claim| claim.event.expect("the event is undamaged").id().to_owned()).collect()
    }
}

/// The first claim after the jump finds nothing, and notices the jump.
#[tokio::test]
async fn clock_set_back_delays_no_stored_event() {
    let Some(inbox) = TestInbox::create().await else { return };
    assert!(inbox.claim_ids(&inbox.store).await.is_empty());
    let events = [paid("evt_1"), updated("evt_2", 1), updated("evt_3", 1)];
    inbox.store.store(&events).await.unwrap();
    inbox.set_back(HOUR).await;
    assert!(inbox.claim_ids(&inbox.store).await.is_empty());
    let claims = inbox.store.claim(&wanted(9)).await.unwrap();
    let ordered = claims[1].lease.clone();
    assert_eq!(claims.len(), 2);
    inbox.store.complete(&[(ordered, DeliveryOutcome::Done)]).await.unwrap();
    assert_eq!(inbox.claim_ids(&inbox.store).await, ["evt_3"], "which was blocked");
}

#[tokio::test]
async fn clock_set_back_while_stopped_delays_no_event() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.store(&[paid("evt_1")]).await.unwrap();
    inbox.set_back(HOUR).await;
    assert_eq!(inbox.claim_ids(&inbox.reopen().await).await, ["evt_1"]);
}

/// The retry waits its delay, and the lease lasts as long as intended.
#[tokio::test]
async fn clock_set_back_keeps_delays_and_leases() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.store(&[paid("evt_1"), paid("evt_2")]).await.unwrap();
    let claims = inbox.store.claim(&wanted(9)).await.unwrap();
    let retry = DeliveryOutcome::Retry { wait: MINUTE * 5, error: "not now".into() };
    inbox.store.complete(&[(claims[0].lease.clone(), retry)]).await.unwrap();
    inbox.set_back(HOUR * 24 * 365 * 20).await;
    let store = inbox.reopen().await;
    assert!(inbox.claim_ids(&store).await.is_empty());
    inbox.pass(MINUTE - Duration::from_secs(1)).await;
    assert!(inbox.claim_ids(&store).await.is_empty());
    assert_eq!(store.deliveries("evt_2").await.unwrap()[0].state, DeliveryState::Running);
    inbox.pass(Duration::from_secs(1)).await;
    let expired = store.claim(&wanted(9)).await.unwrap();
    assert!(expired[0].lease_expired && expired.len() == 1);
    inbox.pass(MINUTE * 4 - Duration::from_secs(1)).await;
    assert_eq!(inbox.claim_ids(&store).await, ["evt_2"], "whose lease has expired again");
    inbox.pass(Duration::from_secs(1)).await;
    assert_eq!(inbox.claim_ids(&store).await, ["evt_1"]);
}
