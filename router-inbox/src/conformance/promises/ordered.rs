//! Promises about `ordered` deliveries.

use std::{collections::BTreeSet, time::Duration};

use router_core::{
    Event,
    delivery::DeliveryOrder,
    testing::{Payload, SyntheticEvent},
};

use super::{
    LEASE, SECOND, assert_nothing_due, claim, claim_one, complete, delivery, event_of, new,
    retry_in, state, store,
};
use crate::{
    conformance::Subject,
    store::{Claim, CompleteResult, DeliveryOutcome, DeliveryState, NewEvent},
};

fn ordered(event: &Event, handler: &str) -> NewEvent {
    let deliveries = vec![delivery(handler, Some(DeliveryOrder::OldestFirst))];
    NewEvent::new(event.clone(), deliveries)
}

/// Claims and completes deliveries one at a time. Returns the event ids in the order of the claims.
async fn run_all(subject: &impl Subject, handler: &str) -> Vec<String> {
    let mut order = Vec::new();
    loop {
        let Some(Claim { lease, event, .. }) = claim(subject, &[handler], 1).await.pop() else {
            return order;
        };
        order.push(event.expect("stored event is readable").id().to_owned());
        assert_eq!(
            complete(subject, &lease, DeliveryOutcome::Done).await,
            CompleteResult::Recorded
        );
        // Deliveries that are due at the same time may be claimed in any order.
        subject.pass(SECOND).await;
    }
}

fn of_object(id: &str, event_type: &str, object: &str, created: u64) -> Event {
    let created = std::time::UNIX_EPOCH + Duration::from_secs(created);
    event_of(SyntheticEvent::new(event_type).id(id).set("id", object).created(created))
}

/// At most one delivery of a lane (the ordered deliveries of one handler and object) is in flight.
/// It also blocks the lane while it waits for a retry and after its lease has expired. Other lanes
/// and unordered deliveries are not blocked.
pub async fn ordered_lane_runs_one_delivery_at_a_time(subject: &impl Subject) {
    let first = of_object("evt_1", "customer.updated", "cus_1", 10);
    let second = of_object("evt_2", "customer.updated", "cus_1", 20);
    let other = of_object("evt_3", "customer.updated", "cus_2", 30);
    store(subject, &[ordered(&first, "a"), ordered(&second, "a"), ordered(&other, "a")]).await;
    let mut claims = claim(subject, &["a"], 9).await;
    claims.sort_by_key(|claim| {
        claim.event.as_ref().map_or(String::new(), |event| event.id().to_owned())
    });
    let ids = |claims: &[Claim]| -> Vec<String> {
        let event =
            |claim: &Claim| claim.event.as_ref().expect("stored event is readable").id().to_owned();
        claims.iter().map(event).collect()
    };
    assert_eq!(ids(&claims), ["evt_1", "evt_3"]);
    assert_nothing_due(subject, "a").await;
    complete(subject, &claims[0].lease, retry_in(600)).await;
    complete(subject, &claims[1].lease, DeliveryOutcome::Done).await;
    assert_nothing_due(subject, "a").await;
    let unordered = of_object("evt_4", "customer.updated", "cus_1", 40);
    let other_handler = of_object("evt_5", "customer.updated", "cus_1", 50);
    store(subject, &[new(&unordered, &["a"]), ordered(&other_handler, "b")]).await;
    assert_eq!(ids(&[claim_one(subject, "a").await]), ["evt_4"]);
    assert_eq!(ids(&[claim_one(subject, "b").await]), ["evt_5"]);
    // evt_1 is due again. Its lease expires, and it still blocks the lane.
    subject.pass(Duration::from_secs(600)).await;
    let claims = claim(subject, &["a"], 9).await;
    assert!(ids(&claims).contains(&"evt_1".to_owned()), "{claims:?}");
    subject.pass(LEASE).await;
    let claims = claim(subject, &["a"], 9).await;
    assert!(!ids(&claims).contains(&"evt_2".to_owned()), "{claims:?}");
    let position = ids(&claims).iter().position(|id| id == "evt_1").expect("evt_1 is claimed");
    assert!(claims[position].lease_expired);
    complete(subject, &claims[position].lease, DeliveryOutcome::RELEASED).await;
    assert_eq!(
        ids(&[claim_one(subject, "a").await]),
        ["evt_1"],
        "a released delivery is first again"
    );
}

/// An older event stored while a newer one of its lane is in flight waits for it, and is then
/// delivered first. The two neither run at the same time nor block each other forever.
pub async fn late_older_event_waits_for_delivery_in_flight(subject: &impl Subject) {
    let (older, newer) = (
        of_object("evt_1", "customer.updated", "cus_1", 10),
        of_object("evt_2", "customer.updated", "cus_1", 20),
    );
    store(subject, &[ordered(&newer, "a")]).await;
    claim_one(subject, "a").await;
    store(subject, &[ordered(&older, "a")]).await;
    assert_nothing_due(subject, "a").await;
    subject.pass(LEASE).await;
    let expired = claim_one(subject, "a").await;
    assert!(expired.lease_expired, "{expired:?}");
    complete(subject, &expired.lease, retry_in(0)).await;
    assert_eq!(run_all(subject, "a").await, ["evt_1", "evt_2"]);
}

/// A lane is delivered by stage, then by the event's time, then in the order of storing. All orders
/// in which three events can be stored are tested.
pub async fn ordered_lane_runs_by_age_then_arrival(subject: &impl Subject) {
    const ORDERS: [[usize; 3]; 6] =
        [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let types = ["customer.created", "customer.updated", "customer.deleted"];
    for (round, order) in ORDERS.iter().enumerate() {
        let object = format!("cus_{round}");
        let id = |stage: usize| format!("evt_{round}_{stage}");
        for stage in *order {
            let event = of_object(&id(stage), types[stage], &object, 10);
            store(subject, &[ordered(&event, "a")]).await;
            subject.pass(SECOND).await;
        }
        assert_eq!(run_all(subject, "a").await, [id(0), id(1), id(2)], "stored as {order:?}");
    }
    // An older event that is stored late comes before newer ones that have not started.
    for (id, created) in
        [("evt_late_2", 20), ("evt_tie_1", 30), ("evt_tie_2", 30), ("evt_late_1", 10)]
    {
        let event = of_object(id, "customer.updated", "cus_late", created);
        store(subject, &[ordered(&event, "a")]).await;
        subject.pass(SECOND).await;
    }
    let order = run_all(subject, "a").await;
    assert_eq!(order, ["evt_late_1", "evt_late_2", "evt_tie_1", "evt_tie_2"]);
    // Events with equal times keep the order of their batch.
    let ids = ["evt_e", "evt_b", "evt_h", "evt_a", "evt_g", "evt_c", "evt_f", "evt_d"];
    let event = |id: &&str| ordered(&of_object(id, "customer.updated", "cus_tie", 40), "a");
    store(subject, &ids.iter().map(event).collect::<Vec<_>>()).await;
    assert_eq!(run_all(subject, "a").await, ids);
}

/// A dead letter does not block its lane. Otherwise an event that can never be handled would block
/// its object forever.
pub async fn dead_letter_unblocks_lane(subject: &impl Subject) {
    for (id, created) in [("evt_1", 10), ("evt_2", 20)] {
        let event = of_object(id, "customer.updated", "cus_1", created);
        store(subject, &[ordered(&event, "a")]).await;
    }
    let lease = claim_one(subject, "a").await.lease;
    complete(subject, &lease, DeliveryOutcome::Dead { error: "no such order".into() }).await;
    assert_eq!(run_all(subject, "a").await, ["evt_2"]);
    assert_eq!(state(subject, "evt_1").await, (DeliveryState::Dead, 1));
}

fn newest(event: &Event, handler: &str) -> NewEvent {
    let deliveries = vec![delivery(handler, Some(DeliveryOrder::NewestOnly))];
    NewEvent::new(event.clone(), deliveries)
}

/// Claims the only due delivery of the handler and completes it. Returns the event's id, and
/// whether the claim was outdated.
async fn run_one(
    subject: &impl Subject,
    handler: &str,
    outcome: DeliveryOutcome,
) -> (String, bool) {
    let Claim { lease, event, outdated, .. } = claim_one(subject, handler).await;
    complete(subject, &lease, outcome).await;
    (event.expect("stored event is readable").id().to_owned(), outdated)
}

/// A handler that takes only the newest event of an object is given the newest that waits first.
/// An older event is outdated once a newer one is done, and in whatever order they arrive.
pub async fn newest_lane_outdates_older_events(subject: &impl Subject) {
    let deleted = of_object("evt_deleted", "customer.deleted", "cus_1", 10);
    let updated = of_object("evt_updated", "customer.updated", "cus_1", 20);
    let created = of_object("evt_created", "customer.created", "cus_1", 30);
    let other = of_object("evt_other", "customer.created", "cus_2", 1);
    store(subject, &[newest(&created, "a"), newest(&deleted, "a"), newest(&updated, "a")]).await;
    assert_eq!(run_one(subject, "a", DeliveryOutcome::Done).await, ("evt_deleted".into(), false));
    // If it runs nevertheless, the store still remembers the newest.
    assert_eq!(run_one(subject, "a", DeliveryOutcome::Done).await, ("evt_updated".into(), true));
    // Also an event that arrives later, and of another handler and object nothing is remembered.
    let late = of_object("evt_late", "customer.updated", "cus_1", 99);
    assert_eq!(run_one(subject, "a", DeliveryOutcome::Ignored).await, ("evt_created".into(), true));
    store(subject, &[newest(&late, "a")]).await;
    assert_eq!(run_one(subject, "a", DeliveryOutcome::Ignored).await, ("evt_late".into(), true));
    store(subject, &[newest(&other, "a"), newest(&updated, "b")]).await;
    assert_eq!(run_one(subject, "a", DeliveryOutcome::Done).await, ("evt_other".into(), false));
    assert_eq!(store(subject, &[newest(&created, "b")]).await.len(), 1);
    assert_nothing_due(subject, "a").await;
}

/// Of two events that are equally new, neither is outdated. They run in the order of their arrival.
pub async fn newest_lane_runs_ties(subject: &impl Subject) {
    let first = of_object("evt_1", "customer.updated", "cus_1", 10);
    let second = of_object("evt_2", "customer.updated", "cus_1", 10);
    store(subject, &[newest(&first, "a"), newest(&second, "a")]).await;
    assert_eq!(run_one(subject, "a", DeliveryOutcome::Done).await, ("evt_1".into(), false));
    assert_eq!(run_one(subject, "a", DeliveryOutcome::Done).await, ("evt_2".into(), false));
}

/// An event without a time cannot be compared with others. It is never outdated.
pub async fn newest_lane_runs_event_without_time(subject: &impl Subject) {
    let without_time = |id: &str| {
        let body = format!(
            r#"{{"id": "{id}", "object": "event", "type": "customer.updated",
                "data": {{"object": {{"id": "cus_1", "object": "customer"}}}}}}"#
        );
        Payload::recorded(body).expect("event is valid").event().clone()
    };
    let timed = of_object("evt_timed", "customer.updated", "cus_1", 10);
    store(subject, &[newest(&timed, "a"), newest(&without_time("evt_1"), "a")]).await;
    assert_eq!(run_one(subject, "a", DeliveryOutcome::Done).await, ("evt_timed".into(), false));
    assert_eq!(run_one(subject, "a", DeliveryOutcome::Done).await, ("evt_1".into(), false));
    let older = of_object("evt_older", "customer.created", "cus_1", 5);
    store(subject, &[newest(&older, "a"), newest(&without_time("evt_2"), "a")]).await;
    assert_eq!(run_one(subject, "a", DeliveryOutcome::Ignored).await, ("evt_older".into(), true));
    assert_eq!(run_one(subject, "a", DeliveryOutcome::Done).await, ("evt_2".into(), false));
}

/// A failed event does not hold up a newer event of its object. It does not run while the newer one
/// runs, and is outdated only once the newer one is done.
pub async fn newest_lane_is_not_held_by_failures(subject: &impl Subject) {
    let older = of_object("evt_1", "customer.updated", "cus_1", 10);
    let newer = of_object("evt_2", "customer.updated", "cus_1", 20);
    store(subject, &[newest(&older, "a")]).await;
    assert_eq!(run_one(subject, "a", retry_in(600)).await, ("evt_1".into(), false));
    store(subject, &[newest(&newer, "a")]).await;
    subject.pass(Duration::from_secs(601)).await;
    // Both are due, and the newer one goes first.
    let running = claim_one(subject, "a").await;
    assert_eq!(running.event.expect("stored event is readable").id(), "evt_2");
    assert_nothing_due(subject, "a").await;
    let dead = DeliveryOutcome::Dead { error: "no".into() };
    complete(subject, &running.lease, dead).await;
    assert_eq!(run_one(subject, "a", DeliveryOutcome::Done).await, ("evt_1".into(), false));
    // The dead letter is newer, so it is not outdated when it is restarted.
    store(subject, &[newest(&newer, "a")]).await;
    assert_eq!(run_one(subject, "a", DeliveryOutcome::Done).await, ("evt_2".into(), false));
}

/// An upcoming invoice has no id. It waits only for those of its own subscription, and an event
/// that belongs to no known object waits for none.
pub async fn ordered_objects_without_id_wait_for_same_owner(subject: &impl Subject) {
    let upcoming = |id: &str| SyntheticEvent::new("invoice.upcoming").id(id).seed(1);
    let other_customer = SyntheticEvent::new("invoice.upcoming").id("evt_2").seed(2);
    let no_owner = |id| upcoming(id).set_text("parent", "null").set_text("customer", "null");
    let events = [
        upcoming("evt_1"),
        other_customer,
        upcoming("evt_3"),
        no_owner("evt_4"),
        no_owner("evt_5"),
    ];
    for event in events {
        store(subject, &[ordered(&event_of(event), "a")]).await;
        subject.pass(SECOND).await;
    }
    let claims = claim(subject, &["a"], 9).await;
    let event =
        |claim: &Claim| claim.event.as_ref().expect("stored event is readable").id().to_owned();
    let ids: BTreeSet<_> = claims.iter().map(event).collect();
    let expected = ["evt_1", "evt_2", "evt_4", "evt_5"].map(str::to_owned);
    assert_eq!(ids, BTreeSet::from(expected), "only evt_3 waits, for evt_1");
}
