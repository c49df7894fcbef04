//! Promises about erasing.

use std::sync::Arc;

use router_core::{Event, event::StoredEvent, testing::SyntheticEvent};
use tokio::task::JoinSet;

use super::{
    super::{
        LEASE, assert_nothing_due, claim_one, complete, duplicate, event, event_of, new, retry_in,
        store,
    },
    dead, event_number, listed, read_status, store_completed,
};
use crate::{
    Store as _,
    conformance::Subject,
    operations::{
        Change, ChangeOutcome, EraseOutcome, EventDetails, EventSelector, ListFilter,
        MIN_RETENTION, ReplayResult,
    },
    store::{DeliveryOutcome, DeliveryState, Operations, Redelivery, Stored},
};

async fn erase(subject: &impl Subject<Store: Operations>, id: &str) -> EraseOutcome {
    let number = event_number(subject, id).await;
    let results = subject.store().erase(&[number]).await.expect("store is available");
    let [result] = &results[..] else { panic!("expected one result: {results:?}") };
    assert_eq!(result.event_id.as_deref(), Some(id));
    result.outcome
}

async fn erase_all(
    subject: &impl Subject<Store: Operations>,
    events: &[i64],
) -> Vec<(Option<String>, EraseOutcome)> {
    let results = subject.store().erase(events).await.expect("store is available");
    results.into_iter().map(|result| (result.event_id, result.outcome)).collect()
}

async fn show(subject: &impl Subject<Store: Operations>, id: &str) -> Vec<EventDetails> {
    subject.store().show(id).await.expect("store is available")
}

async fn replay(
    subject: &impl Subject<Store: Operations>,
    id: &str,
    handlers: &[&str],
) -> ReplayResult {
    let number = event_number(subject, id).await;
    let handlers: Vec<Arc<str>> = handlers.iter().map(|handler| Arc::from(*handler)).collect();
    let results = subject.store().replay(&[number], &handlers).await.expect("store is available");
    let [result] = &results[..] else { panic!("expected one result: {results:?}") };
    result.clone()
}

/// Returns a snapshot event and its thin event, which have these ids and one key.
pub(super) fn twins(id: &str, thin_id: &str) -> (Event, Event) {
    let snapshot = SyntheticEvent::new("customer.created").id(id).build().expect("event is valid");
    (snapshot.event().clone(), event_of(SyntheticEvent::twin_of(&snapshot).id(thin_id)))
}

/// An erased event has neither payloads nor errors, in any generation. Its key, its states, its
/// attempts and their times are as before.
pub async fn erased_event_has_no_payload_and_no_error(subject: &impl Subject<Store: Operations>) {
    let (snapshot, thin) = twins("evt_1", "evt_thin");
    store(subject, &[new(&snapshot, &["a", "b"])]).await;
    let retried = claim_one(subject, "a").await;
    complete(subject, &retried.lease, retry_in(0)).await;
    subject.pass(LEASE).await;
    complete(subject, &claim_one(subject, "a").await.lease, DeliveryOutcome::Done).await;
    // The other form is stored as a redelivered payload.
    store(subject, &[new(&thin, &["a", "b"])]).await;
    complete(subject, &claim_one(subject, "b").await.lease, DeliveryOutcome::Ignored).await;
    replay(subject, "evt_1", &["b"]).await;
    complete(subject, &claim_one(subject, "b").await.lease, dead()).await;
    let before = show(subject, "evt_1").await;
    assert!(before.iter().all(|event| !event.is_erased()), "{before:?}");
    assert_eq!(before[0].redelivered.len(), 1);

    assert_eq!(erase(subject, "evt_1").await, EraseOutcome::Erased);
    let after = show(subject, "evt_1").await;
    let mut expected = before;
    for EventDetails { stored, redelivered, deliveries, .. } in &mut expected {
        for stored in redelivered.iter_mut().chain([stored]) {
            stored.payload.clear();
        }
        for delivery in deliveries {
            delivery.error = None;
            delivery.history.iter_mut().for_each(|attempt| attempt.error = None);
            if delivery.state == DeliveryState::Dead {
                delivery.state = DeliveryState::Discarded;
            }
        }
    }
    // A dead letter becomes discarded at the time of the erasure.
    let comparable = |events: &[EventDetails]| {
        let mut events = events.to_vec();
        for delivery in events.iter_mut().flat_map(|event| &mut event.deliveries) {
            assert!(delivery.ended_at.is_some(), "{delivery:?}");
            delivery.ended_at.take_if(|_| delivery.state == DeliveryState::Discarded);
        }
        events
    };
    assert_eq!(comparable(&after), comparable(&expected));
    assert!(after.iter().all(EventDetails::is_erased), "{after:?}");
    assert_eq!(show(subject, "evt_thin").await, after, "the event is still found by each id");
    let deliveries = subject.store().deliveries("evt_1").await.expect("store is available");
    assert_eq!(deliveries.len(), 3, "{deliveries:?}");
    assert!(deliveries.iter().all(|delivery| delivery.error.is_none()), "{deliveries:?}");
    let with_error = ListFilter { error: Some(String::new()), ..ListFilter::default() };
    assert_eq!(listed(subject, with_error).await, [""; 0]);
    let status = read_status(subject).await;
    assert_eq!((status.events, status.finished), (2, 3));
    assert_eq!(erase(subject, "evt_1").await, EraseOutcome::AlreadyErased);
}

/// An event with a delivery that is waiting or running, also under an expired lease, is left as it
/// is. Events that are not stored are reported. An unhandled event is erased.
pub async fn unfinished_event_is_not_erased(subject: &impl Subject<Store: Operations>) {
    use EraseOutcome::{AlreadyErased, Erased, NotFound, Unfinished};
    let waits = event("evt_waits");
    store(subject, &[new(&waits, &["a"])]).await;
    assert_eq!(erase(subject, "evt_waits").await, EraseOutcome::Unfinished);
    let claim = claim_one(subject, "a").await;
    assert_eq!(erase(subject, "evt_waits").await, EraseOutcome::Unfinished);
    subject.pass(LEASE * 2).await;
    assert_eq!(erase(subject, "evt_waits").await, EraseOutcome::Unfinished);
    let shown = show(subject, "evt_waits").await;
    assert_eq!(shown[0].stored, StoredEvent::from_event(&waits));
    complete(subject, &claim.lease, DeliveryOutcome::Done).await;
    // A later generation is waiting.
    replay(subject, "evt_waits", &[]).await;
    assert_eq!(erase(subject, "evt_waits").await, EraseOutcome::Unfinished);
    assert!(!show(subject, "evt_waits").await[0].is_erased());
    subject.store().discard("evt_waits", None).await.expect("store is available");

    store(subject, &[new(&event("evt_unhandled"), &[])]).await;
    store_completed(subject, "evt_done", "a", DeliveryOutcome::Done).await;
    let (waits, unhandled) =
        (event_number(subject, "evt_waits").await, event_number(subject, "evt_unhandled").await);
    let done = event_number(subject, "evt_done").await;
    store(subject, &[new(&event("evt_open"), &["a"])]).await;
    let open = event_number(subject, "evt_open").await;
    let events = [waits, i64::MAX, unhandled, open, done, 0, -1];
    let ids = ["evt_waits", "", "evt_unhandled", "evt_open", "evt_done", "", ""];
    let ids = ids.map(|id| (!id.is_empty()).then(|| id.to_owned()));
    let (erased, outcomes): (Vec<_>, Vec<_>) =
        erase_all(subject, &events).await.into_iter().unzip();
    assert_eq!(erased, ids);
    assert_eq!(outcomes, [Erased, NotFound, Erased, Unfinished, Erased, NotFound, NotFound]);
    let (erased, outcomes): (Vec<_>, Vec<_>) =
        erase_all(subject, &events).await.into_iter().unzip();
    assert_eq!(erased, ids, "an erased event still has its id");
    let again = [AlreadyErased, NotFound, AlreadyErased, Unfinished, AlreadyErased];
    assert_eq!(outcomes[..5], again);
    assert_eq!(erase_all(subject, &[]).await, []);
    let unhandled = ListFilter { unhandled: true, ..ListFilter::default() };
    assert_eq!(listed(subject, unhandled).await, ["evt_unhandled"]);
    // The events are stored, and the one that was left is delivered.
    let claim = claim_one(subject, "a").await;
    assert_eq!(claim.event.expect("stored event is readable").id(), "evt_open");
}

/// An erased event is neither retried nor replayed: its handlers would have nothing to handle.
pub async fn erased_event_cannot_be_retried_or_replayed(subject: &impl Subject<Store: Operations>) {
    store_completed(subject, "evt_dead", "a", dead()).await;
    let filter = ListFilter { limit: 9, ..ListFilter::of_event("evt_dead", None) };
    let selected = subject.store().select_deliveries(&filter).await.expect("store is available");
    assert_eq!(erase(subject, "evt_dead").await, EraseOutcome::Erased);
    for selection in
        [selected, subject.store().select_deliveries(&filter).await.expect("store is available")]
    {
        let retried = subject.store().change(&selection, Change::Retry).await;
        assert_eq!(retried.expect("store is available"), [ChangeOutcome::Erased]);
        let discarded = subject.store().change(&selection, Change::Discard).await;
        assert_eq!(discarded.expect("store is available"), [ChangeOutcome::AlreadyFinished]);
    }
    let erased = ReplayResult::Erased { event_id: "evt_dead".into() };
    assert_eq!(replay(subject, "evt_dead", &[]).await, erased);
    assert_eq!(replay(subject, "evt_dead", &["b"]).await, erased);
    assert_nothing_due(subject, "a").await;
    assert_nothing_due(subject, "b").await;
    assert_eq!(show(subject, "evt_dead").await.len(), 1);
}

/// A redelivery of an erased event is a duplicate, for each handler and in each form, and brings no
/// payload back. After the retention the event is purged like any other.
pub async fn redelivery_brings_no_erased_payload_back(subject: &impl Subject<Store: Operations>) {
    let (snapshot, thin) = twins("evt_1", "evt_thin");
    store(subject, &[new(&snapshot, &["a"])]).await;
    complete(subject, &claim_one(subject, "a").await.lease, dead()).await;
    store(subject, &[new(&event("evt_unhandled"), &[])]).await;
    assert_eq!(erase(subject, "evt_1").await, EraseOutcome::Erased);
    assert_eq!(erase(subject, "evt_unhandled").await, EraseOutcome::Erased);
    let before = show(subject, "evt_1").await;
    store_completed(subject, "evt_dead", "dead", dead()).await;
    let discarded = Redelivery::Unchanged(DeliveryState::Discarded);
    let again = [
        new(&snapshot, &["a", "new"]),
        new(&thin, &["new", "a"]),
        new(&snapshot, &["a"]),
        new(&event("evt_unhandled"), &["new"]),
        // With this event, the call has a change to write.
        new(&event("evt_dead"), &["dead"]),
    ];
    let expected = [
        Stored::Redelivered(vec![discarded, Redelivery::Erased]),
        Stored::Redelivered(vec![Redelivery::Erased, discarded]),
        duplicate(&[DeliveryState::Discarded]),
        Stored::Redelivered(vec![Redelivery::Erased]),
        Stored::Redelivered(vec![Redelivery::Restarted]),
    ];
    assert_eq!(store(subject, &again).await, expected);
    assert!(expected[..4].iter().all(Stored::is_duplicate));
    assert_nothing_due(subject, "a").await;
    assert_nothing_due(subject, "new").await;
    assert_eq!(show(subject, "evt_1").await, before);
    subject.pass(MIN_RETENTION * 2).await;
    let old = EventSelector { min_age: Some(MIN_RETENTION), ..EventSelector::default() };
    let old = subject.store().select(&old).await.expect("store is available");
    assert_eq!(subject.store().purge(&old, MIN_RETENTION).await.expect("store is available"), 2);
    assert_eq!(store(subject, &[new(&snapshot, &["a"])]).await, [Stored::New]);
}

/// Events are selected by their object, and by a text in a payload: the whole JSON string in the
/// event as received or as redelivered, and no pattern.
pub async fn select_finds_events_about_and_mentioning_an_object(
    subject: &impl Subject<Store: Operations>,
) {
    let customer = |id: &str, customer: &str| {
        event_of(SyntheticEvent::new("customer.updated").id(id).set("id", customer))
    };
    let invoice = |id: &str, customer: &str| {
        event_of(SyntheticEvent::new("invoice.paid").id(id).set("customer", customer))
    };
    let events = [
        customer("evt_1", "cus_1"),
        customer("evt_12", "cus_12"),
        invoice("evt_invoice", "cus_1"),
        invoice("evt_other", "xcus_1"),
        invoice("evt_pattern", "cus_%"),
    ];
    store(subject, &events.map(|event| new(&event, &["a"]))).await;
    let select = async |selector: EventSelector| {
        subject.store().select(&selector).await.expect("store is available")
    };
    let mut numbers = Vec::new();
    for id in ["evt_1", "evt_12", "evt_invoice", "evt_other", "evt_pattern"] {
        numbers.push(event_number(subject, id).await);
    }
    let about = |object: &str| EventSelector { object: Some(object.into()), ..Default::default() };
    let mentions = |text: &str| EventSelector { mentions: Some(text.into()), ..Default::default() };
    assert_eq!(select(about("cus_1")).await, [numbers[0]]);
    assert_eq!(select(about("cus_")).await, [0; 0]);
    assert_eq!(select(mentions("cus_1")).await, [numbers[0], numbers[2]]);
    assert_eq!(select(mentions("cus_%")).await, [numbers[4]]);
    let both = EventSelector { event_type: Some("invoice.*".into()), ..mentions("cus_1") };
    assert_eq!(select(both).await, [numbers[2]]);
    let of_id = EventSelector { event_id: Some("evt_12".into()), ..mentions("cus_1") };
    assert_eq!(select(of_id).await, [0; 0]);
    let of_id = EventSelector { event_id: Some("evt_12".into()), ..about("cus_12") };
    assert_eq!(select(of_id).await, [numbers[1]]);
    // The redelivered payload mentions another customer.
    let redelivered = SyntheticEvent::new("invoice.paid").id("evt_other").set("customer", "cus_9");
    let redelivered = event_of(redelivered.api_version("2025-01-27.acacia"));
    store(subject, &[new(&redelivered, &["b"])]).await;
    assert_eq!(select(mentions("cus_9")).await, [numbers[3]]);
    assert_eq!(erase(subject, "evt_other").await, EraseOutcome::Unfinished);
    subject.store().discard("evt_other", None).await.expect("store is available");
    assert_eq!(erase(subject, "evt_other").await, EraseOutcome::Erased);
    assert_eq!(select(mentions("cus_9")).await, [0; 0]);
    assert_eq!(select(mentions("xcus_1")).await, [0; 0]);
}

/// Concurrent erasures, replays, redeliveries and retries of one event leave it either erased, with
/// no payload in any generation, or with a delivery that prevented the erasure.
pub async fn concurrent_replay_does_not_bring_erased_payload_back(
    subject: &impl Subject<Store: Operations>,
) {
    for round in 0..10 {
        let id = format!("evt_{round}");
        store_completed(subject, &id, "a", dead()).await;
        let number = event_number(subject, &id).await;
        let mut calls = JoinSet::new();
        let store_of = async || Arc::new(subject.reopen().await);
        for call in 0..4 {
            let (store, id) = (store_of().await, id.clone());
            calls.spawn(async move {
                match call {
                    0 => drop(store.erase(&[number]).await.expect("store is available")),
                    1 => drop(store.replay(&[number], &[]).await.expect("store is available")),
                    2 => drop(store.retry(&id, None).await.expect("store is available")),
                    _ => {
                        let again = new(&event(&id), &["a", "b"]);
                        drop(store.store(&[again]).await.expect("store is available"));
                    }
                }
            });
        }
        while let Some(call) = calls.join_next().await {
            call.expect("call does not panic");
        }
        let events = show(subject, &id).await;
        let is_erased = events[0].is_erased();
        assert!(events.iter().all(|event| event.is_erased() == is_erased), "{events:?}");
        let is_open = |state| matches!(state, DeliveryState::Waiting | DeliveryState::Running);
        let mut deliveries = events.iter().flat_map(|event| &event.deliveries);
        if is_erased {
            assert!(deliveries.all(|delivery| !is_open(delivery.state)), "{events:?}");
            assert!(
                events
                    .iter()
                    .flat_map(|event| &event.redelivered)
                    .all(|event| event.payload.is_empty()),
                "{events:?}"
            );
        } else {
            subject.store().discard(&id, None).await.expect("store is available");
            assert_eq!(erase(subject, &id).await, EraseOutcome::Erased);
        }
    }
}
