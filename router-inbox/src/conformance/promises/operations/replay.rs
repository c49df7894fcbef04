//! Promises about replaying and selecting events.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use router_core::{Event, delivery::DeliveryOrder, event::StoredEvent, testing::SyntheticEvent};

use super::{
    super::{
        SECOND, assert_nothing_due, claim, claim_one, complete, delivery, duplicate, event,
        event_of, new, retry_in, store,
    },
    dead, event_number, listed, store_completed,
};
use crate::{
    Store as _,
    conformance::Subject,
    operations::{EventSelector, ListFilter, ReplayResult},
    store::{DeliveryOutcome, DeliveryState, NewEvent, Operations},
};

async fn replay(
    subject: &impl Subject<Store: Operations>,
    events: &[i64],
    handlers: &[&str],
) -> Vec<ReplayResult> {
    let handlers: Vec<Arc<str>> = handlers.iter().map(|handler| Arc::from(*handler)).collect();
    subject.store().replay(events, &handlers).await.expect("store is available")
}

fn replayed(event_id: &str, generation: u32, handlers: &[&str]) -> ReplayResult {
    let handlers = handlers.iter().map(|handler| Arc::from(*handler)).collect();
    ReplayResult::Replayed { event_id: event_id.into(), generation, handlers }
}

/// Each replay is a new generation of the same event, for the same handlers and under a key of its
/// own. When Stripe resends the event, it is still a duplicate.
pub async fn replay_creates_new_generation(subject: &impl Subject<Store: Operations>) {
    let first = event("evt_1");
    store(subject, &[new(&first, &["b", "a"])]).await;
    for handler in ["a", "b"] {
        let lease = claim_one(subject, handler).await.lease;
        complete(subject, &lease, DeliveryOutcome::Done).await;
    }
    let number = event_number(subject, "evt_1").await;
    let mut keys = vec![first.key()];
    for generation in 1..4 {
        let results = replay(subject, &[number], &[]).await;
        assert_eq!(results, [replayed("evt_1", generation, &["a", "b"])]);
        for claim in claim(subject, &["a", "b"], 9).await {
            assert_eq!((claim.attempt, claim.lease_expired), (1, false));
            let event = claim.event.expect("stored event is readable");
            assert_eq!(
                StoredEvent::from_event(&event),
                StoredEvent { generation, ..StoredEvent::from_event(&first) }
            );
            keys.push(event.key());
            complete(subject, &claim.lease, DeliveryOutcome::Done).await;
        }
    }
    assert_eq!(keys.len(), 7);
    assert_eq!(
        store(subject, &[new(&first, &["a", "b"])]).await,
        [duplicate(&[DeliveryState::Done; 2])]
    );
}

/// A replay is delivered to the given handlers only. The event may not have been for them before,
/// so that a new handler can receive earlier events.
pub async fn replay_is_for_given_handlers(subject: &impl Subject<Store: Operations>) {
    store_completed(subject, "evt_1", "a", DeliveryOutcome::Done).await;
    store(subject, &[new(&event("evt_2"), &[])]).await;
    let numbers = [event_number(subject, "evt_1").await, event_number(subject, "evt_2").await];
    let results = replay(subject, &numbers, &["new"]).await;
    assert_eq!(results, [replayed("evt_1", 1, &["new"]), replayed("evt_2", 1, &["new"])]);
    assert_nothing_due(subject, "a").await;
    assert_eq!(claim(subject, &["new"], 9).await.len(), 2);
    // These are the handlers of the latest generation, and the default for the next replay.
    assert_eq!(replay(subject, &numbers[..1], &[]).await, [replayed("evt_1", 2, &["new"])]);
}

/// A replay has the payload of the handler's latest delivery of the event, which may be that of a
/// redelivery. For a handler that had none, it has the payload that was received first.
pub async fn replay_has_payload_of_latest_delivery(subject: &impl Subject<Store: Operations>) {
    let received = |name: &str, signed_at: u64| {
        let event = SyntheticEvent::new("customer.updated").id("evt_1").set("name", name);
        let signed_at = Some(UNIX_EPOCH + Duration::from_secs(signed_at));
        StoredEvent { signed_at, ..StoredEvent::from_event(&event_of(event)) }
    };
    let (first, second) = (received("first", 1), received("second", 2));
    let stored = |stored: &StoredEvent, handlers: &[&str]| {
        new(&Event::from_store(stored.clone()).expect("event is valid"), handlers)
    };
    store(subject, &[stored(&first, &["a", "b"])]).await;
    complete(subject, &claim_one(subject, "a").await.lease, dead()).await;
    complete(subject, &claim_one(subject, "b").await.lease, DeliveryOutcome::Done).await;
    store(subject, &[stored(&second, &["a", "b"])]).await;
    let number = event_number(subject, "evt_1").await;
    let mut expected = vec![("a", &second)];
    for generation in 0..3 {
        for (handler, received) in expected {
            let claim = claim_one(subject, handler).await;
            let event = claim.event.expect("stored event is readable");
            let received = StoredEvent { generation, ..received.clone() };
            assert_eq!(StoredEvent::from_event(&event), received, "{handler}");
            complete(subject, &claim.lease, DeliveryOutcome::Done).await;
        }
        replay(subject, &[number], &["a", "b", "c"]).await;
        expected = vec![("a", &second), ("b", &first), ("c", &first)];
    }
}

/// Events that cannot be replayed are reported, and do not prevent the replay of others.
pub async fn replay_reports_events_not_replayed(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &[]), new(&event("evt_2"), &["a"])]).await;
    let (unhandled, handled) =
        (event_number(subject, "evt_1").await, event_number(subject, "evt_2").await);
    let results = replay(subject, &[unhandled, handled + 1_000, handled], &[]).await;
    let no_handler = ReplayResult::NoHandler { event_id: "evt_1".into() };
    assert_eq!(results, [no_handler, ReplayResult::NotFound, replayed("evt_2", 1, &["a"])]);
    assert_eq!(claim(subject, &["a"], 9).await.len(), 2);
}

/// A replay discards the dead letters of its handlers. Otherwise an event that has been handled by
/// the replay would still be listed as a dead letter.
pub async fn replay_discards_superseded_dead_letter(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["a", "b", "c"])]).await;
    for (handler, outcome) in [("a", dead()), ("b", dead()), ("c", retry_in(600))] {
        let lease = claim_one(subject, handler).await.lease;
        complete(subject, &lease, outcome).await;
    }
    store_completed(subject, "evt_2", "a", dead()).await;
    let number = event_number(subject, "evt_1").await;
    assert_eq!(replay(subject, &[number], &["a", "c"]).await, [replayed("evt_1", 1, &["a", "c"])]);
    let deliveries = subject.store().deliveries("evt_1").await.expect("store is available");
    let states: Vec<_> = deliveries
        .iter()
        .map(|delivery| (delivery.generation, &*delivery.handler, delivery.state))
        .collect();
    let expected = [
        (0, "a", DeliveryState::Discarded),
        (0, "b", DeliveryState::Dead),
        (0, "c", DeliveryState::Waiting),
        (1, "a", DeliveryState::Waiting),
        (1, "c", DeliveryState::Waiting),
    ];
    assert_eq!(states, expected);
    let dead = ListFilter {
        states: vec![DeliveryState::Dead],
        handler: Some("a".into()),
        ..ListFilter::default()
    };
    assert_eq!(listed(subject, dead).await, ["evt_2"]);
}

/// A replayed delivery is ordered if the handler's latest delivery was, even for an event that was
/// not for this handler before.
pub async fn replay_is_ordered_if_handler_is(subject: &impl Subject<Store: Operations>) {
    let of_customer = |id, created| {
        let created = std::time::UNIX_EPOCH + std::time::Duration::from_secs(created);
        let event = SyntheticEvent::new("customer.updated").id(id).set("id", "cus_1");
        event_of(event.created(created))
    };
    let (older, newer) = (of_customer("evt_1", 10), of_customer("evt_2", 20));
    store(subject, &[new(&older, &["b"])]).await;
    let deliveries = vec![delivery("a", Some(DeliveryOrder::OldestFirst))];
    // The handler stays ordered after an event without an object to order by.
    let no_object = SyntheticEvent::new("v1.invoice.upcoming").id("evt_3");
    for event in [newer, event_of(no_object)] {
        store(subject, &[NewEvent::new(event, deliveries.clone())]).await;
        let lease = claim_one(subject, "a").await.lease;
        complete(subject, &lease, DeliveryOutcome::Done).await;
    }
    let numbers = [event_number(subject, "evt_2").await, event_number(subject, "evt_1").await];
    replay(subject, &numbers, &["a", "b"]).await;
    subject.pass(SECOND).await;
    assert_eq!(claim(subject, &["b"], 9).await.len(), 3, "b is not ordered");
    for id in ["evt_1", "evt_2"] {
        let next = claim_one(subject, "a").await;
        assert_eq!(next.event.expect("stored event is readable").id(), id);
        complete(subject, &next.lease, DeliveryOutcome::Done).await;
    }
    assert_nothing_due(subject, "a").await;
}

/// Events are selected by id, type and age. Replays are not selected.
pub async fn select_skips_replays(subject: &impl Subject<Store: Operations>) {
    let first = event("evt_1");
    store(subject, &[new(&first, &["a"])]).await;
    let other_endpoint =
        StoredEvent { endpoint: "connect".into(), ..StoredEvent::from_event(&first) };
    subject.pass(SECOND * 100).await;
    let other_endpoint = Event::from_store(other_endpoint).expect("event is valid");
    store(subject, &[new(&other_endpoint, &["a"])]).await;
    subject.pass(SECOND * 100).await;
    let customer = event_of(SyntheticEvent::new("customer.created").id("evt_2"));
    store(subject, &[new(&customer, &[])]).await;
    let select = async |selection: EventSelector| {
        subject.store().select(&selection).await.expect("store is available")
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
        |seconds| EventSelector { max_age: Some(SECOND * seconds), ..EventSelector::default() };
    assert_eq!(select(since(150)).await, all[1..]);
    assert_eq!(select(since(50)).await, all[2..]);
    let until =
        |seconds| EventSelector { min_age: Some(SECOND * seconds), ..EventSelector::default() };
    assert_eq!(select(until(150)).await, all[..1]);
    assert_eq!(select(until(0)).await, all);
    let between = EventSelector { event_type: Some("invoice.paid".into()), ..since(150) };
    assert_eq!(select(EventSelector { min_age: Some(SECOND * 50), ..between }).await, all[1..2]);
    // A duration longer than the time since the epoch.
    let forever = std::time::Duration::MAX;
    assert_eq!(
        select(EventSelector { max_age: Some(forever), ..EventSelector::default() }).await,
        all
    );
    assert_eq!(
        select(EventSelector { min_age: Some(forever), ..EventSelector::default() }).await,
        [0; 0]
    );
}
