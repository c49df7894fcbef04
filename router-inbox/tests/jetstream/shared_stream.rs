//! Several processes that share a stream.

use std::time::Duration;

use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{
    JetStreamStore, Store as _,
    conformance::Subject as _,
    operations::ChangeOutcome,
    store::{
        CompleteResult, DeliveryOutcome, DeliveryState, HandlerSlots, Lease, NewDelivery, NewEvent,
        Operations as _, Stored, StoredDelivery,
    },
};
use router_test_servers::nats;
use tokio::task::JoinSet;

use crate::{
    TestInbox, duplicate, operator,
    support::{paid, shared, wanted},
};

#[tokio::test]
async fn reopened_inbox_has_stored_events() {
    let Some(inbox) = TestInbox::create().await else { return };
    assert_eq!(inbox.store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    let other = inbox.reopen().await;
    assert_eq!(other.store(&[paid("evt_1")]).await.unwrap(), [duplicate()]);
    // Two stores that share the stream never claim the same delivery.
    let lease = other.claim(&wanted(9)).await.unwrap().remove(0).lease;
    assert!(inbox.store.claim(&wanted(9)).await.unwrap().is_empty());
    // Another store may complete the delivery by its lease.
    assert_eq!(complete(&inbox.store, lease).await, CompleteResult::Recorded);
    assert_eq!(other.deliveries("evt_1").await.unwrap()[0].state, DeliveryState::Done);
}

#[tokio::test]
async fn change_by_other_process_notifies() {
    let Some(inbox) = TestInbox::create().await else { return };
    let other = inbox.reopen().await;
    // Returns once the store follows the stream.
    inbox.store.notified().await;
    inbox.store.store(&[paid("evt_1")]).await.unwrap();
    other.store(&[paid("evt_2")]).await.unwrap();
    let mut claimed = 0;
    while claimed < 2 {
        // Wake-ups may be spurious; this one may be for the store's own event.
        inbox.store.notified().await;
        claimed += inbox.store.claim(&wanted(9)).await.unwrap().len();
    }
    // A change by an operator notifies too.
    other.store(&[paid("evt_3")]).await.unwrap();
    let discarded = other.discard("evt_3", None).await.unwrap();
    assert_eq!(discarded[0].change, ChangeOutcome::Applied);
    inbox.store.notified().await;
    assert!(inbox.store.claim(&wanted(9)).await.unwrap().is_empty());
}

/// No write relies on the local view being current.
#[tokio::test]
async fn concurrent_claims_never_share_a_delivery() {
    let Some(inbox) = TestInbox::create().await else { return };
    let stores = [inbox.reopen().await, inbox.reopen().await, inbox.reopen().await];
    for store in &stores {
        store.backlog().await.unwrap();
    }
    for round in 0..30 {
        let events: Vec<_> = (0..4).map(|n| paid(&format!("evt_{round}_{n}"))).collect();
        inbox.store.store(&events).await.unwrap();
        let mut claiming = JoinSet::new();
        for store in &stores {
            // Wait for a wake-up, so that all claim at about the same time.
            let store = store.clone();
            claiming.spawn(async move {
                store.notified().await;
                claim_leases(&store).await
            });
        }
        let mut claimed = claiming.join_all().await.concat();
        claimed.extend(claim_leases(&inbox.store).await);
        let mut deliveries: Vec<_> = claimed.iter().map(|lease| lease.delivery).collect();
        deliveries.sort_unstable();
        deliveries.dedup();
        assert_eq!((claimed.len(), deliveries.len()), (4, 4), "round {round}");
        for lease in claimed {
            assert_eq!(complete(&stores[round % 3], lease).await, CompleteResult::Recorded);
        }
    }
}

#[tokio::test]
async fn late_completion_loses_to_later_claim() {
    let Some(inbox) = TestInbox::create().await else { return };
    let other = inbox.reopen().await;
    inbox.store.store(&[paid("evt_1")]).await.unwrap();
    let late = claim_leases(&inbox.store).await.remove(0);
    inbox.pass(Duration::from_secs(60)).await;
    let lease = claim_leases(&other).await.remove(0);
    assert_eq!(complete(&inbox.store, late.clone()).await, CompleteResult::LeaseLost);
    assert_eq!(inbox.store.extend(&[late], Duration::from_secs(60)).await.unwrap(), [false]);
    assert_eq!(complete(&other, lease).await, CompleteResult::Recorded);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_duplicates_are_stored_once() {
    let Some(inbox) = TestInbox::create().await else { return };
    shared::concurrent_duplicates_are_stored_once(async || inbox.reopen().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_ordered_delivery_runs_per_object() {
    let Some(inbox) = TestInbox::create().await else { return };
    let open = async || inbox.reopen().await;
    shared::one_ordered_delivery_runs_per_object(open).await;
}

/// Tombstones expire by their TTL. One may expire after a store has listed it and before it reads
/// it; the store must not wait for it.
#[tokio::test]
async fn expired_tombstone_does_not_block_opening() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.store(&[paid("evt_1")]).await.unwrap();
    let context = operator(nats::shared().unwrap()).await;
    let name = inbox.url.rsplit('/').next().unwrap();
    // Enough tombstones that some expire while they are read.
    for batch in 0..20 {
        for n in 1..=900 {
            let mut headers = async_nats::HeaderMap::new();
            headers.insert("Nats-TTL", "2s");
            headers.insert("Nats-Batch-Id", format!("{batch}"));
            headers.insert("Nats-Batch-Sequence", n.to_string());
            if n == 900 {
                headers.insert("Nats-Batch-Commit", "1");
            }
            let subject = format!("{name}.open.lane.evt_{batch}_{n}.moved");
            let sent = context.publish_with_headers(subject, headers, "".into()).await.unwrap();
            if n == 900 {
                sent.await.unwrap();
            }
        }
    }
    let began = SystemClock.monotonic();
    while SystemClock.monotonic() - began < Duration::from_secs(4) {
        let opened = SystemClock.monotonic();
        assert_eq!(inbox.reopen().await.backlog().await.unwrap().len(), 1);
        let took = SystemClock.monotonic() - opened;
        assert!(took < Duration::from_secs(20), "{took:?}");
    }
}

/// All deliveries of an event share one record, so these completions conflict.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_completions_of_one_event_are_recorded() {
    const HANDLERS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let Some(inbox) = TestInbox::create().await else { return };
    for round in 0..10 {
        let id = format!("evt_{round}");
        let delivery = |handler: &&str| NewDelivery::new(*handler);
        let deliveries = HANDLERS.iter().map(delivery).collect();
        inbox.store.store(&[NewEvent::new(paid(&id).event, deliveries)]).await.unwrap();
        let mut tasks = JoinSet::new();
        for handler in HANDLERS {
            let store = inbox.reopen().await;
            tasks.spawn(async move {
                let mut wanted = wanted(1);
                wanted.handlers = vec![HandlerSlots::new(handler, 1)];
                let lease = loop {
                    if let Some(claim) = store.claim(&wanted).await.unwrap().pop() {
                        break claim.lease;
                    }
                    tokio::task::yield_now().await;
                };
                complete(&store, lease).await
            });
        }
        assert_eq!(tasks.join_all().await, [CompleteResult::Recorded; HANDLERS.len()]);
        let deliveries = inbox.store.deliveries(&id).await.unwrap();
        let is_done = |delivery: &StoredDelivery| {
            (delivery.state, delivery.attempts) == (DeliveryState::Done, 1)
        };
        assert!(deliveries.iter().all(is_done), "{deliveries:?}");
    }
}

/// Claims up to nine deliveries and returns their leases.
async fn claim_leases(store: &JetStreamStore) -> Vec<Lease> {
    let claims = store.claim(&wanted(9)).await.expect("the store is available");
    claims.into_iter().map(|claim| claim.lease).collect()
}

async fn complete(store: &JetStreamStore, lease: Lease) -> CompleteResult {
    let completed =
        store.complete(&[(lease, DeliveryOutcome::Done)]).await.expect("the store is available");
    completed[0]
}
