//! Promises about deliveries that are selected by a filter and then changed.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{
    super::{
        LEASE, claim, claim_one, complete, event, limits::LARGE_BATCH, new, processes::reopen,
        retry_in, state, store,
    },
    dead, event_number, listed, read_status, store_completed,
};
use crate::{
    Store as _,
    conformance::Subject,
    operations::{Change, ChangeOutcome, ListFilter, MIN_RETENTION, SelectedDelivery},
    store::{DeliveryOutcome, DeliveryState, Operations},
};

async fn select(
    subject: &impl Subject<Store: Operations>,
    filter: ListFilter,
) -> Vec<SelectedDelivery> {
    let filter = ListFilter { limit: usize::MAX, ..filter };
    subject.store().select_deliveries(&filter).await.expect("store is available")
}

async fn change(
    subject: &impl Subject<Store: Operations>,
    deliveries: &[SelectedDelivery],
    change: Change,
) -> Vec<ChangeOutcome> {
    subject.store().change(deliveries, change).await.expect("store is available")
}

fn in_state(state: DeliveryState) -> ListFilter {
    ListFilter { states: vec![state], ..ListFilter::default() }
}

fn died_of(error: &str) -> DeliveryOutcome {
    DeliveryOutcome::Dead { error: error.into() }
}

/// Deliveries are found by a part of their error, by the age of their event, by the time since they
/// finished, and by the event's id. The text of an error is not a pattern, and its case matters.
pub async fn filters_by_error_age_and_id_apply(subject: &impl Subject<Store: Operations>) {
    store_completed(subject, "evt_1", "a", died_of("card_declined: 100%_\\ of 'it'\0!")).await;
    subject.pass(LEASE * 10).await;
    store_completed(subject, "evt_2", "a", died_of("Card declined")).await;
    store(subject, &[new(&event("evt_3"), &["a", "b"])]).await;
    let with_error = |text: &str| ListFilter { error: Some(text.into()), ..ListFilter::default() };
    let younger = |age| ListFilter { max_age: Some(age), ..ListFilter::default() };
    let ended = |age| ListFilter { min_ended_age: Some(age), ..ListFilter::default() };
    let expected: [(ListFilter, &[&str]); 14] = [
        (with_error("card"), &["evt_1"]),
        (with_error("declined"), &["evt_2", "evt_1"]),
        (with_error("100%_\\ of 'it'"), &["evt_1"]),
        (with_error("'it'\0!"), &["evt_1"]),
        (with_error("d%d"), &[]),
        (with_error("card.declined"), &[]),
        (with_error(""), &["evt_2", "evt_1"]),
        (younger(LEASE * 5), &["evt_3", "evt_3", "evt_2"]),
        (younger(LEASE * 20), &["evt_3", "evt_3", "evt_2", "evt_1"]),
        (ended(LEASE * 5), &["evt_1"]),
        (ended(Duration::ZERO), &["evt_2", "evt_1"]),
        (ended(LEASE * 20), &[]),
        (ListFilter::of_event("evt_3", None), &["evt_3", "evt_3"]),
        (ListFilter::of_event("evt_3", Some("b")), &["evt_3"]),
    ];
    for (filter, ids) in expected {
        let mut selected = select(subject, filter.clone()).await;
        selected.reverse();
        let selected: Vec<_> = selected.iter().map(|delivery| &*delivery.event_id).collect();
        assert_eq!(selected, ids, "{filter:?}");
        assert_eq!(listed(subject, filter.clone()).await, ids, "{filter:?}");
    }
    store(subject, &[new(&event("evt_4"), &[])]).await;
    let unhandled = ListFilter { unhandled: true, ..younger(LEASE * 5) };
    assert_eq!(listed(subject, unhandled.clone()).await, ["evt_4"]);
    assert_eq!(select(subject, unhandled.clone()).await, []);
    let of_other = ListFilter { event_id: Some("evt_3".into()), ..unhandled.clone() };
    assert_eq!(listed(subject, of_other).await, [""; 0]);
    subject.pass(LEASE * 10).await;
    assert_eq!(listed(subject, unhandled).await, [""; 0]);
}

/// Selected deliveries are changed in one call, also those of different events and handlers. A
/// repeated call changes nothing.
pub async fn selected_deliveries_are_changed(subject: &impl Subject<Store: Operations>) {
    for (id, handler) in [("evt_1", "a"), ("evt_2", "b"), ("evt_3", "a")] {
        store_completed(subject, id, handler, dead()).await;
    }
    store_completed(subject, "evt_4", "a", retry_in(600)).await;
    let selected = select(subject, in_state(DeliveryState::Dead)).await;
    let ids: Vec<_> = selected.iter().map(|delivery| &*delivery.event_id).collect();
    assert_eq!(ids, ["evt_1", "evt_2", "evt_3"], "oldest first");
    let [first, ..] = &selected[..] else { panic!("expected deliveries") };
    assert_eq!((first.attempts, first.token, first.state), (1, 1, DeliveryState::Dead));
    let rest = change(subject, &selected[1..], Change::Retry).await;
    assert_eq!(rest, [ChangeOutcome::Applied; 2]);
    assert_eq!(state(subject, "evt_1").await, (DeliveryState::Dead, 1));
    assert_eq!(state(subject, "evt_3").await, (DeliveryState::Waiting, 0));
    let all = change(subject, &selected, Change::Discard).await;
    assert_eq!(
        all,
        [ChangeOutcome::Applied, ChangeOutcome::ChangedMeanwhile, ChangeOutcome::ChangedMeanwhile]
    );
    assert_eq!(claim(subject, &["a", "b"], 9).await.len(), 2);
    assert_eq!(listed(subject, in_state(DeliveryState::Waiting)).await, ["evt_4"]);
    let again = change(subject, &selected, Change::Discard).await;
    let running = ChangeOutcome::StillRunning;
    assert_eq!(again, [ChangeOutcome::AlreadyFinished, running, running]);
    assert_eq!(change(subject, &[], Change::Retry).await, []);
}

/// A delivery that has been claimed or changed since it was selected is left, even if it is in the
/// same state again: it may no longer match what the operator has chosen. So is one that has been
/// purged since.
pub async fn delivery_changed_since_selected_is_left(subject: &impl Subject<Store: Operations>) {
    for id in ["evt_died_again", "evt_done", "evt_waits", "evt_purged"] {
        store_completed(subject, id, "a", dead()).await;
    }
    let selected = select(subject, in_state(DeliveryState::Dead)).await;
    for (id, outcome) in [
        ("evt_died_again", Some(dead())),
        ("evt_done", Some(DeliveryOutcome::Done)),
        ("evt_waits", None),
    ] {
        subject.store().retry(id, None).await.expect("store is available");
        if let Some(outcome) = outcome {
            let lease = claim_one(subject, "a").await.lease;
            complete(subject, &lease, outcome).await;
        }
    }
    subject.store().discard("evt_purged", None).await.expect("store is available");
    subject.pass(MIN_RETENTION * 2).await;
    let number = event_number(subject, "evt_purged").await;
    let purged = subject.store().purge(&[number], MIN_RETENTION).await;
    assert_eq!(purged.expect("store is available"), 1);
    for change_of_all in [Change::Discard, Change::Retry] {
        let changed = change(subject, &selected, change_of_all).await;
        let expected = [
            ChangeOutcome::ChangedMeanwhile,
            ChangeOutcome::AlreadyFinished,
            ChangeOutcome::ChangedMeanwhile,
            ChangeOutcome::NotFound,
        ];
        assert_eq!(changed, expected, "{change_of_all:?}");
    }
    assert_eq!(state(subject, "evt_waits").await.0, DeliveryState::Waiting);
    assert_eq!(state(subject, "evt_died_again").await, (DeliveryState::Dead, 1));
    // A delivery that was waiting has been tried again since.
    store_completed(subject, "evt_tried", "b", retry_in(0)).await;
    let tried = select(subject, ListFilter::of_event("evt_tried", None)).await;
    let lease = claim_one(subject, "b").await.lease;
    complete(subject, &lease, retry_in(600)).await;
    assert_eq!(change(subject, &tried, Change::Discard).await, [ChangeOutcome::ChangedMeanwhile]);
}

/// A dead letter of an event that has been replayed for the same handler can be discarded, but not
/// retried: the handler would run twice for one event at the same time.
pub async fn superseded_delivery_is_not_retried(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    let lease = claim_one(subject, "a").await.lease;
    let number = event_number(subject, "evt_1").await;
    subject.store().replay(&[number], &[]).await.expect("store is available");
    complete(subject, &lease, dead()).await;
    let dead = select(subject, in_state(DeliveryState::Dead)).await;
    assert_eq!(change(subject, &dead, Change::Retry).await, [ChangeOutcome::Superseded]);
    assert_eq!(change(subject, &dead, Change::Discard).await, [ChangeOutcome::Applied]);
    let discarded = select(subject, in_state(DeliveryState::Discarded)).await;
    assert_eq!(change(subject, &discarded, Change::Retry).await, [ChangeOutcome::Superseded]);
    let replay = select(subject, in_state(DeliveryState::Waiting)).await;
    assert_eq!(replay.iter().map(|delivery| delivery.generation).collect::<Vec<_>>(), [1]);
    assert_eq!(change(subject, &replay, Change::Retry).await, [ChangeOutcome::Applied]);
}

/// A batch of any size is selected and changed.
pub async fn large_selection_is_changed(subject: &impl Subject<Store: Operations>) {
    let events: Vec<_> =
        (0..LARGE_BATCH).map(|number| new(&event(&format!("evt_{number}")), &["a"])).collect();
    store(subject, &events).await;
    let selected = select(subject, in_state(DeliveryState::Waiting)).await;
    assert_eq!(selected.len(), LARGE_BATCH);
    let changed = change(subject, &selected, Change::Discard).await;
    assert_eq!(changed, [ChangeOutcome::Applied; LARGE_BATCH]);
    let status = read_status(subject).await;
    let counts = (status.finished, status.handlers[0].waiting.number);
    assert_eq!(counts, (LARGE_BATCH as u64, 0), "{status:?}");
}

/// Of several operators that retry or discard the same selection, exactly one changes each
/// delivery.
pub async fn concurrent_changes_apply_once(subject: &impl Subject<Store: Operations>) {
    const EVENTS: usize = 60;
    let events: Vec<_> =
        (0..EVENTS).map(|number| new(&event(&format!("evt_{number}")), &["a"])).collect();
    store(subject, &events).await;
    let mut died = 0;
    while died < EVENTS {
        let claims = claim(subject, &["a"], EVENTS).await;
        let outcomes: Vec<_> = claims.into_iter().map(|claim| (claim.lease, dead())).collect();
        subject.store().complete(&outcomes).await.expect("store is available");
        died += outcomes.len();
    }
    let selected = select(subject, in_state(DeliveryState::Dead)).await;
    let mut operators = JoinSet::new();
    for (number, store) in reopen(subject, 4).await.into_iter().enumerate() {
        let mut selected = selected.clone();
        selected.rotate_left(number * 7);
        let change = if number % 2 == 0 { Change::Retry } else { Change::Discard };
        operators.spawn(async move {
            let mut applied = 0;
            for batch in selected.chunks(9) {
                let outcomes = store.change(batch, change).await.expect("store is available");
                let is_applied = |outcome: &&ChangeOutcome| **outcome == ChangeOutcome::Applied;
                applied += outcomes.iter().filter(is_applied).count();
            }
            applied
        });
    }
    let applied: usize = operators.join_all().await.into_iter().sum();
    assert_eq!(applied, EVENTS);
    let status = read_status(subject).await;
    assert_eq!(status.handlers[0].dead.number, 0, "{status:?}");
}
