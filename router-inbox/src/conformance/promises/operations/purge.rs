//! Promises about purging.

use std::time::Duration;

use super::{
    super::{
        SECOND, assert_nothing_due, claim_one, complete, duplicate, event, new, retry_in, store,
    },
    dead, event_number, read_status, store_completed,
};
use crate::{
    Store as _,
    conformance::Subject,
    operations::{EventSelector, MIN_RETENTION},
    store::{DeliveryOutcome, DeliveryState, Operations, StoreErrorKind, Stored},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn purge(subject: &impl Subject<Store: Operations>, older_than: Duration) -> u64 {
    let old = EventSelector { min_age: Some(older_than), ..EventSelector::default() };
    let old = subject.store().select(&old).await.expect("store is available");
    subject.store().purge(&old, older_than).await.expect("store is available")
}

/// A purge deletes events that are done, ignored, discarded or unhandled for long enough. It keeps
/// events that were stored or finished more recently.
pub async fn purge_deletes_long_finished_events(subject: &impl Subject<Store: Operations>) {
    store_completed(subject, "evt_done", "a", DeliveryOutcome::Done).await;
    store_completed(subject, "evt_ignored", "a", DeliveryOutcome::Ignored).await;
    store_completed(subject, "evt_discarded", "a", dead()).await;
    subject.store().discard("evt_discarded", None).await.expect("store is available");
    store(subject, &[new(&event("evt_unhandled"), &[])]).await;
    store(subject, &[new(&event("evt_late"), &["late"])]).await;
    subject.pass(DAY * 5).await;
    let lease = claim_one(subject, "late").await.lease;
    complete(subject, &lease, DeliveryOutcome::Done).await;
    store_completed(subject, "evt_since", "a", DeliveryOutcome::Done).await;
    subject.pass(DAY * 2).await;
    assert_eq!(purge(subject, DAY * 10).await, 0);
    assert_eq!(purge(subject, DAY * 5).await, 4);
    let status = read_status(subject).await;
    assert_eq!((status.events, status.finished, status.unhandled), (2, 2, 0));
    for (id, is_kept) in [("evt_done", false), ("evt_late", true), ("evt_since", true)] {
        let shown = subject.store().show(id).await.expect("store is available");
        assert_eq!(shown.len(), usize::from(is_kept), "{id}");
    }
    subject.pass(DAY * 5).await;
    assert_eq!(purge(subject, DAY * 5).await, 2);
    assert_eq!(purge(subject, DAY * 5).await, 0);
    let status = read_status(subject).await;
    assert_eq!((status.events, status.finished), (0, 0));
    assert_eq!(status.handlers.len(), 2, "handler names are still known");
    // A purged event is no longer recognized as a duplicate, and its history is deleted too.
    for id in ["evt_done", "evt_discarded"] {
        assert_eq!(store(subject, &[new(&event(id), &["a"])]).await, [Stored::New]);
        let shown = subject.store().show(id).await.expect("store is available");
        assert_eq!(shown[0].deliveries[0].history, []);
    }
}

/// An event with a dead letter or an unfinished delivery is never purged, however old it is. Its
/// finished deliveries are kept too.
pub async fn purge_keeps_dead_letters_and_open_deliveries(
    subject: &impl Subject<Store: Operations>,
) {
    for (id, outcome) in [("evt_dead", dead()), ("evt_waits", retry_in(600))] {
        store(subject, &[new(&event(id), &["a", "b"])]).await;
        let (first, second) = (claim_one(subject, "a").await, claim_one(subject, "b").await);
        complete(subject, &first.lease, outcome).await;
        complete(subject, &second.lease, DeliveryOutcome::Done).await;
    }
    store_completed(subject, "evt_retried", "c", dead()).await;
    store(subject, &[new(&event("evt_runs"), &["d"])]).await;
    claim_one(subject, "d").await;
    subject.pass(DAY * 100).await;
    subject.store().retry("evt_retried", None).await.expect("store is available");
    assert_eq!(purge(subject, DAY * 5).await, 0);
    let status = read_status(subject).await;
    assert_eq!((status.events, status.finished), (4, 2));
    let deliveries = subject.store().deliveries("evt_dead").await.expect("store is available");
    let states: Vec<_> = deliveries.iter().map(|delivery| delivery.state).collect();
    assert_eq!(states, [DeliveryState::Dead, DeliveryState::Done]);
    assert_eq!(claim_one(subject, "c").await.attempt, 1);
}

/// An event is purged with all of its generations or not at all. If a later generation were purged
/// alone, the next replay would get its number and be mistaken for it.
pub async fn purge_deletes_all_generations_together(subject: &impl Subject<Store: Operations>) {
    for (first, replay) in [(dead(), DeliveryOutcome::Done), (DeliveryOutcome::Done, dead())] {
        let id = format!("evt_{replay:?}").replace(|c: char| !c.is_alphanumeric(), "_");
        store_completed(subject, &id, "a", first).await;
        let number = event_number(subject, &id).await;
        // For another handler, so that the replay does not supersede the dead letter.
        subject.store().replay(&[number], &["b".into()]).await.expect("store is available");
        let lease = claim_one(subject, "b").await.lease;
        complete(subject, &lease, replay).await;
        subject.pass(DAY * 5).await;
        assert_eq!(purge(subject, DAY * 4).await, 0, "{id}");
        subject.store().discard(&id, None).await.expect("store is available");
        subject.pass(DAY * 5).await;
        assert_eq!(purge(subject, DAY * 4).await, 1, "{id}");
        assert_eq!(subject.store().show(&id).await.expect("store is available"), []);
    }
    assert_nothing_due(subject, "b").await;
}

/// No event younger than four days is purged, because Stripe resends an event for up to three days.
pub async fn purge_enforces_min_retention(subject: &impl Subject<Store: Operations>) {
    store_completed(subject, "evt_1", "a", DeliveryOutcome::Done).await;
    store(subject, &[new(&event("evt_none"), &[])]).await;
    let number = event_number(subject, "evt_1").await;
    let unhandled = event_number(subject, "evt_none").await;
    subject.pass(DAY * 3 + SECOND).await;
    for older_than in [Duration::ZERO, DAY, MIN_RETENTION - SECOND] {
        let refused = subject
            .store()
            .purge(&[number], older_than)
            .await
            .expect_err("less than the minimum retention");
        assert!(refused.to_string().contains("4 days"), "{refused:?}");
        assert_eq!(refused.kind(), StoreErrorKind::Rejected);
    }
    assert_eq!(purge(subject, MIN_RETENTION).await, 0);
    // The age is also checked for events that `select` has not returned.
    let purged = subject.store().purge(&[number, unhandled, number + 1_000], MIN_RETENTION).await;
    assert_eq!(purged.expect("store is available"), 0);
    assert_eq!(
        store(subject, &[new(&event("evt_1"), &["a"])]).await,
        [duplicate(&[DeliveryState::Done])]
    );
    subject.pass(DAY).await;
    assert_eq!(purge(subject, MIN_RETENTION).await, 2);
}

/// The store returns its [`Operations`] through [`Store`](crate::Store). Workers need them to purge
/// old events.
pub async fn store_exposes_operations_to_workers(subject: &impl Subject<Store: Operations>) {
    store_completed(subject, "evt_1", "a", DeliveryOutcome::Done).await;
    subject.pass(DAY * 31).await;
    let number = event_number(subject, "evt_1").await;
    let operations = subject.store().operations().expect("store exposes its operations");
    assert_eq!(operations.purge(&[number], DAY * 30).await.expect("store is available"), 1);
}
