//! Promises about `ordered` deliveries.

use std::time::Duration;

use router_core::{Event, testing::SyntheticEvent};

use super::{
    LEASE, SECOND, assert_nothing_due, claim, claim_one, complete, event_of, new, retry_in, state,
    store,
};
use crate::{
    Claim, CompleteResult, DeliveryOutcome, DeliveryState, NewDelivery, NewEvent,
    conformance::Subject,
};

fn ordered(event: &Event, handler: &str) -> NewEvent {
    let deliveries = vec![NewDelivery { handler: handler.into(), ordered: true }];
    NewEvent { event: event.clone(), deliveries }
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
    complete(subject, &claims[position].lease, DeliveryOutcome::Released).await;
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
