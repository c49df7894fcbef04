//! Promises about paused handlers.

use tokio::task::JoinSet;

use super::{
    super::{SECOND, claim_one, complete, event, new, store},
    read_status,
};
use crate::{
    Store as _,
    conformance::Subject,
    store::{DeliveryOutcome, Operations, PausedHandler},
};

async fn pause(
    subject: &impl Subject<Store: Operations>,
    handler: &str,
    note: Option<&str>,
) -> Option<PausedHandler> {
    subject.store().pause(handler, note).await.expect("store is available")
}

async fn resume(subject: &impl Subject<Store: Operations>, handler: &str) -> Option<PausedHandler> {
    subject.store().resume(handler).await.expect("store is available")
}

/// Returns the paused handlers as workers read them, and checks that the status lists the same.
async fn paused(subject: &impl Subject<Store: Operations>) -> Vec<PausedHandler> {
    let paused = subject.store().paused_handlers().await.expect("store is available");
    assert_eq!(read_status(subject).await.paused, paused);
    paused
}

/// Paused handlers are listed by name, each with its note and the time of its pause, until they are
/// resumed. The store need not have had a delivery for a paused handler.
pub async fn paused_handler_is_listed_until_resumed(subject: &impl Subject<Store: Operations>) {
    assert_eq!(paused(subject).await, []);
    store(subject, &[new(&event("evt_1"), &["b"])]).await;
    assert_eq!(pause(subject, "b", Some("the \"warehouse\"\nis down")).await, None);
    subject.pass(SECOND * 100).await;
    // A name with a space, a non-ASCII letter and the wildcards of NATS.
    let unknown = "a ümlaut: new.*>";
    assert_eq!(pause(subject, unknown, None).await, None);
    let listed = paused(subject).await;
    let [first, second] = &listed[..] else { panic!("expected two handlers: {listed:?}") };
    assert_eq!((&*first.handler, first.note.as_deref()), (unknown, None));
    assert_eq!(
        (&*second.handler, second.note.as_deref()),
        ("b", Some("the \"warehouse\"\nis down"))
    );
    let between = first.paused_at.duration_since(second.paused_at).map_or(0, |time| time.as_secs());
    assert!((100..105).contains(&between), "{between} s between the pauses: {listed:?}");
    assert_eq!(resume(subject, "b").await.as_ref(), Some(second));
    assert_eq!(paused(subject).await, std::slice::from_ref(first));
    assert_eq!(resume(subject, unknown).await.as_ref(), Some(first));
    assert_eq!(paused(subject).await, []);
}

/// If a paused handler is paused again, the time of its pause does not change. A new note replaces
/// the earlier note. Without a new note, the earlier one remains. A pause after a resume has a new
/// time and no earlier note.
pub async fn second_pause_keeps_the_time(subject: &impl Subject<Store: Operations>) {
    pause(subject, "a", None).await;
    let first = paused(subject).await.remove(0);
    subject.pass(SECOND * 100).await;
    for (note, expected) in [(Some("x"), Some("x")), (None, Some("x")), (Some("y"), Some("y"))] {
        let before = paused(subject).await.remove(0);
        assert_eq!(pause(subject, "a", note).await, Some(before));
        let note = expected.map(str::to_owned);
        assert_eq!(paused(subject).await, [PausedHandler { note, ..first.clone() }]);
    }
    resume(subject, "a").await;
    assert_eq!(pause(subject, "a", None).await, None);
    let again = paused(subject).await.remove(0);
    assert!(again.paused_at > first.paused_at, "{again:?}, {first:?}");
    assert_eq!(again.note, None);
}

/// Resuming a handler that is not paused changes nothing.
pub async fn resume_of_handler_not_paused_changes_nothing(
    subject: &impl Subject<Store: Operations>,
) {
    assert_eq!(resume(subject, "a").await, None);
    pause(subject, "a", None).await;
    assert_eq!(resume(subject, "b").await, None);
    assert_eq!(paused(subject).await.len(), 1);
    assert!(resume(subject, "a").await.is_some());
    assert_eq!(resume(subject, "a").await, None);
}

/// A pause changes no delivery. It returns while leases are held, and a delivery in flight can
/// still be completed.
pub async fn pause_affects_no_delivery(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["a"]), new(&event("evt_2"), &["a"])]).await;
    let claim = super::super::claim(subject, &["a"], 1).await.remove(0);
    let before = read_status(subject).await.handlers;
    pause(subject, "a", None).await;
    subject.pass(SECOND).await;
    let after = read_status(subject).await.handlers;
    assert_eq!((after[0].due, after[0].waiting.number), (before[0].due, before[0].waiting.number));
    complete(subject, &claim.lease, DeliveryOutcome::Done).await;
    resume(subject, "a").await;
    assert_eq!(claim_one(subject, "a").await.attempt, 1);
}

/// Several processes can pause handlers at once. A process that opens the store afterwards sees
/// every pause.
pub async fn concurrent_pauses_are_all_stored<S: Subject<Store: Operations>>(subject: &S) {
    const PROCESSES: usize = 8;
    let mut tasks = JoinSet::new();
    for number in 0..PROCESSES {
        let store = subject.reopen().await;
        tasks.spawn(async move { store.pause(&format!("a{number}"), Some("why")).await });
    }
    for earlier in tasks.join_all().await {
        assert_eq!(earlier.expect("store is available"), None);
    }
    let paused = subject.reopen().await.paused_handlers().await.expect("store is available");
    let is_noted = |paused: &PausedHandler| paused.note.as_deref() == Some("why");
    assert!(paused.len() == PROCESSES && paused.iter().all(is_noted), "{paused:?}");
}
