//! What is retried and discarded.

use std::time::SystemTime;

use router_core::{Event, event::StoredEvent, testing::SyntheticEvent};

use super::{
    super::{
        A_MOMENT, LEASE, claim, claim_one, claims_nothing, complete, event, event_of, new,
        retry_in, state, store,
    },
    dead, ended, listed, number,
};
use crate::{
    DeliveryOutcome, DeliveryState, NewDelivery, NewEvent, Operations, Store as _,
    conformance::Subject,
    operations::{ChangeOutcome, ChangeResult, ListFilter},
};

async fn retry(subject: &impl Subject<Store: Operations>, id: &str) -> Vec<ChangeResult> {
    subject.store().retry(id, None).await.expect("the store is there")
}

async fn discard(subject: &impl Subject<Store: Operations>, id: &str) -> Vec<ChangeResult> {
    subject.store().discard(id, None).await.expect("the store is there")
}

async fn ended_at(subject: &impl Subject<Store: Operations>, id: &str) -> Option<SystemTime> {
    let shown = subject.store().show(id).await.expect("the store is there");
    shown[0].deliveries[0].ended_at
}

/// What was done to each, by its handler, and the state that it was in.
fn told(changed: &[ChangeResult]) -> Vec<(&str, DeliveryState, ChangeOutcome)> {
    changed.iter().map(|one| (&*one.delivery.handler, one.delivery.state, one.change)).collect()
}

/// At once: whatever kept it from being done is gone.
pub async fn what_is_dead_begins_anew_when_it_is_retried(
    subject: &impl Subject<Store: Operations>,
) {
    ended(subject, "evt_1", "a", dead()).await;
    let changed = retry(subject, "evt_1").await;
    assert_eq!(told(&changed), [("a", DeliveryState::Dead, ChangeOutcome::Applied)]);
    assert_eq!(
        (changed[0].delivery.attempts, changed[0].delivery.error.as_deref()),
        (1, Some("no such order"))
    );
    assert_eq!(state(subject, "evt_1").await, (DeliveryState::Waiting, 0));
    assert_eq!(ended_at(subject, "evt_1").await, None);
    let again = claim_one(subject, "a").await;
    assert_eq!((again.attempt, again.lease_expired), (1, false));
    complete(subject, &again.lease, DeliveryOutcome::Done).await;
    assert!(ended_at(subject, "evt_1").await.is_some());
}

/// It has had its attempts, and does not lose its place to what came later.
pub async fn what_waits_is_due_at_once_when_it_is_retried(
    subject: &impl Subject<Store: Operations>,
) {
    ended(subject, "evt_1", "a", retry_in(600)).await;
    claims_nothing(subject, "a").await;
    assert_eq!(
        told(&retry(subject, "evt_1").await),
        [("a", DeliveryState::Waiting, ChangeOutcome::Applied)]
    );
    subject.pass(A_MOMENT).await;
    store(subject, &[new(&event("evt_2"), &["a"])]).await;
    subject.pass(A_MOMENT).await;
    // What is due already is so since then.
    retry(subject, "evt_1").await;
    let first = claim(subject, &["a"], 1).await.remove(0);
    assert_eq!((first.event.expect("it is as it was stored").id(), first.attempt), ("evt_1", 2));
}

/// Of several, each is told of; and one handler's can be meant alone.
pub async fn what_runs_and_what_is_done_is_left_alone(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["dead", "done", "runs", "waits"])]).await;
    let (lease, runs) =
        (claim_one(subject, "dead").await.lease, claim_one(subject, "runs").await.lease);
    complete(subject, &lease, dead()).await;
    let lease = claim_one(subject, "done").await.lease;
    complete(subject, &lease, DeliveryOutcome::Done).await;
    let left = |changed: &[ChangeResult]| {
        let expected = [
            ("dead", DeliveryState::Dead, ChangeOutcome::Applied),
            ("done", DeliveryState::Done, ChangeOutcome::AlreadyFinished),
            ("runs", DeliveryState::Running, ChangeOutcome::StillRunning),
            ("waits", DeliveryState::Waiting, ChangeOutcome::Applied),
        ];
        assert_eq!(told(changed), expected);
    };
    let one = subject.store().retry("evt_1", Some("done")).await.expect("the store is there");
    assert_eq!(told(&one), [("done", DeliveryState::Done, ChangeOutcome::AlreadyFinished)]);
    left(&discard(subject, "evt_1").await);
    let one = subject.store().retry("evt_1", Some("dead")).await.expect("the store is there");
    assert_eq!(told(&one), [("dead", DeliveryState::Discarded, ChangeOutcome::Applied)]);
    let lease = claim_one(subject, "dead").await.lease;
    complete(subject, &lease, dead()).await;
    let one = subject.store().retry("evt_1", Some("waits")).await.expect("the store is there");
    assert_eq!(told(&one), [("waits", DeliveryState::Discarded, ChangeOutcome::Applied)]);
    left(&retry(subject, "evt_1").await);
    assert_eq!(complete(subject, &runs, DeliveryOutcome::Done).await, crate::Completed::Recorded);
    // There is no such event, and none of this handler.
    assert_eq!(retry(subject, "evt_2").await, []);
    assert_eq!(discard(subject, "evt_2").await, []);
    let none = subject.store().discard("evt_1", Some("audit")).await.expect("the store is there");
    assert_eq!(none, []);
}

/// It is told of and kept, and claimed by nobody; and who thinks better of it can retry it.
pub async fn what_is_discarded_is_not_run(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    assert_eq!(
        told(&discard(subject, "evt_1").await),
        [("a", DeliveryState::Waiting, ChangeOutcome::Applied)]
    );
    assert!(ended_at(subject, "evt_1").await.is_some());
    ended(subject, "evt_2", "a", dead()).await;
    assert_eq!(
        told(&discard(subject, "evt_2").await),
        [("a", DeliveryState::Dead, ChangeOutcome::Applied)]
    );
    assert_eq!(
        told(&discard(subject, "evt_2").await),
        [("a", DeliveryState::Discarded, ChangeOutcome::AlreadyFinished)]
    );
    subject.pass(LEASE * 10).await;
    claims_nothing(subject, "a").await;
    let discarded = ListFilter { states: vec![DeliveryState::Discarded], ..ListFilter::default() };
    assert_eq!(listed(subject, discarded.clone()).await, ["evt_2", "evt_1"]);
    let status = super::status(subject).await;
    assert_eq!((status.finished, status.handlers[0].dead.number), (2, 0), "{status:?}");
    assert_eq!(
        told(&retry(subject, "evt_2").await),
        [("a", DeliveryState::Discarded, ChangeOutcome::Applied)]
    );
    assert_eq!(listed(subject, discarded).await, ["evt_1"]);
    assert_eq!(claim_one(subject, "a").await.attempt, 1);
}

/// Whoever had it is gone, and nobody may ever look for it. If it is not gone, what it says does not count any more.
pub async fn what_nobody_runs_any_more_can_be_changed(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["a"]), new(&event("evt_2"), &["b"])]).await;
    let (slept, lost) = (claim_one(subject, "a").await.lease, claim_one(subject, "b").await.lease);
    subject.pass(LEASE + A_MOMENT).await;
    assert_eq!(
        told(&retry(subject, "evt_1").await),
        [("a", DeliveryState::Running, ChangeOutcome::Applied)]
    );
    assert_eq!(
        told(&discard(subject, "evt_2").await),
        [("b", DeliveryState::Running, ChangeOutcome::Applied)]
    );
    assert_eq!(complete(subject, &slept, DeliveryOutcome::Done).await, crate::Completed::LeaseLost);
    assert_eq!(complete(subject, &lost, DeliveryOutcome::Done).await, crate::Completed::LeaseLost);
    claims_nothing(subject, "b").await;
    let again = claim_one(subject, "a").await;
    assert_eq!((again.attempt, again.lease_expired), (2, false), "it has had one");
    assert_eq!(complete(subject, &slept, DeliveryOutcome::Done).await, crate::Completed::LeaseLost);
    assert_eq!(
        complete(subject, &again.lease, DeliveryOutcome::Done).await,
        crate::Completed::Recorded
    );
}

/// Before what is newer, and after what is out.
pub async fn what_is_ordered_is_retried_in_its_place(subject: &impl Subject<Store: Operations>) {
    for (id, created) in [("evt_1", 10), ("evt_2", 20), ("evt_3", 30)] {
        store(subject, &[ordered(id, created)]).await;
    }
    let first = claim_one(subject, "a").await.lease;
    complete(subject, &first, dead()).await;
    let second = claim_one(subject, "a").await;
    assert_eq!(second.event.expect("it is as it was stored").id(), "evt_2");
    assert_eq!(
        told(&retry(subject, "evt_1").await),
        [("a", DeliveryState::Dead, ChangeOutcome::Applied)]
    );
    claims_nothing(subject, "a").await;
    complete(subject, &second.lease, DeliveryOutcome::Done).await;
    for id in ["evt_1", "evt_3"] {
        let next = claim_one(subject, "a").await;
        assert_eq!(next.event.expect("it is as it was stored").id(), id);
        complete(subject, &next.lease, DeliveryOutcome::Done).await;
    }
    claims_nothing(subject, "a").await;
}

/// It was in the way of all that came after it.
pub async fn what_is_discarded_lets_the_next_of_its_object_go(
    subject: &impl Subject<Store: Operations>,
) {
    store(subject, &[ordered("evt_1", 10), ordered("evt_2", 20), ordered("evt_3", 30)]).await;
    let lease = claim_one(subject, "a").await.lease;
    complete(subject, &lease, retry_in(600)).await;
    claims_nothing(subject, "a").await;
    discard(subject, "evt_1").await;
    let second = claim_one(subject, "a").await;
    assert_eq!(second.event.expect("it is as it was stored").id(), "evt_2");
    // One that is not the first changes nothing for the others.
    discard(subject, "evt_3").await;
    claims_nothing(subject, "a").await;
    complete(subject, &second.lease, DeliveryOutcome::Done).await;
    claims_nothing(subject, "a").await;
    // One whose lease has run out was in the way too.
    store(subject, &[ordered("evt_4", 40), ordered("evt_5", 50)]).await;
    claim_one(subject, "a").await;
    subject.pass(LEASE + A_MOMENT).await;
    discard(subject, "evt_4").await;
    let last = claim_one(subject, "a").await;
    assert_eq!(last.event.expect("it is as it was stored").id(), "evt_5");
}

/// The replay stands for what was before it.
pub async fn of_a_replayed_event_the_last_delivery_is_retried(
    subject: &impl Subject<Store: Operations>,
) {
    store(subject, &[new(&event("evt_1"), &["a", "b"])]).await;
    for handler in ["a", "b"] {
        let lease = claim_one(subject, handler).await.lease;
        complete(subject, &lease, dead()).await;
    }
    let number = number(subject, "evt_1").await;
    subject.store().replay(&[number], &["a".into()]).await.expect("the store is there");
    let lease = claim_one(subject, "a").await.lease;
    complete(subject, &lease, dead()).await;
    let changed = retry(subject, "evt_1").await;
    assert_eq!(
        told(&changed),
        [
            ("b", DeliveryState::Dead, ChangeOutcome::Applied),
            ("a", DeliveryState::Dead, ChangeOutcome::Applied)
        ]
    );
    let generations: Vec<_> = changed.iter().map(|one| one.delivery.generation).collect();
    assert_eq!(generations, [0, 1]);
    assert_eq!(claim(subject, &["a", "b"], 9).await.len(), 2);
    let kept = subject.store().deliveries("evt_1").await.expect("the store is there");
    assert_eq!(kept[0].state, DeliveryState::Discarded, "{kept:?}");
    // The same id at another endpoint is another event, which was not replayed.
    let elsewhere = StoredEvent { endpoint: "connect".into(), ..StoredEvent::of(&event("evt_1")) };
    let elsewhere = Event::from_store(elsewhere).expect("it was one");
    store(subject, &[new(&elsewhere, &["a"])]).await;
    let changed = subject.store().retry("evt_1", Some("a")).await.expect("the store is there");
    let of: Vec<_> =
        changed.iter().map(|one| (&*one.delivery.endpoint, one.delivery.generation)).collect();
    assert_eq!(of, [("connect", 0), ("default", 1)]);
}

fn ordered(id: &str, created: u64) -> NewEvent {
    let created = std::time::UNIX_EPOCH + std::time::Duration::from_secs(created);
    let event = SyntheticEvent::new("customer.updated").id(id).set("id", "cus_1").created(created);
    let deliveries = vec![NewDelivery { handler: "a".into(), ordered: true }];
    NewEvent { event: event_of(event), deliveries }
}
