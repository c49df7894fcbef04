//! Promises about retrying and discarding.

use std::time::SystemTime;

use router_core::{Event, delivery::DeliveryOrder, event::StoredEvent, testing::SyntheticEvent};

use super::{
    super::{
        LEASE, SECOND, assert_nothing_due, claim, claim_one, complete, delivery, event, event_of,
        new, retry_in, state, store,
    },
    dead, event_number, listed, store_completed,
};
use crate::{
    Store as _,
    conformance::Subject,
    operations::{ChangeOutcome, ChangeResult, ListFilter},
    store::{DeliveryOutcome, DeliveryState, NewEvent, Operations},
};

async fn retry(subject: &impl Subject<Store: Operations>, id: &str) -> Vec<ChangeResult> {
    subject.store().retry(id, None).await.expect("store is available")
}

async fn discard(subject: &impl Subject<Store: Operations>, id: &str) -> Vec<ChangeResult> {
    subject.store().discard(id, None).await.expect("store is available")
}

async fn ended_at(subject: &impl Subject<Store: Operations>, id: &str) -> Option<SystemTime> {
    let shown = subject.store().show(id).await.expect("store is available");
    shown[0].deliveries[0].ended_at
}

/// Returns each delivery's handler, its state before the change, and the change.
fn summary(changed: &[ChangeResult]) -> Vec<(&str, DeliveryState, ChangeOutcome)> {
    let deliveries = changed.iter().map(|entry| (&entry.delivery, entry.change));
    deliveries.map(|(delivery, change)| (&*delivery.handler, delivery.state, change)).collect()
}

/// A retried dead letter is due at once and starts over with its first attempt.
pub async fn retried_dead_letter_starts_over(subject: &impl Subject<Store: Operations>) {
    store_completed(subject, "evt_1", "a", dead()).await;
    let changed = retry(subject, "evt_1").await;
    assert_eq!(summary(&changed), [("a", DeliveryState::Dead, ChangeOutcome::Applied)]);
    assert_eq!(changed[0].delivery.attempts, 1);
    assert_eq!(state(subject, "evt_1").await, (DeliveryState::Waiting, 0));
    assert_eq!(ended_at(subject, "evt_1").await, None);
    let again = claim_one(subject, "a").await;
    assert_eq!((again.attempt, again.lease_expired), (1, false));
    complete(subject, &again.lease, DeliveryOutcome::Done).await;
    assert!(ended_at(subject, "evt_1").await.is_some());
}

/// A retried waiting delivery is due at once and keeps its attempts. If it was due already, it
/// keeps its place before later deliveries.
pub async fn retried_waiting_delivery_is_due_at_once(subject: &impl Subject<Store: Operations>) {
    store_completed(subject, "evt_1", "a", retry_in(600)).await;
    assert_nothing_due(subject, "a").await;
    assert_eq!(
        summary(&retry(subject, "evt_1").await),
        [("a", DeliveryState::Waiting, ChangeOutcome::Applied)]
    );
    subject.pass(SECOND).await;
    store(subject, &[new(&event("evt_2"), &["a"])]).await;
    subject.pass(SECOND).await;
    // The delivery is due already, so its due time does not change.
    retry(subject, "evt_1").await;
    let first = claim(subject, &["a"], 1).await.remove(0);
    assert_eq!((first.event.expect("stored event is readable").id(), first.attempt), ("evt_1", 2));
}

/// Retrying and discarding change neither running nor done deliveries, but report them. They can be
/// restricted to one handler.
pub async fn retry_and_discard_skip_running_and_done(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["dead", "done", "runs", "waits"])]).await;
    let (lease, runs) =
        (claim_one(subject, "dead").await.lease, claim_one(subject, "runs").await.lease);
    complete(subject, &lease, dead()).await;
    let lease = claim_one(subject, "done").await.lease;
    complete(subject, &lease, DeliveryOutcome::Done).await;
    let assert_changes = |changed: &[ChangeResult]| {
        let expected = [
            ("dead", DeliveryState::Dead, ChangeOutcome::Applied),
            ("done", DeliveryState::Done, ChangeOutcome::AlreadyFinished),
            ("runs", DeliveryState::Running, ChangeOutcome::StillRunning),
            ("waits", DeliveryState::Waiting, ChangeOutcome::Applied),
        ];
        assert_eq!(summary(changed), expected);
    };
    let changed = subject.store().retry("evt_1", Some("done")).await.expect("store is available");
    assert_eq!(summary(&changed), [("done", DeliveryState::Done, ChangeOutcome::AlreadyFinished)]);
    assert_changes(&discard(subject, "evt_1").await);
    let changed = subject.store().retry("evt_1", Some("dead")).await.expect("store is available");
    assert_eq!(summary(&changed), [("dead", DeliveryState::Discarded, ChangeOutcome::Applied)]);
    let lease = claim_one(subject, "dead").await.lease;
    complete(subject, &lease, dead()).await;
    let changed = subject.store().retry("evt_1", Some("waits")).await.expect("store is available");
    assert_eq!(summary(&changed), [("waits", DeliveryState::Discarded, ChangeOutcome::Applied)]);
    assert_changes(&retry(subject, "evt_1").await);
    assert_eq!(
        complete(subject, &runs, DeliveryOutcome::Done).await,
        crate::store::CompleteResult::Recorded
    );
    // Unknown events and handlers change nothing.
    assert_eq!(retry(subject, "evt_2").await, []);
    assert_eq!(discard(subject, "evt_2").await, []);
    let none = subject.store().discard("evt_1", Some("audit")).await.expect("store is available");
    assert_eq!(none, []);
}

/// A discarded delivery remains stored and listed, but is not claimable. It can be retried.
pub async fn discarded_delivery_is_not_claimable(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    assert_eq!(
        summary(&discard(subject, "evt_1").await),
        [("a", DeliveryState::Waiting, ChangeOutcome::Applied)]
    );
    assert!(ended_at(subject, "evt_1").await.is_some());
    store_completed(subject, "evt_2", "a", dead()).await;
    assert_eq!(
        summary(&discard(subject, "evt_2").await),
        [("a", DeliveryState::Dead, ChangeOutcome::Applied)]
    );
    assert_eq!(
        summary(&discard(subject, "evt_2").await),
        [("a", DeliveryState::Discarded, ChangeOutcome::AlreadyFinished)]
    );
    subject.pass(LEASE * 10).await;
    assert_nothing_due(subject, "a").await;
    let discarded = ListFilter { states: vec![DeliveryState::Discarded], ..ListFilter::default() };
    assert_eq!(listed(subject, discarded.clone()).await, ["evt_2", "evt_1"]);
    let status = super::read_status(subject).await;
    assert_eq!((status.finished, status.handlers[0].dead.number), (2, 0), "{status:?}");
    assert_eq!(
        summary(&retry(subject, "evt_2").await),
        [("a", DeliveryState::Discarded, ChangeOutcome::Applied)]
    );
    assert_eq!(listed(subject, discarded).await, ["evt_1"]);
    assert_eq!(claim_one(subject, "a").await.attempt, 1);
}

/// A running delivery whose lease has expired can be retried and discarded, because its worker has
/// probably crashed. If the worker is still running, its lease is lost.
pub async fn delivery_with_expired_lease_can_be_changed(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["a"]), new(&event("evt_2"), &["b"])]).await;
    let (stale, lost) = (claim_one(subject, "a").await.lease, claim_one(subject, "b").await.lease);
    subject.pass(LEASE + SECOND).await;
    assert_eq!(
        summary(&retry(subject, "evt_1").await),
        [("a", DeliveryState::Running, ChangeOutcome::Applied)]
    );
    assert_eq!(
        summary(&discard(subject, "evt_2").await),
        [("b", DeliveryState::Running, ChangeOutcome::Applied)]
    );
    assert_eq!(
        complete(subject, &stale, DeliveryOutcome::Done).await,
        crate::store::CompleteResult::LeaseLost
    );
    assert_eq!(
        complete(subject, &lost, DeliveryOutcome::Done).await,
        crate::store::CompleteResult::LeaseLost
    );
    assert_nothing_due(subject, "b").await;
    let again = claim_one(subject, "a").await;
    assert_eq!((again.attempt, again.lease_expired), (2, false), "the expired attempt counts");
    assert_eq!(
        complete(subject, &stale, DeliveryOutcome::Done).await,
        crate::store::CompleteResult::LeaseLost
    );
    assert_eq!(
        complete(subject, &again.lease, DeliveryOutcome::Done).await,
        crate::store::CompleteResult::Recorded
    );
}

/// A retried ordered delivery comes before newer ones of its lane, but after the one in flight.
pub async fn retried_ordered_delivery_keeps_its_place(subject: &impl Subject<Store: Operations>) {
    for (id, created) in [("evt_1", 10), ("evt_2", 20), ("evt_3", 30)] {
        store(subject, &[ordered(id, created)]).await;
    }
    let first = claim_one(subject, "a").await.lease;
    complete(subject, &first, dead()).await;
    let second = claim_one(subject, "a").await;
    assert_eq!(second.event.expect("stored event is readable").id(), "evt_2");
    assert_eq!(
        summary(&retry(subject, "evt_1").await),
        [("a", DeliveryState::Dead, ChangeOutcome::Applied)]
    );
    assert_nothing_due(subject, "a").await;
    complete(subject, &second.lease, DeliveryOutcome::Done).await;
    for id in ["evt_1", "evt_3"] {
        let next = claim_one(subject, "a").await;
        assert_eq!(next.event.expect("stored event is readable").id(), id);
        complete(subject, &next.lease, DeliveryOutcome::Done).await;
    }
    assert_nothing_due(subject, "a").await;
}

/// Discarding the first delivery of a lane unblocks the next one, also if the first one's lease has
/// expired.
pub async fn discard_unblocks_lane(subject: &impl Subject<Store: Operations>) {
    store(subject, &[ordered("evt_1", 10), ordered("evt_2", 20), ordered("evt_3", 30)]).await;
    let lease = claim_one(subject, "a").await.lease;
    complete(subject, &lease, retry_in(600)).await;
    assert_nothing_due(subject, "a").await;
    discard(subject, "evt_1").await;
    let second = claim_one(subject, "a").await;
    assert_eq!(second.event.expect("stored event is readable").id(), "evt_2");
    // Discarding a blocked delivery unblocks none.
    discard(subject, "evt_3").await;
    assert_nothing_due(subject, "a").await;
    complete(subject, &second.lease, DeliveryOutcome::Done).await;
    assert_nothing_due(subject, "a").await;
    // A delivery whose lease has expired blocks its lane until it is discarded.
    store(subject, &[ordered("evt_4", 40), ordered("evt_5", 50)]).await;
    claim_one(subject, "a").await;
    subject.pass(LEASE + SECOND).await;
    discard(subject, "evt_4").await;
    let last = claim_one(subject, "a").await;
    assert_eq!(last.event.expect("stored event is readable").id(), "evt_5");
}

/// Of a replayed event, only the latest delivery of each handler is retried.
pub async fn retry_applies_to_latest_generation(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["a", "b"])]).await;
    for handler in ["a", "b"] {
        let lease = claim_one(subject, handler).await.lease;
        complete(subject, &lease, dead()).await;
    }
    let number = event_number(subject, "evt_1").await;
    subject.store().replay(&[number], &["a".into()]).await.expect("store is available");
    let lease = claim_one(subject, "a").await.lease;
    complete(subject, &lease, dead()).await;
    let changed = retry(subject, "evt_1").await;
    assert_eq!(
        summary(&changed),
        [
            ("b", DeliveryState::Dead, ChangeOutcome::Applied),
            ("a", DeliveryState::Dead, ChangeOutcome::Applied)
        ]
    );
    let generations: Vec<_> = changed.iter().map(|entry| entry.delivery.generation).collect();
    assert_eq!(generations, [0, 1]);
    assert_eq!(claim(subject, &["a", "b"], 9).await.len(), 2);
    let deliveries = subject.store().deliveries("evt_1").await.expect("store is available");
    assert_eq!(deliveries[0].state, DeliveryState::Discarded, "{deliveries:?}");
    // An event with the same id at another endpoint has not been replayed.
    let other_endpoint =
        StoredEvent { endpoint: "connect".into(), ..StoredEvent::from_event(&event("evt_1")) };
    let other_endpoint = Event::from_store(other_endpoint).expect("event is valid");
    store(subject, &[new(&other_endpoint, &["a"])]).await;
    let changed = subject.store().retry("evt_1", Some("a")).await.expect("store is available");
    let retried: Vec<_> = changed
        .iter()
        .map(|entry| (&*entry.delivery.endpoint, entry.delivery.generation))
        .collect();
    assert_eq!(retried, [("connect", 0), ("default", 1)]);
}

fn ordered(id: &str, created: u64) -> NewEvent {
    let created = std::time::UNIX_EPOCH + std::time::Duration::from_secs(created);
    let event = SyntheticEvent::new("customer.updated").id(id).set("id", "cus_1").created(created);
    let deliveries = vec![delivery("a", Some(DeliveryOrder::OldestFirst))];
    NewEvent::new(event_of(event), deliveries)
}
