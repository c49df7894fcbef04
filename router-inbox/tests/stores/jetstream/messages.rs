//! The messages of a stream: their size, number, deletion and expiry.

use std::time::Duration;

use router_core::{
    Event,
    clock::{Clock as _, SystemClock},
    delivery::DeliveryOrder,
    testing::{Payload, SyntheticEvent},
};
use router_inbox::{
    Inbox, InboxError, JetStreamStore, Store as _,
    conformance::Subject as _,
    operations::{EraseOutcome, EventSelector, MIN_RETENTION},
    store::{
        CompleteResult, DeliveryOutcome, NewDelivery, NewEvent, Operations as _, StoreErrorKind,
        Stored,
    },
};
use router_test_servers::nats::{self, Server};
use tower_service::Service as _;

use super::{TestInbox, operator};
use crate::support::{error_chain, paid, wanted};

/// A snapshot event, and the thin event that names it, whose id has the suffix `_thin`.
fn twins(id: &str, object: &str) -> [Event; 2] {
    let snapshot = SyntheticEvent::new("customer.updated").id(id).set("id", object);
    let snapshot: Payload = snapshot.build().expect("the event type is in the catalog");
    let thin = SyntheticEvent::twin_of(&snapshot).id(format!("{id}_thin"));
    let thin = thin.build().expect("the event type is in the catalog");
    [snapshot.event().clone(), thin.event().clone()]
}

/// An event larger than the server's `max_payload` is refused; the events of the same batch are
/// stored.
#[tokio::test]
async fn oversized_event_fails_alone() {
    let Some(server) = Server::start_with("max_payload: 64KB", "") else { return };
    let store = JetStreamStore::connect(&server.url()).await.unwrap();
    let router = router_core::Router::builder().without_linked();
    let router = router.handler("a", ["*"], async |_: Event| {}).delivered_by(&store);
    let inbox = Inbox::new(store, router.build().unwrap());
    let large = SyntheticEvent::new("customer.created").set("name", "l".repeat(64 * 1024));
    let large = large.build().unwrap().event().clone();
    let (mut first, mut second) = (inbox.clone(), inbox.clone());
    let (refused, stored) = tokio::join!(first.call(large), second.call(paid("evt_1").event));
    assert_eq!(stored.unwrap().stored(), Some(&Stored::New));
    let InboxError::Store(refused) = refused.unwrap_err() else { panic!("no handler replies") };
    assert_eq!(refused.kind(), StoreErrorKind::Rejected);
    let refused = error_chain(&refused);
    let server = format!("the NATS server {} accepts at most 65536", server.address());
    assert!(refused.contains(&server), "{refused}");
    assert!(refused.contains("raise `max_payload`"), "{refused}");
}

/// If an operator has deleted an event's message, its delivery is claimed as damaged and becomes a
/// dead letter.
#[tokio::test]
async fn deleted_event_is_claimed_as_damaged() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.store(&[paid("evt_1"), paid("evt_2")]).await.unwrap();
    let context = operator(nats::shared().unwrap()).await;
    let stream = context.get_stream(inbox.url.rsplit('/').next().unwrap()).await.unwrap();
    let first = stream.get_raw_message(2).await.unwrap();
    assert!(first.subject.contains(".event.evt_1."), "{}", first.subject);
    stream.delete_message(2).await.unwrap();
    let claims = inbox.store.claim(&wanted(9)).await.unwrap();
    let intact: Vec<_> = claims.iter().map(|claim| claim.event.is_ok()).collect();
    assert_eq!(intact, [false, true]);
    let dead = DeliveryOutcome::Dead { error: "damaged".into() };
    let results = inbox.store.complete(&[(claims[0].lease.clone(), dead)]).await.unwrap();
    assert_eq!(results, [CompleteResult::Recorded]);
}

/// A purge leaves no message of an event behind.
#[tokio::test]
async fn purge_deletes_redelivered_payloads_and_aliases() {
    const EVENTS: usize = 3;
    const REDELIVERIES: usize = 4;
    let Some(inbox) = TestInbox::create().await else { return };
    let handlers: Vec<String> = (0..=REDELIVERIES).map(|n| format!("handler_{n}")).collect();
    let mut events = Vec::new();
    for event in 0..EVENTS {
        let [snapshot, thin] = twins(&format!("evt_{event}"), "cus_1");
        for (n, handler) in handlers.iter().enumerate() {
            // The first one is thin, so the snapshot event has an alias too.
            let event = if n % 2 == 0 { thin.clone() } else { snapshot.clone() };
            events.push(NewEvent::new(event, vec![NewDelivery::new(&**handler)]));
        }
    }
    let stored = inbox.store.store(&events).await.unwrap();
    let is_new = stored.iter().filter(|stored| **stored == Stored::New).count();
    assert_eq!((is_new, stored.len()), (EVENTS, EVENTS * (1 + REDELIVERIES)));
    let shown = inbox.store.show("evt_0").await.unwrap().remove(0);
    assert_eq!((shown.redelivered.len(), shown.deliveries.len()), (REDELIVERIES, handlers.len()));
    for event in 0..EVENTS {
        inbox.store.discard(&format!("evt_{event}_thin"), None).await.unwrap();
    }
    let of_first = EventSelector { event_id: Some("evt_0".into()), ..EventSelector::default() };
    let first = inbox.store.select(&of_first).await.unwrap();
    assert_eq!(inbox.store.erase(&first).await.unwrap()[0].outcome, EraseOutcome::Erased);
    inbox.pass(MIN_RETENTION * 2).await;
    let all = inbox.store.select(&EventSelector::default()).await.unwrap();
    assert_eq!(inbox.store.purge(&all, MIN_RETENTION).await.unwrap(), EVENTS as u64);
    let context = operator(nats::shared().unwrap()).await;
    let name = inbox.url.rsplit('/').next().unwrap();
    for kind in ["event", "copy", "alias", "ended", "erased"] {
        let stream = context.get_stream(name).await.unwrap();
        let left = stream.get_last_raw_message_by_subject(&format!("{name}.{kind}.>")).await;
        assert!(left.is_err(), "{left:?}");
    }
    assert_eq!(inbox.store.store(&events[..1]).await.unwrap(), [Stored::New]);
}

/// More messages than fit into one atomic batch: thin events have an alias, and each completion
/// remembers the recency of an object.
#[tokio::test]
async fn more_newest_deliveries_than_a_batch_are_handled() {
    const EVENTS: usize = 600;
    let Some(inbox) = TestInbox::create().await else { return };
    let event = |n: usize| {
        let [_, thin] = twins(&format!("evt_{n}"), &format!("cus_{n}"));
        let delivery = NewDelivery::new("a").order(Some(DeliveryOrder::NewestOnly));
        NewEvent::new(thin, vec![delivery])
    };
    let events: Vec<_> = (0..EVENTS).map(event).collect();
    assert_eq!(inbox.store.store(&events).await.unwrap(), vec![Stored::New; EVENTS]);
    let claims = inbox.store.claim(&wanted(EVENTS)).await.unwrap();
    assert_eq!(claims.len(), EVENTS);
    let outcomes: Vec<_> =
        claims.into_iter().map(|claim| (claim.lease, DeliveryOutcome::Done)).collect();
    let completed = inbox.store.complete(&outcomes).await.unwrap();
    assert_eq!(completed, [CompleteResult::Recorded; EVENTS]);
    assert_eq!(inbox.store.status().await.unwrap().finished, EVENTS as u64);
}

/// Tombstones expire by their TTL. A tombstone may expire after a store has listed it and before
/// the store reads it. The store must not wait for it.
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
