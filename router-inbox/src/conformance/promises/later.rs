//! Promises about deliveries whose handlers ask to run later.

use std::time::Duration;

use router_core::delivery::DeliveryOrder;

use super::{
    LEASE, SECOND, assert_nothing_due, claim, claim_one, complete, delivery, event, new, retry_in,
    store,
};
use crate::{
    Store as _,
    conformance::Subject,
    store::{CompleteResult, DeliveryOutcome, DeliveryState, NewEvent},
};

const WAIT: Duration = Duration::from_secs(3600);

fn later(out_of_order: bool) -> DeliveryOutcome {
    DeliveryOutcome::Later { wait: WAIT, reason: Some("not yet".into()), out_of_order }
}

/// Stores events of one object for an ordered handler, the oldest first.
async fn store_ordered(subject: &impl Subject, ids: &[&str], order: DeliveryOrder) {
    for id in ids {
        let new = NewEvent::new(event(id), vec![delivery("a", Some(order))]);
        store(subject, &[new]).await;
    }
}

/// A delivery whose handler asks to run later is due after the wait, and its attempt is not
/// counted.
pub async fn later_costs_no_attempt(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    for _ in 0..3 {
        let claim = claim_one(subject, "a").await;
        assert_eq!(claim.attempt, 1);
        let completed = complete(subject, &claim.lease, later(false)).await;
        assert_eq!(completed, CompleteResult::Recorded);
        assert_nothing_due(subject, "a").await;
        let stored = subject.store().deliveries("evt_1").await.expect("store is available");
        assert_eq!((stored[0].state, stored[0].attempts), (DeliveryState::Waiting, 0));
        assert_eq!(stored[0].error.as_deref(), Some("not yet"));
        subject.pass(WAIT + SECOND).await;
    }
}

/// A claim states the total of the waits for which the handler has asked to run later, until the
/// delivery starts over. Other time does not count.
pub async fn claim_states_total_of_later_waits(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    let first = claim_one(subject, "a").await;
    assert_eq!(first.delayed, Duration::ZERO);
    complete(subject, &first.lease, later(false)).await;
    // As if no worker had run meanwhile.
    subject.pass(WAIT * 9).await;
    let second = claim_one(subject, "a").await;
    assert_eq!(second.delayed, WAIT);
    complete(subject, &second.lease, retry_in(60)).await;
    subject.pass(SECOND * 61).await;
    let third = claim_one(subject, "a").await;
    assert_eq!(third.delayed, WAIT);
    complete(subject, &third.lease, later(false)).await;
    subject.pass(WAIT + SECOND).await;
    let fourth = claim_one(subject, "a").await;
    assert_eq!(fourth.delayed, WAIT * 2);
    complete(subject, &fourth.lease, DeliveryOutcome::Dead { error: "never".into() }).await;
    // A redelivery starts the dead letter over.
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    assert_eq!(claim_one(subject, "a").await.delayed, Duration::ZERO);
}

/// An ordered delivery blocks its lane while it waits to run later.
pub async fn later_delivery_holds_its_lane(subject: &impl Subject) {
    store_ordered(subject, &["evt_1", "evt_2"], DeliveryOrder::OldestFirst).await;
    let first = claim_one(subject, "a").await;
    complete(subject, &first.lease, later(false)).await;
    assert_nothing_due(subject, "a").await;
    subject.pass(WAIT + SECOND).await;
    assert_eq!(&*claim_one(subject, "a").await.lease.event_id, "evt_1");
}

/// An ordered delivery that runs later out of order takes the last place of its lane.
pub async fn later_out_of_order_takes_last_place(subject: &impl Subject) {
    store_ordered(subject, &["evt_1", "evt_2"], DeliveryOrder::OldestFirst).await;
    let first = claim_one(subject, "a").await;
    complete(subject, &first.lease, later(true)).await;
    // The other delivery is not blocked, and neither is one that is stored now.
    let second = claim_one(subject, "a").await;
    assert_eq!(&*second.lease.event_id, "evt_2");
    store_ordered(subject, &["evt_3"], DeliveryOrder::OldestFirst).await;
    subject.pass(WAIT + SECOND).await;
    // The lease of `evt_2` has expired, but `evt_2` still runs before the others.
    let second = claim_one(subject, "a").await;
    assert!(second.lease_expired);
    complete(subject, &second.lease, DeliveryOutcome::Done).await;
    for id in ["evt_3", "evt_1"] {
        let next = claim_one(subject, "a").await;
        assert_eq!(&*next.lease.event_id, id);
        complete(subject, &next.lease, DeliveryOutcome::Done).await;
    }
}

/// Deliveries of a lane that run later out of order do not wait for each other: the one that is due
/// first goes first.
pub async fn later_out_of_order_runs_by_due_time(subject: &impl Subject) {
    store_ordered(subject, &["evt_1", "evt_2"], DeliveryOrder::OldestFirst).await;
    for wait in [WAIT, SECOND * 60] {
        let claim = claim_one(subject, "a").await;
        let later = DeliveryOutcome::Later { wait, reason: None, out_of_order: true };
        complete(subject, &claim.lease, later).await;
    }
    subject.pass(SECOND * 61).await;
    let first = claim_one(subject, "a").await;
    assert_eq!(&*first.lease.event_id, "evt_2");
    complete(subject, &first.lease, DeliveryOutcome::Done).await;
    assert_nothing_due(subject, "a").await;
    subject.pass(WAIT).await;
    assert_eq!(&*claim_one(subject, "a").await.lease.event_id, "evt_1");
}

/// A delivery for the newest event of an object keeps its place if it runs later out of order.
pub async fn later_out_of_order_keeps_place_in_newest_lane(subject: &impl Subject) {
    store_ordered(subject, &["evt_1"], DeliveryOrder::NewestOnly).await;
    let first = claim_one(subject, "a").await;
    complete(subject, &first.lease, later(true)).await;
    subject.pass(WAIT + SECOND).await;
    let again = claim_one(subject, "a").await;
    assert!(!again.outdated);
    complete(subject, &again.lease, DeliveryOutcome::Done).await;
    assert!(claim(subject, &["a"], 9).await.is_empty());
}

/// A lost lease cannot delay a delivery.
pub async fn later_with_lost_lease_changes_nothing(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    let lost = claim_one(subject, "a").await;
    subject.pass(LEASE + SECOND).await;
    let current = claim_one(subject, "a").await;
    assert_eq!(complete(subject, &lost.lease, later(true)).await, CompleteResult::LeaseLost);
    let completed = complete(subject, &current.lease, retry_in(0)).await;
    assert_eq!(completed, CompleteResult::Recorded);
    assert_eq!(claim_one(subject, "a").await.delayed, Duration::ZERO);
}
