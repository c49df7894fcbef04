//! Several processes that share a database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use router_inbox::{Completed, End, NewEvent, State, Store as _, Stored};
use sqlx::postgres::PgListener;
use tokio::task::JoinSet;

use crate::{
    InPostgres,
    support::{paid, updated, wanted},
};

#[tokio::test]
async fn what_was_stored_is_there_when_it_is_opened_again() {
    let Some(inbox) = InPostgres::made().await else { return };
    assert_eq!(inbox.store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    let again = inbox.again().await;
    assert_eq!(again.store(&[paid("evt_1")]).await.unwrap(), [Stored::Duplicate]);
    // Two that have it open at once do not claim one delivery both.
    let lease = again.claim(&wanted(9)).await.unwrap().remove(0).lease;
    assert!(inbox.store.claim(&wanted(9)).await.unwrap().is_empty());
    let completed = inbox.store.complete(&[(lease, End::Done)]).await.unwrap();
    assert_eq!(completed, [Completed::Recorded]);
    assert_eq!(again.deliveries("evt_1").await.unwrap()[0].state, State::Done);
}

#[tokio::test]
async fn what_another_process_stores_is_heard_of() {
    let Some(inbox) = InPostgres::made().await else { return };
    let other = inbox.again().await;
    let mut all = PgListener::connect(&inbox.url).await.unwrap();
    all.listen(&inbox.schema).await.unwrap();
    // That it listens from now on.
    inbox.store.stored_elsewhere().await;
    inbox.store.store(&[paid("evt_1")]).await.unwrap();
    let ours = all.recv().await.unwrap();
    for _ in 0..5 {
        // So it has been heard by everybody.
        inbox.store.deliveries("evt_1").await.unwrap();
    }
    tokio::select! {
        biased;
        () = inbox.store.stored_elsewhere() => panic!("it has stored that itself"),
        () = std::future::ready(()) => {}
    }
    other.store(&[paid("evt_2")]).await.unwrap();
    inbox.store.stored_elsewhere().await;
    assert_ne!(all.recv().await.unwrap().payload(), ours.payload(), "each has a name");
    // Where nothing is there to be claimed nobody is told.
    let unhandled = NewEvent { deliveries: Vec::new(), ..paid("evt_3") };
    other.store(&[unhandled, paid("evt_1")]).await.unwrap();
    inbox.store.store(&[paid("evt_4")]).await.unwrap();
    assert_eq!(all.recv().await.unwrap().payload(), ours.payload());
}

/// Stripe may send the same events to two machines at once.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_events_in_any_order_are_stored_once() {
    let Some(inbox) = InPostgres::made().await else { return };
    for round in 0..5 {
        let mut tasks = JoinSet::new();
        let events: Vec<_> = (0..100).map(|n| paid(&format!("evt_{round}_{n}"))).collect();
        for nth in 0..4 {
            let mut events = events.clone();
            events.rotate_left(nth * 25);
            if nth % 2 == 1 {
                events.reverse();
            }
            let store = inbox.again().await;
            tasks.spawn(async move { store.store(&events).await.map_err(|e| format!("{e:?}")) });
        }
        let told: Vec<_> = tasks.join_all().await.into_iter().flat_map(Result::unwrap).collect();
        assert_eq!(told.iter().filter(|told| **told == Stored::New).count(), 100);
    }
}

/// Whatever is stored, claimed, tried again and given up meanwhile; and all of them are handled.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_delivery_of_an_object_is_out_however_many_store_and_claim() {
    const OBJECTS: usize = 3;
    const EVENTS: usize = 240;
    let Some(inbox) = InPostgres::made().await else { return };
    let out: Arc<[AtomicBool; OBJECTS]> = Arc::default();
    let handled = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for storer in 0..4 {
        let store = inbox.again().await;
        tasks.spawn(async move {
            for n in (storer..EVENTS).step_by(4) {
                store.store(&[updated(&format!("evt_{n}"), n % OBJECTS)]).await.unwrap();
            }
        });
    }
    for _ in 0..4 {
        let (store, out, handled) = (inbox.again().await, out.clone(), handled.clone());
        tasks.spawn(async move {
            while handled.load(Ordering::SeqCst) < EVENTS {
                for claim in store.claim(&wanted(2)).await.unwrap() {
                    let event = claim.event.unwrap();
                    let object: usize = event.object_id().to_string()[4..].parse().unwrap();
                    assert!(!out[object].swap(true, Ordering::SeqCst), "two are out at once");
                    tokio::task::yield_now().await;
                    out[object].store(false, Ordering::SeqCst);
                    let (error, wait) = ("not now".into(), Duration::ZERO);
                    let end = match claim.attempt {
                        1 if event.id().ends_with('1') => End::Retry { wait, error },
                        _ if event.id().ends_with('2') => End::Dead { error },
                        _ => End::Done,
                    };
                    let is_over = !matches!(end, End::Retry { .. });
                    let told = store.complete(&[(claim.lease, end)]).await.unwrap();
                    assert_eq!(told, [Completed::Recorded]);
                    handled.fetch_add(usize::from(is_over), Ordering::SeqCst);
                }
            }
        });
    }
    tasks.join_all().await;
}
