//! What is deleted, and what is not.

use std::time::Duration;

use super::{
    super::{A_MOMENT, claim_one, claims_nothing, complete, event, new, retry_in, store},
    dead, ended, number, status,
};
use crate::{
    DeliveryOutcome, DeliveryState, Operations, Store as _, Stored,
    conformance::Subject,
    operations::{EventSelector, MIN_RETENTION},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn purge(subject: &impl Subject<Store: Operations>, older_than: Duration) -> u64 {
    let old = EventSelector { until: Some(older_than), ..EventSelector::default() };
    let old = subject.store().select(&old).await.expect("the store is there");
    subject.store().purge(&old, older_than).await.expect("the store is there")
}

/// Done, ignored, discarded or unhandled. What came since then is kept, and what ended since then.
pub async fn what_has_ended_long_ago_is_purged(subject: &impl Subject<Store: Operations>) {
    ended(subject, "evt_done", "a", DeliveryOutcome::Done).await;
    ended(subject, "evt_ignored", "a", DeliveryOutcome::Ignored).await;
    ended(subject, "evt_discarded", "a", dead()).await;
    subject.store().discard("evt_discarded", None).await.expect("the store is there");
    store(subject, &[new(&event("evt_unhandled"), &[])]).await;
    store(subject, &[new(&event("evt_late"), &["late"])]).await;
    subject.pass(DAY * 5).await;
    let lease = claim_one(subject, "late").await.lease;
    complete(subject, &lease, DeliveryOutcome::Done).await;
    ended(subject, "evt_since", "a", DeliveryOutcome::Done).await;
    subject.pass(DAY * 2).await;
    assert_eq!(purge(subject, DAY * 10).await, 0);
    assert_eq!(purge(subject, DAY * 5).await, 4);
    let told = status(subject).await;
    assert_eq!((told.events, told.finished, told.unhandled), (2, 2, 0));
    for (id, is_kept) in [("evt_done", false), ("evt_late", true), ("evt_since", true)] {
        let shown = subject.store().show(id).await.expect("the store is there");
        assert_eq!(shown.len(), usize::from(is_kept), "{id}");
    }
    subject.pass(DAY * 5).await;
    assert_eq!(purge(subject, DAY * 5).await, 2);
    assert_eq!(purge(subject, DAY * 5).await, 0);
    let told = status(subject).await;
    assert_eq!((told.events, told.finished), (0, 0));
    assert_eq!(told.handlers.len(), 2, "their names are still known");
    // What is gone is not known any more.
    assert_eq!(store(subject, &[new(&event("evt_done"), &["a"])]).await, [Stored::New]);
}

/// However old they are, with all that belongs to them.
pub async fn dead_letters_and_what_is_open_are_never_purged(
    subject: &impl Subject<Store: Operations>,
) {
    for (id, end) in [("evt_dead", dead()), ("evt_waits", retry_in(600))] {
        store(subject, &[new(&event(id), &["a", "b"])]).await;
        let (one, other) = (claim_one(subject, "a").await, claim_one(subject, "b").await);
        complete(subject, &one.lease, end).await;
        complete(subject, &other.lease, DeliveryOutcome::Done).await;
    }
    ended(subject, "evt_retried", "c", dead()).await;
    store(subject, &[new(&event("evt_runs"), &["d"])]).await;
    claim_one(subject, "d").await;
    subject.pass(DAY * 100).await;
    subject.store().retry("evt_retried", None).await.expect("the store is there");
    assert_eq!(purge(subject, DAY * 5).await, 0);
    let told = status(subject).await;
    assert_eq!((told.events, told.finished), (4, 2));
    let kept = subject.store().deliveries("evt_dead").await.expect("the store is there");
    let states: Vec<_> = kept.iter().map(|one| one.state).collect();
    assert_eq!(states, [DeliveryState::Dead, DeliveryState::Done]);
    assert_eq!(claim_one(subject, "c").await.attempt, 1);
}

/// A replay would otherwise get the number of one that was before it, and be taken for that.
pub async fn an_event_is_purged_with_all_of_its_replays(subject: &impl Subject<Store: Operations>) {
    for (first, replay) in [(dead(), DeliveryOutcome::Done), (DeliveryOutcome::Done, dead())] {
        let id = format!("evt_{replay:?}").replace(|c: char| !c.is_alphanumeric(), "_");
        ended(subject, &id, "a", first).await;
        let number = number(subject, &id).await;
        // For another handler, so that it does not stand for the dead letter.
        subject.store().replay(&[number], &["b".into()]).await.expect("the store is there");
        let lease = claim_one(subject, "b").await.lease;
        complete(subject, &lease, replay).await;
        subject.pass(DAY * 5).await;
        assert_eq!(purge(subject, DAY * 4).await, 0, "{id}");
        subject.store().discard(&id, None).await.expect("the store is there");
        subject.pass(DAY * 5).await;
        assert_eq!(purge(subject, DAY * 4).await, 1, "{id}");
        assert_eq!(subject.store().show(&id).await.expect("the store is there"), []);
    }
    claims_nothing(subject, "b").await;
}

/// Stripe may send it again, which it does for three days.
pub async fn nothing_is_purged_before_it_is_four_days_old(
    subject: &impl Subject<Store: Operations>,
) {
    ended(subject, "evt_1", "a", DeliveryOutcome::Done).await;
    store(subject, &[new(&event("evt_none"), &[])]).await;
    let (number, none) = (number(subject, "evt_1").await, number(subject, "evt_none").await);
    subject.pass(DAY * 3 + A_MOMENT).await;
    for older_than in [Duration::ZERO, DAY, MIN_RETENTION - A_MOMENT] {
        let refused = subject.store().purge(&[number], older_than).await.expect_err("too soon");
        assert!(refused.0.to_string().contains("4 days"), "{refused:?}");
    }
    assert_eq!(purge(subject, MIN_RETENTION).await, 0);
    // Whoever names it by its number is not believed either.
    let told = subject.store().purge(&[number, none, number + 1_000], MIN_RETENTION).await;
    assert_eq!(told.expect("the store is there"), 0);
    assert_eq!(store(subject, &[new(&event("evt_1"), &["a"])]).await, [Stored::Duplicate]);
    subject.pass(DAY).await;
    assert_eq!(purge(subject, MIN_RETENTION).await, 2);
}

/// Without it nothing is ever purged by itself.
pub async fn workers_can_purge_too(subject: &impl Subject<Store: Operations>) {
    ended(subject, "evt_1", "a", DeliveryOutcome::Done).await;
    subject.pass(DAY * 31).await;
    let number = number(subject, "evt_1").await;
    let operations = subject.store().operations().expect("the store tells workers of it");
    assert_eq!(operations.purge(&[number], DAY * 30).await.expect("the store is there"), 1);
}
