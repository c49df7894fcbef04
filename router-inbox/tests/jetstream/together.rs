//! Several processes that share a stream.

use std::time::Duration;

use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{
    Completed, DeliveryOutcome, DeliveryState, JetStreamStore, Lease, NewDelivery, NewEvent,
    Operations as _, Store as _, Stored, conformance::Subject as _, operations::ChangeOutcome,
};
use tokio::task::JoinSet;

use crate::{
    InJetStream, connected,
    support::{nats, paid, shared, wanted},
};

#[tokio::test]
async fn what_was_stored_is_there_when_it_is_opened_again() {
    let Some(inbox) = InJetStream::made().await else { return };
    assert_eq!(inbox.store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    let again = inbox.again().await;
    assert_eq!(again.store(&[paid("evt_1")]).await.unwrap(), [Stored::Duplicate]);
    // Two that have it open at once do not claim one delivery both.
    let lease = again.claim(&wanted(9)).await.unwrap().remove(0).lease;
    assert!(inbox.store.claim(&wanted(9)).await.unwrap().is_empty());
    // Nor does it matter who has claimed it.
    assert_eq!(done(&inbox.store, lease).await, Completed::Recorded);
    assert_eq!(again.deliveries("evt_1").await.unwrap()[0].state, DeliveryState::Done);
}

#[tokio::test]
async fn what_another_process_does_is_heard_of() {
    let Some(inbox) = InJetStream::made().await else { return };
    let other = inbox.again().await;
    // That it listens from now on.
    inbox.store.notified().await;
    inbox.store.store(&[paid("evt_1")]).await.unwrap();
    other.store(&[paid("evt_2")]).await.unwrap();
    let mut claimed = 0;
    while claimed < 2 {
        // It may come for nothing, as for what this process has stored itself.
        inbox.store.notified().await;
        claimed += inbox.store.claim(&wanted(9)).await.unwrap().len();
    }
    // An operator is another process too.
    other.store(&[paid("evt_3")]).await.unwrap();
    let told = other.discard("evt_3", None).await.unwrap();
    assert_eq!(told[0].change, ChangeOutcome::Applied);
    inbox.store.notified().await;
    assert!(inbox.store.claim(&wanted(9)).await.unwrap().is_empty());
}

/// Whatever a process has not heard of yet, no write of it relies on.
#[tokio::test]
async fn of_two_that_claim_at_once_one_gets_it() {
    let Some(inbox) = InJetStream::made().await else { return };
    let stores = [inbox.again().await, inbox.again().await, inbox.again().await];
    for store in &stores {
        store.backlog().await.unwrap();
    }
    for round in 0..30 {
        let events: Vec<_> = (0..4).map(|n| paid(&format!("evt_{round}_{n}"))).collect();
        inbox.store.store(&events).await.unwrap();
        let mut claiming = JoinSet::new();
        for store in &stores {
            // Until it has heard of something.
            let store = store.clone();
            claiming.spawn(async move {
                store.notified().await;
                leases(&store).await
            });
        }
        let mut claimed = claiming.join_all().await.concat();
        claimed.extend(leases(&inbox.store).await);
        let mut deliveries: Vec<_> = claimed.iter().map(|lease| lease.delivery).collect();
        deliveries.sort_unstable();
        deliveries.dedup();
        assert_eq!((claimed.len(), deliveries.len()), (4, 4), "round {round}");
        for lease in claimed {
            assert_eq!(done(&stores[round % 3], lease).await, Completed::Recorded);
        }
    }
}

#[tokio::test]
async fn a_late_end_loses_to_who_has_claimed_since() {
    let Some(inbox) = InJetStream::made().await else { return };
    let other = inbox.again().await;
    inbox.store.store(&[paid("evt_1")]).await.unwrap();
    let late = leases(&inbox.store).await.remove(0);
    inbox.pass(Duration::from_secs(60)).await;
    let lease = leases(&other).await.remove(0);
    assert_eq!(done(&inbox.store, late.clone()).await, Completed::LeaseLost);
    assert_eq!(inbox.store.extend(&[late], Duration::from_secs(60)).await.unwrap(), [false]);
    assert_eq!(done(&other, lease).await, Completed::Recorded);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_events_in_any_order_are_stored_once() {
    let Some(inbox) = InJetStream::made().await else { return };
    shared::the_same_events_in_any_order_are_stored_once(async || inbox.again().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_delivery_of_an_object_is_out_however_many_store_and_claim() {
    let Some(inbox) = InJetStream::made().await else { return };
    let another = async || inbox.again().await;
    shared::one_delivery_of_an_object_is_out_however_many_store_and_claim(another).await;
}

/// Where a record was, a message goes by itself after a while, also while somebody counts on reading it.
#[tokio::test]
async fn what_goes_while_it_is_read_is_not_waited_for() {
    let Some(inbox) = InJetStream::made().await else { return };
    inbox.store.store(&[paid("evt_1")]).await.unwrap();
    let context = connected(nats::shared().unwrap()).await;
    let name = inbox.url.rsplit('/').next().unwrap();
    // So many that they go while they are read.
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
        assert_eq!(inbox.again().await.backlog().await.unwrap().len(), 1);
        let took = SystemClock.monotonic() - opened;
        assert!(took < Duration::from_secs(20), "{took:?}");
    }
}

/// Each handler's end is a change of the event's one record.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn handlers_of_one_event_end_in_different_processes_at_once() {
    const HANDLERS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let Some(inbox) = InJetStream::made().await else { return };
    for round in 0..10 {
        let id = format!("evt_{round}");
        let delivery = |handler: &&str| NewDelivery { handler: (*handler).into(), ordered: false };
        let deliveries = HANDLERS.iter().map(delivery).collect();
        inbox.store.store(&[NewEvent { deliveries, ..paid(&id) }]).await.unwrap();
        let mut tasks = JoinSet::new();
        for handler in HANDLERS {
            let store = inbox.again().await;
            tasks.spawn(async move {
                let wanted =
                    router_inbox::ClaimRequest { handlers: vec![(handler.into(), 1)], ..wanted(1) };
                let lease = loop {
                    if let Some(claim) = store.claim(&wanted).await.unwrap().pop() {
                        break claim.lease;
                    }
                    tokio::task::yield_now().await;
                };
                done(&store, lease).await
            });
        }
        assert_eq!(tasks.join_all().await, [Completed::Recorded; HANDLERS.len()]);
        let kept = inbox.store.deliveries(&id).await.unwrap();
        assert!(
            kept.iter().all(|one| (one.state, one.attempts) == (DeliveryState::Done, 1)),
            "{kept:?}"
        );
    }
}

async fn leases(store: &JetStreamStore) -> Vec<Lease> {
    let claims = store.claim(&wanted(9)).await.expect("the store is there");
    claims.into_iter().map(|claim| claim.lease).collect()
}

async fn done(store: &JetStreamStore, lease: Lease) -> Completed {
    let told = store.complete(&[(lease, DeliveryOutcome::Done)]).await.expect("the store is there");
    told[0]
}
