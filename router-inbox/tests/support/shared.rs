//! What holds of every store that several processes share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use router_core::testing::SyntheticEvent;
use router_inbox::{Completed, DeliveryOutcome, NewEvent, Store, Stored};
use tokio::task::JoinSet;

use super::{paid, updated_at, wanted};

/// Stripe may send the same events to two machines at once.
pub(crate) async fn the_same_events_in_any_order_are_stored_once<S: Store>(
    another: impl AsyncFn() -> S,
) {
    for round in 0..5 {
        let mut tasks = JoinSet::new();
        let events: Vec<_> = (0..100).map(|n| paid(&format!("evt_{round}_{n}"))).collect();
        for nth in 0..4 {
            let mut events = events.clone();
            events.rotate_left(nth * 25);
            if nth % 2 == 1 {
                events.reverse();
            }
            let store = another().await;
            tasks.spawn(async move { store.store(&events).await.map_err(|e| format!("{e:?}")) });
        }
        let told = tasks.join_all().await.into_iter();
        let told: Vec<_> = told.flat_map(|told| told.expect("they are stored")).collect();
        assert_eq!(told.iter().filter(|told| **told == Stored::New).count(), 100);
    }
}

/// Whatever is stored, claimed, tried again and given up meanwhile; and all of them are handled.
pub(crate) async fn one_delivery_of_an_object_is_out_however_many_store_and_claim<S: Store>(
    another: impl AsyncFn() -> S,
) {
    const OBJECTS: usize = 3;
    const EVENTS: usize = 240;
    let out: Arc<[AtomicBool; OBJECTS]> = Arc::default();
    let handled = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for storer in 0..4 {
        let store = another().await;
        tasks.spawn(async move {
            for n in (storer..EVENTS).step_by(4) {
                // Younger and older ones come by turns, so that one is claimed while another becomes the first.
                let seconds = Duration::from_secs(n as u64 * 37 % EVENTS as u64);
                let created = UNIX_EPOCH + seconds;
                let event = updated_at(created, &format!("evt_{n}"), n % OBJECTS);
                store.store(&[event]).await.expect("the store is there");
            }
        });
    }
    for _ in 0..4 {
        let (store, out, handled) = (another().await, out.clone(), handled.clone());
        tasks.spawn(async move {
            while handled.load(Ordering::SeqCst) < EVENTS {
                for claim in store.claim(&wanted(2)).await.expect("the store is there") {
                    let event = claim.event.expect("it is as it was stored");
                    let object = event.object_id().to_string();
                    let object: usize = object[4..].parse().expect("it has a number");
                    assert!(!out[object].swap(true, Ordering::SeqCst), "two are out at once");
                    // What it does takes a while, in which others claim.
                    store.deliveries(event.id()).await.expect("the store is there");
                    out[object].store(false, Ordering::SeqCst);
                    let (error, wait) = ("not now".into(), Duration::ZERO);
                    let end = match claim.attempt {
                        1 if event.id().ends_with('1') => DeliveryOutcome::Retry { wait, error },
                        _ if event.id().ends_with('2') => DeliveryOutcome::Dead { error },
                        _ => DeliveryOutcome::Done,
                    };
                    let is_over = !matches!(end, DeliveryOutcome::Retry { .. });
                    let told = store.complete(&[(claim.lease, end)]).await;
                    assert_eq!(told.expect("the store is there"), [Completed::Recorded]);
                    handled.fetch_add(usize::from(is_over), Ordering::SeqCst);
                }
                tokio::task::yield_now().await;
            }
        });
    }
    tasks.join_all().await;
}

/// They are kept by a hash of all that says which event it is.
pub(crate) async fn no_two_events_are_taken_for_one(store: &impl Store) {
    let event = |id: &str| SyntheticEvent::new("invoice.paid").id(id);
    let events = [
        event("bc").account("a"),
        event("c").account("ab"),
        event("abc").account(""),
        event("abc"),
        event("account"),
    ];
    for event in events {
        let event = event.build().expect("there is such an event").event().clone();
        let new = [NewEvent { event, deliveries: Vec::new() }];
        let told = store.store(&new).await.expect("the store is there");
        assert_eq!(told, [Stored::New], "{new:?}");
    }
}
