//! Promises about [`Operations`]: status, lists and details.

mod changes;
mod checkpoints;
mod erase;
mod history;
mod limits;
mod pause;
mod processes;
mod purge;
mod replay;
mod selected;
mod text;

use std::time::Duration;

use router_core::{Event, delivery::DeliveryOrder, event::StoredEvent, testing::SyntheticEvent};

pub use self::{
    changes::*, checkpoints::*, erase::*, history::*, limits::*, pause::*, processes::*, purge::*,
    replay::*, selected::*, text::*,
};
use super::{LEASE, SECOND, claim_one, complete, delivery, event, event_of, new, retry_in, store};
use crate::{
    Store as _,
    conformance::Subject,
    operations::{BacklogCount, EventSelector, HandlerStatus, InboxStatus, ListEntry, ListFilter},
    store::{DeliveryOutcome, DeliveryState, NewEvent, Operations, WorkerInfo},
};

async fn read_status(subject: &impl Subject<Store: Operations>) -> InboxStatus {
    subject.store().status().await.expect("store is available")
}

async fn list(subject: &impl Subject<Store: Operations>, filter: &ListFilter) -> Vec<ListEntry> {
    subject.store().list(filter).await.expect("store is available")
}

/// Returns the event ids of a list.
async fn listed(subject: &impl Subject<Store: Operations>, filter: ListFilter) -> Vec<String> {
    let filter = ListFilter { limit: 99, ..filter };
    list(subject, &filter).await.into_iter().map(|listed| listed.event.id).collect()
}

/// Returns the outcome of a permanent failure.
fn dead() -> DeliveryOutcome {
    DeliveryOutcome::Dead { error: "no such order".into() }
}

/// Stores an event for a handler and completes its first attempt.
async fn store_completed(
    subject: &impl Subject<Store: Operations>,
    id: &str,
    handler: &str,
    outcome: DeliveryOutcome,
) {
    store(subject, &[new(&event(id), &[handler])]).await;
    let claim = claim_one(subject, handler).await;
    complete(subject, &claim.lease, outcome).await;
}

/// Returns the number of the only received event with this id.
async fn event_number(subject: &impl Subject<Store: Operations>, id: &str) -> i64 {
    let selection = EventSelector { event_id: Some(id.into()), ..EventSelector::default() };
    let selected = subject.store().select(&selection).await.expect("store is available");
    assert_eq!(selected.len(), 1, "{id}: {selected:?}");
    selected[0]
}

/// The status counts deliveries by handler and state, with the age of the oldest.
pub async fn status_counts_open_and_dead_deliveries(subject: &impl Subject<Store: Operations>) {
    let empty = InboxStatus { workers: None, ..read_status(subject).await };
    assert_eq!(empty, InboxStatus::default());
    store_completed(subject, "evt_dead", "b", dead()).await;
    store_completed(subject, "evt_done", "a", DeliveryOutcome::Done).await;
    store_completed(subject, "evt_ignored", "a", DeliveryOutcome::Ignored).await;
    store_completed(subject, "evt_later", "a", retry_in(600)).await;
    subject.pass(SECOND * 100).await;
    store(subject, &[new(&event("evt_lost"), &["a"])]).await;
    claim_one(subject, "a").await;
    subject.pass(LEASE + SECOND).await;
    store(subject, &[new(&event("evt_out"), &["a"]), new(&event("evt_none"), &[])]).await;
    // The delivery with the expired lease is claimed first.
    assert!(super::claim(subject, &["a"], 1).await[0].lease_expired);
    let newest = claim_one(subject, "a").await;
    assert_eq!(newest.event.expect("stored event is readable").id(), "evt_out");
    subject.pass(LEASE / 2).await;
    store(subject, &[new(&event("evt_due"), &["a"])]).await;
    let status = read_status(subject).await;
    assert_eq!((status.events, status.unhandled, status.finished), (8, 1, 2), "{status:?}");
    let [a, b] = &status.handlers[..] else { panic!("expected two handlers: {status:?}") };
    assert_eq!((&*a.handler, &*b.handler), ("a", "b"));
    assert_eq!((a.waiting.number, a.running.number, a.dead.number, a.due), (2, 2, 0, 1));
    assert_eq!((b.waiting.number, b.running.number, b.dead.number, b.due), (0, 0, 1, 0));
    let assert_oldest = |count: BacklogCount, seconds| {
        let age = count.oldest.expect("count is not zero").as_secs();
        assert!((seconds..seconds + 5).contains(&age), "{age} s, not {seconds}: {status:?}");
    };
    assert_oldest(a.waiting, 191);
    assert_oldest(a.running, 91);
    assert_oldest(b.dead, 191);
    assert_eq!((a.dead.oldest, b.waiting.oldest, b.running.oldest), (None, None, None));
    subject.pass(LEASE / 2 + SECOND).await;
    assert_eq!(read_status(subject).await.handlers[0].due, 3, "both leases have expired");
}

/// The status lists every handler that has ever had a delivery, so that a handler name can be
/// validated.
pub async fn status_lists_handlers_without_open_deliveries(
    subject: &impl Subject<Store: Operations>,
) {
    store_completed(subject, "evt_1", "b", DeliveryOutcome::Done).await;
    store(subject, &[new(&event("evt_2"), &["a"])]).await;
    let status = read_status(subject).await;
    let single = BacklogCount { number: 1, oldest: status.handlers[0].waiting.oldest };
    let oldest_due = status.handlers[0].oldest_due;
    let waiting = HandlerStatus { waiting: single, due: 1, oldest_due, ..HandlerStatus::new("a") };
    assert_eq!(status.handlers, [waiting, HandlerStatus::new("b")]);
}

/// A delivery blocked in its lane counts as waiting, but not as due.
pub async fn status_counts_blocked_deliveries_as_waiting(
    subject: &impl Subject<Store: Operations>,
) {
    let deliveries = vec![delivery("a", Some(DeliveryOrder::OldestFirst))];
    let ordered = |id| {
        let event = event_of(SyntheticEvent::new("customer.updated").id(id).set("id", "cus_1"));
        NewEvent::new(event, deliveries.clone())
    };
    store(subject, &[ordered("evt_1"), ordered("evt_2"), ordered("evt_3")]).await;
    let status = read_status(subject).await;
    assert_eq!((status.handlers[0].waiting.number, status.handlers[0].due), (3, 1), "{status:?}");
    let waiting =
        ListFilter { states: vec![DeliveryState::Waiting], limit: 9, ..ListFilter::default() };
    let blocked: Vec<_> = list(subject, &waiting)
        .await
        .into_iter()
        .map(|listed| listed.delivery.expect("entry is a delivery").is_blocked)
        .collect();
    assert_eq!((blocked.len(), blocked.iter().filter(|blocked| **blocked).count()), (3, 2));
}

/// The status has the time since the first claimable delivery became due, like the backlog, and the
/// running workers.
pub async fn status_has_oldest_due_and_workers(subject: &impl Subject<Store: Operations>) {
    let worker = WorkerInfo::new("worker", ["a".into()]);
    subject.store().report_worker(&worker, LEASE).await.expect("store is available");
    store(subject, &[new(&event("evt_1"), &["a", "b"])]).await;
    let claim = claim_one(subject, "b").await;
    complete(subject, &claim.lease, retry_in(600)).await;
    subject.pass(LEASE / 2).await;
    let status = read_status(subject).await;
    let oldest_due = status.handlers.iter().map(|handler| handler.oldest_due);
    let oldest_due: Vec<_> = oldest_due.map(|age| age.map(|age| age.as_secs())).collect();
    assert!(matches!(oldest_due[..], [Some(30..35), None]), "{oldest_due:?}");
    assert_eq!(status.workers, subject.store().workers().await.expect("store is available"));
    subject.pass(LEASE).await;
    assert!(read_status(subject).await.workers.is_none_or(|workers| workers.is_empty()));
}

/// A list is sorted newest first. The next page continues after the last entry, without deliveries
/// stored since.
pub async fn list_is_paged_newest_first(subject: &impl Subject<Store: Operations>) {
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
        assert!(pages.len() < 9, "the list is finite: {pages:?}");
        store(subject, &[new(&event(&format!("evt_since_{}", pages.len())), &["a"])]).await;
    }
    assert_eq!(pages, [vec!["evt_3", "evt_3", "evt_2", "evt_2"], vec!["evt_1", "evt_1"]]);
}

/// A list contains exactly the entries that match its filter.
pub async fn list_applies_filters(subject: &impl Subject<Store: Operations>) {
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
    let (listed, delivery) = (&row.event, row.delivery.as_ref().expect("entry is a delivery"));
    assert_eq!((&*listed.event_type, &*listed.object), ("customer.updated", "cus_1"));
    assert_eq!((&*listed.endpoint, listed.account.as_deref()), ("default", Some("acct_1")));
    assert_eq!(
        (&*delivery.handler, delivery.state, delivery.attempts),
        ("a", DeliveryState::Waiting, 0)
    );
}

/// An event is found by its object's identity without the account, whether the event names the
/// account or only its context does. The object of an event without an identity is empty.
pub async fn list_finds_objects_by_identity(subject: &impl Subject<Store: Operations>) {
    let upcoming = |id: &str| SyntheticEvent::new("invoice.upcoming").id(id);
    let no_object = |id: &str| SyntheticEvent::new("v1.invoice.upcoming").id(id);
    let events = [
        upcoming("evt_1").set("customer", "cus_1").set_text("parent", "null"),
        upcoming("evt_2").set("parent.subscription_details.subscription", "sub_1"),
        SyntheticEvent::new("v1.balance.available").id("evt_3").account("acct_1"),
        SyntheticEvent::new("balance.available").id("evt_4").account("acct_2"),
        no_object("evt_5"),
        no_object("evt_6").account("acct_1"),
    ];
    for event in events {
        store(subject, &[new(&event_of(event), &["a"])]).await;
    }
    let expected: [(&str, &[&str]); 4] = [
        ("invoice:cus_1", &["evt_1"]),
        ("invoice:sub_1", &["evt_2"]),
        ("balance", &["evt_4", "evt_3"]),
        ("sub_1", &[]),
    ];
    for (object, ids) in expected {
        let filter = ListFilter { object: Some(object.into()), ..ListFilter::default() };
        assert_eq!(listed(subject, filter).await, ids, "{object}");
    }
    for entry in list(subject, &ListFilter { limit: 2, ..ListFilter::default() }).await {
        assert_eq!(entry.event.object, "", "{}", entry.event.id);
    }
}

/// The details of an event contain the payload byte for byte, and each delivery with its times.
pub async fn show_returns_all_stored_data(subject: &impl Subject<Store: Operations>) {
    let first = event("evt_1");
    let other_endpoint =
        StoredEvent { endpoint: "connect".into(), ..StoredEvent::from_event(&first) };
    let other_endpoint = Event::from_store(other_endpoint).expect("event is valid");
    store(subject, &[new(&first, &["b", "a"]), new(&other_endpoint, &["a"])]).await;
    let lease = claim_one(subject, "b").await.lease;
    subject.pass(SECOND * 10).await;
    complete(subject, &lease, dead()).await;
    let shown = subject.store().show("evt_1").await.expect("store is available");
    let [connect, default] = &shown[..] else { panic!("expected two events: {shown:?}") };
    assert_eq!(
        (connect.stored.clone(), connect.deliveries.len()),
        (StoredEvent::from_event(&other_endpoint), 1)
    );
    assert_eq!(default.stored, StoredEvent::from_event(&first));
    assert_eq!((&*default.event.id, &*default.event.event_type), ("evt_1", "invoice.paid"));
    let [a, b] = &default.deliveries[..] else { panic!("expected two deliveries: {default:?}") };
    assert_eq!((&*a.handler, a.state, a.ended_at), ("a", DeliveryState::Waiting, None));
    assert_eq!(a.due, Some(default.event.stored_at));
    assert_eq!((&*b.handler, b.state, b.due), ("b", DeliveryState::Dead, None));
    assert_eq!((b.attempts, b.error.as_deref()), (1, Some("no such order")));
    let took = b.ended_at.and_then(|time| time.duration_since(default.event.stored_at).ok());
    let seconds = took.expect("delivery finished after it was stored").as_secs();
    assert!((10..15).contains(&seconds), "{seconds} s");
    let unknown = subject.store().show("evt_2").await.expect("store is available");
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// An event is shown by the ids with which it was received. A thin event and its snapshot event are
/// one event with two ids, and the store does not claim to have received the one that it lacks.
pub async fn event_is_shown_by_each_received_id(subject: &impl Subject<Store: Operations>) {
    let (snapshot, thin) = erase::twins("evt_1", "evt_thin");
    let (other, other_thin) = erase::twins("evt_2", "evt_other");
    store(subject, &[new(&thin, &["a"]), new(&other, &["a"])]).await;
    for (id, expected) in [("evt_thin", 1), ("evt_1", 0), ("evt_2", 1), ("evt_other", 0)] {
        let shown = subject.store().show(id).await.expect("store is available");
        assert_eq!(shown.len(), expected, "{id}: {shown:?}");
    }
    store(subject, &[new(&snapshot, &["a", "b"]), new(&other_thin, &["a", "b"])]).await;
    for (id, first) in [("evt_1", "evt_thin"), ("evt_other", "evt_2")] {
        let shown = subject.store().show(id).await.expect("store is available");
        let [event] = &shown[..] else { panic!("expected one event: {shown:?}") };
        assert_eq!(event.event.id, first);
    }
}

/// An event without any handler is in the list of unhandled events and not in that of deliveries,
/// until it is replayed for a handler.
pub async fn unhandled_event_is_listed_until_replayed(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &[]), new(&event("evt_2"), &["a"])]).await;
    store(subject, &[new(&event("evt_3"), &[])]).await;
    let unhandled = ListFilter { unhandled: true, ..ListFilter::default() };
    assert_eq!(listed(subject, unhandled.clone()).await, ["evt_3", "evt_1"]);
    assert_eq!(listed(subject, ListFilter::default()).await, ["evt_2"]);
    assert_eq!(read_status(subject).await.unhandled, 2);
    let number = event_number(subject, "evt_1").await;
    subject.store().replay(&[number], &["new".into()]).await.expect("store is available");
    assert_eq!(listed(subject, unhandled.clone()).await, ["evt_3"]);
    assert_eq!(read_status(subject).await.unhandled, 1);
    let of_type = |text: &str| ListFilter { event_type: Some(text.into()), ..unhandled.clone() };
    assert_eq!(listed(subject, of_type("invoice.*")).await, ["evt_3"]);
    assert_eq!(listed(subject, of_type("customer.*")).await, [""; 0]);
    subject.pass(Duration::from_secs(1)).await;
    assert_eq!(listed(subject, ListFilter::default()).await, ["evt_1", "evt_2"]);
}
