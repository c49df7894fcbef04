//! What a stream does not take as it comes.

use router_core::{Event, event::StoredEvent, testing::SyntheticEvent};
use router_inbox::{
    Completed, DeliveryOutcome, Inbox, JetStreamStore, NewDelivery, NewEvent, Operations as _,
    Store as _, Stored, operations::ListFilter,
};
use tower_service::Service as _;

use crate::{
    InJetStream, connected,
    support::{
        nats::{self, Server},
        paid, shared, wanted,
    },
    told,
};

/// A subject's tokens have no dots, spaces, `*` and `>`, and no end. Stripe's ids and types have hardly any of those, but
/// what it signs is not to be answered with 503 for ever.
#[tokio::test]
async fn an_event_is_kept_whatever_is_in_its_texts() {
    let Some(inbox) = InJetStream::made().await else { return };
    let long: String = (0..1_000).map(|n| format!("{n:x}")).collect();
    for text in ["a.b", "a b", "*", ">", "\0\r\n", "", "💶", &long] {
        let event = SyntheticEvent::new("customer.updated").id(format!("evt_{text}"));
        let event = event.account(format!("acct_{text}")).set("id", format!("cus_{text}"));
        let event = event.build().unwrap().event().clone();
        let payload = String::from_utf8(event.payload().to_vec()).unwrap();
        let payload = payload.replace("customer.updated", "v2.core.account[identity].\\u0000");
        let kept = StoredEvent { payload: payload.into(), ..StoredEvent::of(&event) };
        let event = Event::from_store(kept).unwrap();
        let handler = format!("shop::{text}").into();
        let ordered = NewDelivery { handler, ordered: true };
        let handlers = vec![(ordered.handler.clone(), 9)];
        let new = NewEvent { event: event.clone(), deliveries: vec![ordered.clone()] };
        let told = inbox.store.store(&[new.clone(), new]).await.unwrap();
        assert_eq!(told, [Stored::New, Stored::Duplicate], "{text:?}");
        let wanted = router_inbox::ClaimRequest { handlers, ..wanted(9) };
        let claim = inbox.store.claim(&wanted).await.unwrap().remove(0);
        assert_eq!(claim.event.unwrap().key(), event.key());
        let failed = DeliveryOutcome::Dead { error: format!("no {text}") };
        let told = inbox.store.complete(&[(claim.lease, failed)]).await.unwrap();
        assert_eq!(told, [Completed::Recorded]);
        let kept = inbox.store.deliveries(event.id()).await.unwrap().remove(0);
        assert_eq!(kept.error, Some(format!("no {text}")));
        let status = inbox.store.status().await.unwrap();
        assert!(status.handlers.iter().any(|one| one.handler == ordered.handler), "{text:?}");
    }
}

#[tokio::test]
async fn no_two_events_are_taken_for_one() {
    let Some(inbox) = InJetStream::made().await else { return };
    shared::no_two_events_are_taken_for_one(&*inbox.store).await;
}

/// It is told of, and those that come with it are stored.
#[tokio::test]
async fn an_event_that_the_server_does_not_take_fails_no_other() {
    let Some(server) = Server::start_with("max_payload: 64KB", "") else { return };
    let store = JetStreamStore::connect(&server.url()).await.unwrap();
    let router = router_core::Router::builder().without_linked();
    let router = router.handler("a", ["*"], async |_: Event| {}).delivered_by(&store);
    let inbox = Inbox::new(store, router.build().unwrap());
    let large = SyntheticEvent::new("customer.created").set("name", "l".repeat(64 * 1024));
    let large = large.build().unwrap().event().clone();
    let (mut one, mut other) = (inbox.clone(), inbox.clone());
    let (refused, stored) = tokio::join!(one.call(large), other.call(paid("evt_1").event));
    assert_eq!(stored.unwrap().stored(), Stored::New);
    let refused = told(&router_inbox::StoreError::of(refused.unwrap_err()));
    let server = format!("the NATS server {} accepts at most 65536", server.address());
    assert!(refused.contains(&server), "{refused}");
    assert!(refused.contains("raise `max_payload`"), "{refused}");
}

/// More than are written together.
#[tokio::test]
async fn many_are_stored_claimed_and_ended_at_once() {
    let Some(inbox) = InJetStream::made().await else { return };
    let events: Vec<_> = (0..1_500).map(|n| paid(&format!("evt_{n}"))).collect();
    assert_eq!(inbox.store.store(&events).await.unwrap(), vec![Stored::New; events.len()]);
    assert_eq!(inbox.store.store(&events).await.unwrap(), vec![Stored::Duplicate; events.len()]);
    let claims = inbox.store.claim(&wanted(9_999)).await.unwrap();
    assert_eq!(claims.len(), events.len());
    let ends: Vec<_> =
        claims.into_iter().map(|claim| (claim.lease, DeliveryOutcome::Done)).collect();
    let told = inbox.store.complete(&ends).await.unwrap();
    assert_eq!(told, vec![Completed::Recorded; events.len()]);
    let status = inbox.store.status().await.unwrap();
    assert_eq!((status.events, status.finished), (1_500, 1_500));
    let all = ListFilter { limit: 9_999, ..ListFilter::default() };
    assert_eq!(inbox.store.list(&all).await.unwrap().len(), events.len());
}

/// Somebody has deleted it by hand. It is told of as any damaged one, and is a dead letter.
#[tokio::test]
async fn an_event_that_is_gone_is_told_of_as_damaged() {
    let Some(inbox) = InJetStream::made().await else { return };
    inbox.store.store(&[paid("evt_1"), paid("evt_2")]).await.unwrap();
    let stream = connected(nats::shared().unwrap()).await;
    let stream = stream.get_stream(inbox.url.rsplit('/').next().unwrap()).await.unwrap();
    let first = stream.get_raw_message(2).await.unwrap();
    assert!(first.subject.contains(".event.evt_1."), "{}", first.subject);
    stream.delete_message(2).await.unwrap();
    let claims = inbox.store.claim(&wanted(9)).await.unwrap();
    let is_there: Vec<_> = claims.iter().map(|claim| claim.event.is_ok()).collect();
    assert_eq!(is_there, [false, true]);
    let dead = DeliveryOutcome::Dead { error: "damaged".into() };
    let told = inbox.store.complete(&[(claims[0].lease.clone(), dead)]).await.unwrap();
    assert_eq!(told, [Completed::Recorded]);
}
