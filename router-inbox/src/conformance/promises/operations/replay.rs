//! What is replayed.

use std::sync::Arc;

use router_core::{Event, event::StoredEvent, testing::SyntheticEvent};

use super::{
    super::{
        A_MOMENT, claim, claim_one, claims_nothing, complete, event, event_of, new, retry_in, store,
    },
    dead, ended, listed, number,
};
use crate::{
    DeliveryOutcome, DeliveryState, NewDelivery, NewEvent, Operations, Store as _, Stored,
    conformance::Subject,
    operations::{EventSelector, ListFilter, Replayed},
};

async fn replay(
    subject: &impl Subject<Store: Operations>,
    events: &[i64],
    handlers: &[&str],
) -> Vec<Replayed> {
    let handlers: Vec<Arc<str>> = handlers.iter().map(|handler| Arc::from(*handler)).collect();
    subject.store().replay(events, &handlers).await.expect("the store is there")
}

fn again(event_id: &str, generation: u32, handlers: &[&str]) -> Replayed {
    let handlers = handlers.iter().map(|handler| Arc::from(*handler)).collect();
    Replayed::Again { event_id: event_id.into(), generation, handlers }
}

/// For the same handlers, however often, and whatever became of it before. The same event comes out, under a key
/// of its own; and what Stripe sends again is known as before.
pub async fn what_is_replayed_is_another_event(subject: &impl Subject<Store: Operations>) {
    let first = event("evt_1");
    store(subject, &[new(&first, &["b", "a"])]).await;
    for handler in ["a", "b"] {
        let lease = claim_one(subject, handler).await.lease;
        complete(subject, &lease, DeliveryOutcome::Done).await;
    }
    let number = number(subject, "evt_1").await;
    let mut keys = vec![first.key()];
    for generation in 1..4 {
        let told = replay(subject, &[number], &[]).await;
        assert_eq!(told, [again("evt_1", generation, &["a", "b"])]);
        for claim in claim(subject, &["a", "b"], 9).await {
            assert_eq!((claim.attempt, claim.lease_expired), (1, false));
            let event = claim.event.expect("it is as it was stored");
            assert_eq!(
                StoredEvent::of(&event),
                StoredEvent { generation, ..StoredEvent::of(&first) }
            );
            keys.push(event.key());
            complete(subject, &claim.lease, DeliveryOutcome::Done).await;
        }
    }
    assert_eq!(keys.len(), 7);
    assert_eq!(store(subject, &[new(&first, &["a", "b"])]).await, [Stored::Duplicate]);
}

/// And for no other; also for one that it never was for, which is how a new handler gets what came before it.
pub async fn a_replay_is_for_the_handlers_that_are_given(
    subject: &impl Subject<Store: Operations>,
) {
    ended(subject, "evt_1", "a", DeliveryOutcome::Done).await;
    store(subject, &[new(&event("evt_2"), &[])]).await;
    let numbers = [number(subject, "evt_1").await, number(subject, "evt_2").await];
    let told = replay(subject, &numbers, &["new"]).await;
    assert_eq!(told, [again("evt_1", 1, &["new"]), again("evt_2", 1, &["new"])]);
    claims_nothing(subject, "a").await;
    assert_eq!(claim(subject, &["new"], 9).await.len(), 2);
    // From now on these are the handlers that it was for.
    assert_eq!(replay(subject, &numbers[..1], &[]).await, [again("evt_1", 2, &["new"])]);
}

/// Each is told of, and does not keep the others from it.
pub async fn what_cannot_be_replayed_is_said(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &[]), new(&event("evt_2"), &["a"])]).await;
    let (none, one) = (number(subject, "evt_1").await, number(subject, "evt_2").await);
    let told = replay(subject, &[none, one + 1_000, one], &[]).await;
    let no_handler = Replayed::NoHandler { event_id: "evt_1".into() };
    assert_eq!(told, [no_handler, Replayed::Gone, again("evt_2", 1, &["a"])]);
    assert_eq!(claim(subject, &["a"], 9).await.len(), 2);
}

/// Otherwise it would be handled, and be a dead letter still.
pub async fn a_replay_stands_for_the_dead_letter(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["a", "b", "c"])]).await;
    for (handler, end) in [("a", dead()), ("b", dead()), ("c", retry_in(600))] {
        let lease = claim_one(subject, handler).await.lease;
        complete(subject, &lease, end).await;
    }
    ended(subject, "evt_2", "a", dead()).await;
    let number = number(subject, "evt_1").await;
    assert_eq!(replay(subject, &[number], &["a", "c"]).await, [again("evt_1", 1, &["a", "c"])]);
    let kept = subject.store().deliveries("evt_1").await.expect("the store is there");
    let kept: Vec<_> = kept.iter().map(|one| (one.generation, &*one.handler, one.state)).collect();
    let expected = [
        (0, "a", DeliveryState::Discarded),
        (0, "b", DeliveryState::Dead),
        (0, "c", DeliveryState::Waiting),
        (1, "a", DeliveryState::Waiting),
        (1, "c", DeliveryState::Waiting),
    ];
    assert_eq!(kept, expected);
    let dead = ListFilter {
        states: vec![DeliveryState::Dead],
        handler: Some("a".into()),
        ..ListFilter::default()
    };
    assert_eq!(listed(subject, dead).await, ["evt_2"]);
}

/// As the handler's last delivery was, also for an event that was never for it.
pub async fn a_replay_is_ordered_where_its_handler_is(subject: &impl Subject<Store: Operations>) {
    let of_customer = |id, created| {
        let created = std::time::UNIX_EPOCH + std::time::Duration::from_secs(created);
        let event = SyntheticEvent::new("customer.updated").id(id).set("id", "cus_1");
        event_of(event.created(created))
    };
    let (older, newer) = (of_customer("evt_1", 10), of_customer("evt_2", 20));
    store(subject, &[new(&older, &["b"])]).await;
    let deliveries = vec![NewDelivery { handler: "a".into(), ordered: true }];
    store(subject, &[NewEvent { event: newer, deliveries }]).await;
    let lease = claim_one(subject, "a").await.lease;
    complete(subject, &lease, DeliveryOutcome::Done).await;
    let numbers = [number(subject, "evt_2").await, number(subject, "evt_1").await];
    replay(subject, &numbers, &["a", "b"]).await;
    subject.pass(A_MOMENT).await;
    assert_eq!(claim(subject, &["b"], 9).await.len(), 3, "b is not ordered");
    for id in ["evt_1", "evt_2"] {
        let next = claim_one(subject, "a").await;
        assert_eq!(next.event.expect("it is as it was stored").id(), id);
        complete(subject, &next.lease, DeliveryOutcome::Done).await;
    }
    claims_nothing(subject, "a").await;
}

/// By id, type and when they came; not the replays.
pub async fn a_selection_is_of_the_events_that_came(subject: &impl Subject<Store: Operations>) {
    let first = event("evt_1");
    store(subject, &[new(&first, &["a"])]).await;
    let elsewhere = StoredEvent { endpoint: "connect".into(), ..StoredEvent::of(&first) };
    subject.pass(A_MOMENT * 100).await;
    let elsewhere = Event::from_store(elsewhere).expect("it was one");
    store(subject, &[new(&elsewhere, &["a"])]).await;
    subject.pass(A_MOMENT * 100).await;
    let customer = event_of(SyntheticEvent::new("customer.created").id("evt_2"));
    store(subject, &[new(&customer, &[])]).await;
    let select = async |selection: EventSelector| {
        subject.store().select(&selection).await.expect("the store is there")
    };
    let all = select(EventSelector::default()).await;
    assert_eq!(all.len(), 3, "{all:?}");
    replay(subject, &all, &["b"]).await;
    assert_eq!(select(EventSelector::default()).await, all);
    let of_id = |id: &str| EventSelector { event_id: Some(id.into()), ..EventSelector::default() };
    assert_eq!(select(of_id("evt_1")).await, all[..2]);
    assert_eq!(select(of_id("evt_3")).await, [0; 0]);
    let of_type =
        |text: &str| EventSelector { event_type: Some(text.into()), ..EventSelector::default() };
    assert_eq!(select(of_type("invoice.*")).await, all[..2]);
    assert_eq!(select(of_type("customer.created")).await, all[2..]);
    let since =
        |seconds| EventSelector { since: Some(A_MOMENT * seconds), ..EventSelector::default() };
    assert_eq!(select(since(150)).await, all[1..]);
    assert_eq!(select(since(50)).await, all[2..]);
    let until =
        |seconds| EventSelector { until: Some(A_MOMENT * seconds), ..EventSelector::default() };
    assert_eq!(select(until(150)).await, all[..1]);
    assert_eq!(select(until(0)).await, all);
    let between = EventSelector { event_type: Some("invoice.paid".into()), ..since(150) };
    assert_eq!(select(EventSelector { until: Some(A_MOMENT * 50), ..between }).await, all[1..2]);
    // Longer than there has been time.
    let ever = std::time::Duration::MAX;
    assert_eq!(select(EventSelector { since: Some(ever), ..EventSelector::default() }).await, all);
    assert_eq!(
        select(EventSelector { until: Some(ever), ..EventSelector::default() }).await,
        [0; 0]
    );
}
