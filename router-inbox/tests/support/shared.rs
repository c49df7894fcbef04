//! Tests of any store that several processes share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use router_core::testing::SyntheticEvent;
use router_inbox::{
    Store,
    store::{CompleteResult, DeliveryOutcome, NewEvent, Stored},
};
use tokio::task::JoinSet;

use super::{paid, updated_at, wanted};

/// Stripe may send the same events to two machines at once. The stores get them in different
/// orders.
pub(crate) async fn concurrent_duplicates_are_stored_once<S: Store>(open: impl AsyncFn() -> S) {
    for round in 0..5 {
        let mut tasks = JoinSet::new();
        let events: Vec<_> = (0..100).map(|n| paid(&format!("evt_{round}_{n}"))).collect();
        for nth in 0..4 {
            let mut events = events.clone();
            events.rotate_left(nth * 25);
            if nth % 2 == 1 {
                events.reverse();
            }
            let store = open().await;
            tasks.spawn(async move { store.store(&events).await.map_err(|e| format!("{e:?}")) });
        }
        let results = tasks.join_all().await.into_iter();
        let results: Vec<_> =
            results.flat_map(|result| result.expect("the store is available")).collect();
        assert_eq!(results.iter().filter(|stored| **stored == Stored::New).count(), 100);
    }
}

/// At most one delivery of an object runs at a time while others store, claim, retry and fail; all
/// are handled in the end.
pub(crate) async fn one_ordered_delivery_runs_per_object<S: Store>(open: impl AsyncFn() -> S) {
    const OBJECTS: usize = 3;
    const EVENTS: usize = 240;
    let running: Arc<[AtomicBool; OBJECTS]> = Arc::default();
    let handled = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for storer in 0..4 {
        let store = open().await;
        tasks.spawn(async move {
            for n in (storer..EVENTS).step_by(4) {
                // Older and newer events alternate, so that an older one may be stored while a
                // newer one is claimed.
                let seconds = Duration::from_secs(n as u64 * 37 % EVENTS as u64);
                let created = UNIX_EPOCH + seconds;
                let event = updated_at(created, &format!("evt_{n}"), n % OBJECTS);
                store.store(&[event]).await.expect("the store is available");
            }
        });
    }
    for _ in 0..4 {
        let (store, running, handled) = (open().await, running.clone(), handled.clone());
        tasks.spawn(async move {
            while handled.load(Ordering::SeqCst) < EVENTS {
                for claim in store.claim(&wanted(2)).await.expect("the store is available") {
                    let event = claim.event.expect("the event is undamaged");
                    let object = event.object_id().expect("the object has an id").to_string();
                    let object: usize = object[4..].parse().expect("the id ends in a number");
                    assert!(!running[object].swap(true, Ordering::SeqCst), "two run at once");
                    // Takes a while, in which others claim.
                    store.deliveries(event.id()).await.expect("the store is available");
                    running[object].store(false, Ordering::SeqCst);
                    let (error, wait) = ("not now".into(), Duration::ZERO);
                    let end = match claim.attempt {
                        1 if event.id().ends_with('1') => DeliveryOutcome::Retry { wait, error },
                        _ if event.id().ends_with('2') => DeliveryOutcome::Dead { error },
                        _ => DeliveryOutcome::Done,
                    };
                    let is_finished = !matches!(end, DeliveryOutcome::Retry { .. });
                    let completed = store.complete(&[(claim.lease, end)]).await;
                    assert_eq!(
                        completed.expect("the store is available"),
                        [CompleteResult::Recorded]
                    );
                    handled.fetch_add(usize::from(is_finished), Ordering::SeqCst);
                }
                tokio::task::yield_now().await;
            }
        });
    }
    tasks.join_all().await;
}

/// Events are identified by a hash of their key, whose parts must not run together.
pub(crate) async fn different_events_are_no_duplicates(store: &impl Store) {
    let event = |id: &str| SyntheticEvent::new("invoice.paid").id(id);
    let events =
        [event("bc").account("a"), event("c").account("ab"), event("abc"), event("account")];
    for event in events {
        let event = event.build().expect("the event type is in the catalog").event().clone();
        let new = [NewEvent::new(event, Vec::new())];
        let stored = store.store(&new).await.expect("the store is available");
        assert_eq!(stored, [Stored::New], "{new:?}");
    }
}
