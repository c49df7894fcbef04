//! What a store promises of deliveries that are `ordered`.

use std::time::Duration;

use router_core::{Event, testing::SyntheticEvent};

use super::{
    A_MOMENT, LEASE, claim, claim_one, claims_nothing, complete, event_of, new, retry_in, state,
    store,
};
use crate::{
    Claim, Completed, DeliveryOutcome, DeliveryState, NewDelivery, NewEvent, conformance::Subject,
};

fn ordered(event: &Event, handler: &str) -> NewEvent {
    let deliveries = vec![NewDelivery { handler: handler.into(), ordered: true }];
    NewEvent { event: event.clone(), deliveries }
}

/// Claims one by one and says that each is done: the events' ids, in the order in which they went.
async fn run_all(subject: &impl Subject, handler: &str) -> Vec<String> {
    let mut went = Vec::new();
    loop {
        let Some(Claim { lease, event, .. }) = claim(subject, &[handler], 1).await.pop() else {
            return went;
        };
        went.push(event.expect("it is as it was stored").id().to_owned());
        assert_eq!(complete(subject, &lease, DeliveryOutcome::Done).await, Completed::Recorded);
        // What was stored or tried at one moment has no order.
        subject.pass(A_MOMENT).await;
    }
}

fn of_object(id: &str, event_type: &str, object: &str, created: u64) -> Event {
    let created = std::time::UNIX_EPOCH + Duration::from_secs(created);
    event_of(SyntheticEvent::new(event_type).id(id).set("id", object).created(created))
}

/// Also while it waits to be tried again, and after its lease has run out. Other objects, other handlers and what
/// is not ordered do not wait.
pub async fn of_an_object_one_ordered_delivery_is_out_at_a_time(subject: &impl Subject) {
    let first = of_object("evt_1", "customer.updated", "cus_1", 10);
    let second = of_object("evt_2", "customer.updated", "cus_1", 20);
    let other = of_object("evt_3", "customer.updated", "cus_2", 30);
    store(subject, &[ordered(&first, "a"), ordered(&second, "a"), ordered(&other, "a")]).await;
    let mut claims = claim(subject, &["a"], 9).await;
    claims.sort_by_key(|claim| claim.event.as_ref().map_or(String::new(), |e| e.id().to_owned()));
    let ids = |claims: &[Claim]| -> Vec<String> {
        claims.iter().map(|one| one.event.as_ref().expect("it is one").id().to_owned()).collect()
    };
    assert_eq!(ids(&claims), ["evt_1", "evt_3"]);
    claims_nothing(subject, "a").await;
    complete(subject, &claims[0].lease, retry_in(600)).await;
    complete(subject, &claims[1].lease, DeliveryOutcome::Done).await;
    claims_nothing(subject, "a").await;
    let plain = of_object("evt_4", "customer.updated", "cus_1", 40);
    let elsewhere = of_object("evt_5", "customer.updated", "cus_1", 50);
    store(subject, &[new(&plain, &["a"]), ordered(&elsewhere, "b")]).await;
    assert_eq!(ids(&[claim_one(subject, "a").await]), ["evt_4"]);
    assert_eq!(ids(&[claim_one(subject, "b").await]), ["evt_5"]);
    // Its lease runs out: it is still the one that is out.
    subject.pass(Duration::from_secs(600)).await;
    let claims = claim(subject, &["a"], 9).await;
    assert!(ids(&claims).contains(&"evt_1".to_owned()), "{claims:?}");
    subject.pass(LEASE).await;
    let claims = claim(subject, &["a"], 9).await;
    assert!(!ids(&claims).contains(&"evt_2".to_owned()), "{claims:?}");
    let at = ids(&claims).iter().position(|id| id == "evt_1").expect("it is claimed");
    assert!(claims[at].lease_expired);
    complete(subject, &claims[at].lease, DeliveryOutcome::Released).await;
    assert_eq!(ids(&[claim_one(subject, "a").await]), ["evt_1"], "it goes first again");
}

/// Both at once would be two writers of one object; and neither, for ever, if each waited for the other.
pub async fn an_older_one_that_comes_late_waits_for_the_one_that_is_out(subject: &impl Subject) {
    let (older, newer) = (
        of_object("evt_1", "customer.updated", "cus_1", 10),
        of_object("evt_2", "customer.updated", "cus_1", 20),
    );
    store(subject, &[ordered(&newer, "a")]).await;
    claim_one(subject, "a").await;
    store(subject, &[ordered(&older, "a")]).await;
    claims_nothing(subject, "a").await;
    subject.pass(LEASE).await;
    let found = claim_one(subject, "a").await;
    assert!(found.lease_expired, "{found:?}");
    complete(subject, &found.lease, retry_in(0)).await;
    assert_eq!(run_all(subject, "a").await, ["evt_1", "evt_2"]);
}

/// All orders in which three events can come: by stage, then by second, then as they came.
pub async fn ordered_deliveries_go_by_age_and_then_as_they_came(subject: &impl Subject) {
    const ORDERS: [[usize; 3]; 6] =
        [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let of_one_second = ["customer.created", "customer.updated", "customer.deleted"];
    for (round, order) in ORDERS.iter().enumerate() {
        let object = format!("cus_{round}");
        let id = |stage: usize| format!("evt_{round}_{stage}");
        for stage in *order {
            let event = of_object(&id(stage), of_one_second[stage], &object, 10);
            store(subject, &[ordered(&event, "a")]).await;
            subject.pass(A_MOMENT).await;
        }
        assert_eq!(run_all(subject, "a").await, [id(0), id(1), id(2)], "came as {order:?}");
    }
    // An older one that comes late does not wait behind a newer one that has not begun.
    for (id, created) in
        [("evt_late_2", 20), ("evt_tie_1", 30), ("evt_tie_2", 30), ("evt_late_1", 10)]
    {
        let event = of_object(id, "customer.updated", "cus_late", created);
        store(subject, &[ordered(&event, "a")]).await;
        subject.pass(A_MOMENT).await;
    }
    let went = run_all(subject, "a").await;
    assert_eq!(went, ["evt_late_1", "evt_late_2", "evt_tie_1", "evt_tie_2"]);
    // Also where they came at once.
    let ids = ["evt_e", "evt_b", "evt_h", "evt_a", "evt_g", "evt_c", "evt_f", "evt_d"];
    let event = |id: &&str| ordered(&of_object(id, "customer.updated", "cus_tie", 40), "a");
    store(subject, &ids.iter().map(event).collect::<Vec<_>>()).await;
    assert_eq!(run_all(subject, "a").await, ids);
}

/// Otherwise one that can never be handled would hold up its object for ever.
pub async fn a_dead_letter_lets_the_next_of_its_object_go(subject: &impl Subject) {
    for (id, created) in [("evt_1", 10), ("evt_2", 20)] {
        let event = of_object(id, "customer.updated", "cus_1", created);
        store(subject, &[ordered(&event, "a")]).await;
    }
    let lease = claim_one(subject, "a").await.lease;
    complete(subject, &lease, DeliveryOutcome::Dead { error: "no such order".into() }).await;
    assert_eq!(run_all(subject, "a").await, ["evt_2"]);
    assert_eq!(state(subject, "evt_1").await, (DeliveryState::Dead, 1));
}
