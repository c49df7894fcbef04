//! Values that a stream cannot store as they are, and large numbers of events.

use router_core::{Event, delivery::DeliveryOrder, event::StoredEvent, testing::SyntheticEvent};
use router_inbox::{
    Inbox, JetStreamStore, Store as _, StoreError,
    operations::ListFilter,
    store::{
        CompleteResult, DeliveryOutcome, HandlerSlots, NewDelivery, NewEvent, Operations as _,
        StoreErrorKind, Stored,
    },
};
use router_test_servers::nats::{self, Server};
use tower_service::Service as _;

use crate::{
    TestInbox, duplicate, error_chain, operator,
    support::{paid, shared, wanted},
};

/// A subject's tokens cannot contain dots, spaces, `*` or `>`, and have a maximum length. Stripe's
/// ids and types rarely exceed these limits, but an event that Stripe has signed must not be
/// answered with 503 forever.
#[tokio::test]
async fn event_with_any_text_is_stored() {
    let Some(inbox) = TestInbox::create().await else { return };
    let long: String = (0..1_000).map(|n| format!("{n:x}")).collect();
    for text in ["a.b", "a b", "*", ">", "\0\r\n", "", "💶", &long] {
        let event = SyntheticEvent::new("customer.updated").id(format!("evt_{text}"));
        let event = event.account(format!("acct_{text}")).set("id", format!("cus_{text}"));
        let event = event.build().unwrap().event().clone();
        let payload = String::from_utf8(event.payload().to_vec()).unwrap();
        let payload = payload.replace("customer.updated", "v2.core.account[identity].\\u0000");
        let stored = StoredEvent { payload: payload.into(), ..StoredEvent::from_event(&event) };
        let event = Event::from_store(stored).unwrap();
        let handler = format!("shop::{text}");
        let order = Some(DeliveryOrder::OldestFirst);
        let ordered = NewDelivery::new(handler).order(order);
        let handlers = vec![HandlerSlots::new(ordered.handler.clone(), 9)];
        let new = NewEvent::new(event.clone(), vec![ordered.clone()]);
        let results = inbox.store.store(&[new.clone(), new]).await.unwrap();
        assert_eq!(results, [Stored::New, duplicate()], "{text:?}");
        let mut wanted = wanted(9);
        wanted.handlers = handlers;
        let claim = inbox.store.claim(&wanted).await.unwrap().remove(0);
        assert_eq!(claim.event.unwrap().key(), event.key());
        let failed = DeliveryOutcome::Dead { error: format!("no {text}") };
        let results = inbox.store.complete(&[(claim.lease, failed)]).await.unwrap();
        assert_eq!(results, [CompleteResult::Recorded]);
        let delivery = inbox.store.deliveries(event.id()).await.unwrap().remove(0);
        assert_eq!(delivery.error, Some(format!("no {text}")));
        let status = inbox.store.status().await.unwrap();
        assert!(status.handlers.iter().any(|status| status.handler == ordered.handler), "{text:?}");
    }
}

#[tokio::test]
async fn different_events_are_no_duplicates() {
    let Some(inbox) = TestInbox::create().await else { return };
    shared::different_events_are_no_duplicates(&*inbox.store).await;
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
    assert_eq!(*stored.unwrap().stored(), Stored::New);
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Rejected);
    let refused = error_chain(&StoreError::rejected(refused));
    let server = format!("the NATS server {} accepts at most 65536", server.address());
    assert!(refused.contains(&server), "{refused}");
    assert!(refused.contains("raise `max_payload`"), "{refused}");
}

/// More events than fit in one atomic batch.
#[tokio::test]
async fn more_events_than_a_batch_are_handled() {
    let Some(inbox) = TestInbox::create().await else { return };
    let events: Vec<_> = (0..1_500).map(|n| paid(&format!("evt_{n}"))).collect();
    assert_eq!(inbox.store.store(&events).await.unwrap(), vec![Stored::New; events.len()]);
    assert_eq!(inbox.store.store(&events).await.unwrap(), vec![duplicate(); events.len()]);
    let claims = inbox.store.claim(&wanted(9_999)).await.unwrap();
    assert_eq!(claims.len(), events.len());
    let ends: Vec<_> =
        claims.into_iter().map(|claim| (claim.lease, DeliveryOutcome::Done)).collect();
    let results = inbox.store.complete(&ends).await.unwrap();
    assert_eq!(results, vec![CompleteResult::Recorded; events.len()]);
    let status = inbox.store.status().await.unwrap();
    assert_eq!((status.events, status.finished), (1_500, 1_500));
    let all = ListFilter { limit: 9_999, ..ListFilter::default() };
    assert_eq!(inbox.store.list(&all).await.unwrap().len(), events.len());
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
