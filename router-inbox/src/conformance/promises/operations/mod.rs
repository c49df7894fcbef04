//! What a store promises to whoever operates it: what it tells of what is in it.

mod changes;
mod purge;
mod replay;

use std::time::Duration;

use router_core::{Event, event::StoredEvent, testing::SyntheticEvent};

pub use self::{changes::*, purge::*, replay::*};
use super::{A_MOMENT, LEASE, claim_one, complete, event, event_of, new, retry_in, store};
use crate::{
    DeliveryOutcome, DeliveryState, NewDelivery, NewEvent, Operations,
    conformance::Subject,
    operations::{BacklogCount, EventSelector, HandlerStatus, InboxStatus, ListEntry, ListFilter},
};

async fn status(subject: &impl Subject<Store: Operations>) -> InboxStatus {
    subject.store().status().await.expect("the store is there")
}

async fn list(subject: &impl Subject<Store: Operations>, filter: &ListFilter) -> Vec<ListEntry> {
    subject.store().list(filter).await.expect("the store is there")
}

/// The ids of the events in a list.
async fn listed(subject: &impl Subject<Store: Operations>, filter: ListFilter) -> Vec<String> {
    let filter = ListFilter { limit: 99, ..filter };
    list(subject, &filter).await.into_iter().map(|listed| listed.event.id).collect()
}

/// What a handler fails for good.
fn dead() -> DeliveryOutcome {
    DeliveryOutcome::Dead { error: "no such order".into() }
}

/// Stores an event for a handler, and has its first run end so.
async fn ended(
    subject: &impl Subject<Store: Operations>,
    id: &str,
    handler: &str,
    end: DeliveryOutcome,
) {
    store(subject, &[new(&event(id), &[handler])]).await;
    let claim = claim_one(subject, handler).await;
    complete(subject, &claim.lease, end).await;
}

/// The number of the one event with this id that came from Stripe.
async fn number(subject: &impl Subject<Store: Operations>, id: &str) -> i64 {
    let selection = EventSelector { event_id: Some(id.into()), ..EventSelector::default() };
    let selected = subject.store().select(&selection).await.expect("the store is there");
    assert_eq!(selected.len(), 1, "{id}: {selected:?}");
    selected[0]
}

/// By handler and state; and how long the oldest has waited.
pub async fn a_status_counts_what_is_open_and_what_is_dead(
    subject: &impl Subject<Store: Operations>,
) {
    assert_eq!(status(subject).await, InboxStatus::default());
    ended(subject, "evt_dead", "b", dead()).await;
    ended(subject, "evt_done", "a", DeliveryOutcome::Done).await;
    ended(subject, "evt_ignored", "a", DeliveryOutcome::Ignored).await;
    ended(subject, "evt_later", "a", retry_in(600)).await;
    subject.pass(A_MOMENT * 100).await;
    store(subject, &[new(&event("evt_lost"), &["a"])]).await;
    claim_one(subject, "a").await;
    subject.pass(LEASE + A_MOMENT).await;
    store(subject, &[new(&event("evt_out"), &["a"]), new(&event("evt_none"), &[])]).await;
    // The one whose lease has run out goes first.
    assert!(super::claim(subject, &["a"], 1).await[0].lease_expired);
    let newest = claim_one(subject, "a").await;
    assert_eq!(newest.event.expect("it is as it was stored").id(), "evt_out");
    subject.pass(LEASE / 2).await;
    store(subject, &[new(&event("evt_due"), &["a"])]).await;
    let told = status(subject).await;
    assert_eq!((told.events, told.unhandled, told.finished), (8, 1, 2), "{told:?}");
    let [a, b] = &told.handlers[..] else { panic!("there are two: {told:?}") };
    assert_eq!((&*a.handler, &*b.handler), ("a", "b"));
    assert_eq!((a.waiting.number, a.running.number, a.dead.number, a.due), (2, 2, 0, 1));
    assert_eq!((b.waiting.number, b.running.number, b.dead.number, b.due), (0, 0, 1, 0));
    let is_about = |count: BacklogCount, seconds| {
        let age = count.oldest.expect("there is one").as_secs();
        assert!((seconds..seconds + 5).contains(&age), "{age} s, not {seconds}: {told:?}");
    };
    is_about(a.waiting, 191);
    is_about(a.running, 91);
    is_about(b.dead, 191);
    assert_eq!((a.dead.oldest, b.waiting.oldest, b.running.oldest), (None, None, None));
    subject.pass(LEASE / 2 + A_MOMENT).await;
    assert_eq!(status(subject).await.handlers[0].due, 3, "both leases have run out");
}

/// So a handler's name is known, and one that is none.
pub async fn a_status_has_each_handler_that_has_had_a_delivery(
    subject: &impl Subject<Store: Operations>,
) {
    ended(subject, "evt_1", "b", DeliveryOutcome::Done).await;
    store(subject, &[new(&event("evt_2"), &["a"])]).await;
    let told = status(subject).await;
    let one = BacklogCount { number: 1, oldest: told.handlers[0].waiting.oldest };
    let none = BacklogCount::default();
    let expected = [
        HandlerStatus { handler: "a".into(), waiting: one, running: none, dead: none, due: 1 },
        HandlerStatus { handler: "b".into(), waiting: none, running: none, dead: none, due: 0 },
    ];
    assert_eq!(told.handlers, expected);
}

/// What waits for another of its object too, though it is not due.
pub async fn a_status_counts_what_waits_for_its_turn(subject: &impl Subject<Store: Operations>) {
    let deliveries = vec![NewDelivery { handler: "a".into(), ordered: true }];
    let ordered = |id| {
        let event = event_of(SyntheticEvent::new("customer.updated").id(id).set("id", "cus_1"));
        NewEvent { event, deliveries: deliveries.clone() }
    };
    store(subject, &[ordered("evt_1"), ordered("evt_2"), ordered("evt_3")]).await;
    let told = status(subject).await;
    assert_eq!((told.handlers[0].waiting.number, told.handlers[0].due), (3, 1), "{told:?}");
    let waiting =
        ListFilter { states: vec![DeliveryState::Waiting], limit: 9, ..ListFilter::default() };
    let blocked: Vec<_> = list(subject, &waiting)
        .await
        .into_iter()
        .map(|listed| listed.delivery.expect("it is one").is_blocked)
        .collect();
    assert_eq!((blocked.len(), blocked.iter().filter(|blocked| **blocked).count()), (3, 2));
}

/// And goes on where it ended, without what came since.
pub async fn a_list_has_the_newest_first_in_pages(subject: &impl Subject<Store: Operations>) {
    for id in ["evt_1", "evt_2", "evt_3"] {
        store(subject, &[new(&event(id), &["a", "b"])]).await;
    }
    let mut pages = Vec::new();
    let mut filter = ListFilter { limit: 4, ..ListFilter::default() };
    loop {
        let page = list(subject, &filter).await;
        let Some(last) = page.last() else { break };
        filter.before = Some(last.number);
        pages.push(page.into_iter().map(|listed| listed.event.id).collect::<Vec<_>>());
        assert!(pages.len() < 9, "it comes to an end: {pages:?}");
        store(subject, &[new(&event(&format!("evt_since_{}", pages.len())), &["a"])]).await;
    }
    assert_eq!(pages, [vec!["evt_3", "evt_3", "evt_2", "evt_2"], vec!["evt_1", "evt_1"]]);
}

/// And all of what is.
pub async fn a_list_is_of_what_is_asked_for(subject: &impl Subject<Store: Operations>) {
    let of = |event_type: &str, id: &str, object: &str| {
        SyntheticEvent::new(event_type).id(id).set("id", object)
    };
    let events = [
        event_of(of("customer.created", "evt_1", "cus_1")),
        event_of(of("customer.tax_id.created", "evt_2", "txi_1")),
        event_of(of("customer.updated", "evt_3", "cus_1").account("acct_1")),
        event_of(of("invoice.paid", "evt_4", "in_1")),
    ];
    for event in &events {
        store(subject, &[new(event, &["a"])]).await;
    }
    store(subject, &[new(&event_of(of("customer.created", "evt_5", "cus_2")), &["b"])]).await;
    let lease = claim_one(subject, "b").await.lease;
    complete(subject, &lease, dead()).await;
    let filter = ListFilter::default;
    let of_type = |text: &str| ListFilter { event_type: Some(text.into()), ..filter() };
    assert_eq!(listed(subject, filter()).await, ["evt_5", "evt_4", "evt_3", "evt_2", "evt_1"]);
    assert_eq!(listed(subject, of_type("customer.created")).await, ["evt_5", "evt_1"]);
    let customers = ["evt_5", "evt_3", "evt_2", "evt_1"];
    assert_eq!(listed(subject, of_type("customer.*")).await, customers);
    assert_eq!(listed(subject, of_type("custom")).await, [""; 0]);
    assert_eq!(listed(subject, of_type("*")).await.len(), 5);
    let of_object = ListFilter { object: Some("cus_1".into()), ..filter() };
    assert_eq!(listed(subject, of_object.clone()).await, ["evt_3", "evt_1"]);
    let of_both = ListFilter { event_type: Some("customer.created".into()), ..of_object };
    assert_eq!(listed(subject, of_both).await, ["evt_1"]);
    assert_eq!(
        listed(subject, ListFilter { handler: Some("b".into()), ..filter() }).await,
        ["evt_5"]
    );
    let in_state = |states: &[DeliveryState]| ListFilter { states: states.to_vec(), ..filter() };
    assert_eq!(listed(subject, in_state(&[DeliveryState::Dead])).await, ["evt_5"]);
    assert_eq!(listed(subject, in_state(&[DeliveryState::Waiting])).await.len(), 4);
    assert_eq!(
        listed(subject, in_state(&[DeliveryState::Waiting, DeliveryState::Dead])).await.len(),
        5
    );
    assert_eq!(
        listed(subject, in_state(&[DeliveryState::Running, DeliveryState::Done])).await,
        [""; 0]
    );
    let row = &list(subject, &ListFilter { limit: 3, ..filter() }).await[2];
    let (listed, delivery) = (&row.event, row.delivery.as_ref().expect("it is one"));
    assert_eq!((&*listed.event_type, &*listed.object), ("customer.updated", "cus_1"));
    assert_eq!((&*listed.endpoint, listed.account.as_deref()), ("default", Some("acct_1")));
    assert_eq!(
        (&*delivery.handler, delivery.state, delivery.attempts),
        ("a", DeliveryState::Waiting, 0)
    );
}

/// Byte for byte, with each delivery and its times.
pub async fn all_that_is_kept_of_an_event_is_shown(subject: &impl Subject<Store: Operations>) {
    let first = event("evt_1");
    let elsewhere = StoredEvent { endpoint: "connect".into(), ..StoredEvent::of(&first) };
    let elsewhere = Event::from_store(elsewhere).expect("it was one");
    store(subject, &[new(&first, &["b", "a"]), new(&elsewhere, &["a"])]).await;
    let lease = claim_one(subject, "b").await.lease;
    subject.pass(A_MOMENT * 10).await;
    complete(subject, &lease, dead()).await;
    let shown = subject.store().show("evt_1").await.expect("the store is there");
    let [connect, default] = &shown[..] else { panic!("there are two: {shown:?}") };
    assert_eq!((connect.kept.clone(), connect.deliveries.len()), (StoredEvent::of(&elsewhere), 1));
    assert_eq!(default.kept, StoredEvent::of(&first));
    assert_eq!((&*default.event.id, &*default.event.event_type), ("evt_1", "invoice.paid"));
    let [a, b] = &default.deliveries[..] else { panic!("there are two: {default:?}") };
    assert_eq!((&*a.handler, a.state, a.ended_at), ("a", DeliveryState::Waiting, None));
    assert_eq!(a.due, Some(default.event.stored_at));
    assert_eq!((&*b.handler, b.state, b.due), ("b", DeliveryState::Dead, None));
    assert_eq!((b.attempts, b.error.as_deref()), (1, Some("no such order")));
    let took = b.ended_at.and_then(|at| at.duration_since(default.event.stored_at).ok());
    let took = took.expect("it ended after it came").as_secs();
    assert!((10..15).contains(&took), "{took} s");
    let of_another = subject.store().show("evt_2").await.expect("the store is there");
    assert!(of_another.is_empty(), "{of_another:?}");
}

/// In a list of its own, and neither in that of deliveries nor once a handler has it.
pub async fn what_no_handler_was_for_is_listed_until_it_is_replayed(
    subject: &impl Subject<Store: Operations>,
) {
    store(subject, &[new(&event("evt_1"), &[]), new(&event("evt_2"), &["a"])]).await;
    store(subject, &[new(&event("evt_3"), &[])]).await;
    let unhandled = ListFilter { unhandled: true, ..ListFilter::default() };
    assert_eq!(listed(subject, unhandled.clone()).await, ["evt_3", "evt_1"]);
    assert_eq!(listed(subject, ListFilter::default()).await, ["evt_2"]);
    assert_eq!(status(subject).await.unhandled, 2);
    let number = number(subject, "evt_1").await;
    subject.store().replay(&[number], &["new".into()]).await.expect("the store is there");
    assert_eq!(listed(subject, unhandled.clone()).await, ["evt_3"]);
    assert_eq!(status(subject).await.unhandled, 1);
    let of_type = |text: &str| ListFilter { event_type: Some(text.into()), ..unhandled.clone() };
    assert_eq!(listed(subject, of_type("invoice.*")).await, ["evt_3"]);
    assert_eq!(listed(subject, of_type("customer.*")).await, [""; 0]);
    subject.pass(Duration::from_secs(1)).await;
    assert_eq!(listed(subject, ListFilter::default()).await, ["evt_1", "evt_2"]);
}
