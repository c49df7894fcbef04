//! Promises about several processes that share a store.

use std::{
    slice::from_ref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use router_core::{Event, delivery::DeliveryOrder, testing::SyntheticEvent};
use tokio::task::JoinSet;

use super::{
    LEASE, SECOND, assert_nothing_due, claim, claim_one, claim_request, complete, delivery,
    duplicate, event, event_of, new, store,
    wait::{eventually, within_limit},
};
use crate::{
    Store,
    conformance::Subject,
    store::{
        Claim, CompleteResult, DeliveryOutcome, DeliveryState, Lease, NewEvent, Redelivery, Stored,
        StoredDelivery,
    },
};

/// The number of rounds of a race. Each round may have another winner.
const ROUNDS: usize = 30;

const WAITING: &[DeliveryState] = &[DeliveryState::Waiting];

/// A process that opens the store again has its events. Leases are shared too: a claimed delivery
/// is not due in another process, which can complete it with the lease.
pub async fn reopened_store_has_stored_events(subject: &impl Subject) {
    let event = new(&event("evt_1"), &["a"]);
    assert_eq!(store(subject, from_ref(&event)).await, [Stored::New]);
    let other = subject.reopen().await;
    assert_eq!(store_in(&other, event).await, duplicate(WAITING));
    let claims = claim_in(&other).await;
    assert_eq!(claims.len(), 1);
    assert_nothing_due(subject, "a").await;
    let completed = complete(subject, &claims[0].lease, DeliveryOutcome::Done).await;
    assert_eq!(completed, CompleteResult::Recorded);
    let deliveries = other.deliveries("evt_1").await.expect("store is available");
    assert_eq!(deliveries[0].state, DeliveryState::Done);
}

/// Stripe may send the same events to several processes at once, in different orders. Each event is
/// stored once.
pub async fn concurrent_duplicates_are_stored_once(subject: &impl Subject) {
    // A store waits for the transactions of the three others, and has a time limit for that.
    const EVENTS: usize = 50;
    let stores = reopen(subject, 4).await;
    for round in 0..10 {
        let events: Vec<_> = (0..EVENTS)
            .map(|number| new(&event(&format!("evt_{round}_{number}")), &["a"]))
            .collect();
        let mut tasks = JoinSet::new();
        for (number, store) in stores.iter().cloned().enumerate() {
            let mut events = events.clone();
            events.rotate_left(number * EVENTS / stores.len());
            if number % 2 == 1 {
                events.reverse();
            }
            tasks.spawn(async move { store.store(&events).await.expect("store is available") });
        }
        let results = tasks.join_all().await.concat();
        let is_new = |stored: &&Stored| **stored == Stored::New;
        assert_eq!(results.iter().filter(is_new).count(), EVENTS);
    }
}

/// A thin event and the snapshot event of the same change are twins. If two processes store them at
/// once, they become one event, and a handler of both gets one delivery.
pub async fn concurrent_twins_are_one_event(subject: &impl Subject) {
    let stores = reopen(subject, 2).await;
    for round in 0..ROUNDS {
        let id = format!("evt_{round}");
        let snapshot = SyntheticEvent::new("customer.updated").id(&*id);
        let snapshot = snapshot.build().expect("event is valid");
        let thin = event_of(SyntheticEvent::twin_of(&snapshot).id(format!("{id}_thin")));
        let mut twins = [snapshot.event(), &thin].map(|event| new(event, &["a"]));
        // The twin that is sent first alternates.
        twins.rotate_left(round % 2);
        let [first, second] = twins;
        let results = tokio::join!(store_in(&*stores[0], first), store_in(&*stores[1], second));
        let expected = match results.0 {
            Stored::New => (Stored::New, duplicate(WAITING)),
            _ => (duplicate(WAITING), Stored::New),
        };
        assert_eq!(results, expected, "round {round}");
        let claims = claim_eventually(subject.store()).await;
        assert_eq!(claims.len(), 1, "{claims:?}");
        complete(subject, &claims[0].lease, DeliveryOutcome::Done).await;
        for id in [format!("{id}_thin"), id] {
            let deliveries = subject.store().deliveries(&id).await.expect("store is available");
            let states: Vec<_> = deliveries.iter().map(|delivery| delivery.state).collect();
            assert_eq!(states, [DeliveryState::Done], "{id}");
        }
    }
}

/// Stripe may redeliver an event to two processes at once. Exactly one process restarts the dead
/// letter. The payload that this process received is delivered.
pub async fn concurrent_redeliveries_restart_dead_letter_once(subject: &impl Subject) {
    let stores = reopen(subject, 2).await;
    for round in 0..ROUNDS {
        let id = format!("evt_{round}");
        let [first, second, third] = ["first", "second", "third"].map(|name| {
            let event = SyntheticEvent::new("customer.updated").id(&*id).set("name", name);
            new(&event_of(event), &["a"])
        });
        assert_eq!(store(subject, &[first]).await, [Stored::New]);
        let lease = claim_one(subject, "a").await.lease;
        let dead = DeliveryOutcome::Dead { error: "missing field".into() };
        assert_eq!(complete(subject, &lease, dead).await, CompleteResult::Recorded);
        let payloads = [&second, &third].map(|new| new.event.payload().clone());
        let results = tokio::join!(store_in(&*stores[0], second), store_in(&*stores[1], third));
        let restarted = Stored::Redelivered(vec![Redelivery::Restarted]);
        let results = <[Stored; 2]>::from(results);
        let winner = results.iter().position(|result| *result == restarted);
        let winner = winner.expect("a process restarts the dead letter");
        assert_eq!(results[1 - winner], duplicate(WAITING), "round {round}");
        let claim = claim_eventually(subject.store()).await.remove(0);
        let claimed = claim.event.expect("stored event is readable");
        assert_eq!(*claimed.payload(), payloads[winner]);
        complete(subject, &claim.lease, DeliveryOutcome::Done).await;
        if let Some(operations) = subject.store().operations() {
            let shown = operations.show(&id).await.expect("store is available");
            assert_eq!(shown[0].redelivered.len(), 1, "only the restart is recorded: {shown:?}");
        }
    }
}

/// If several processes claim at once, exactly one of them claims each delivery.
pub async fn concurrent_claims_never_share_a_delivery<S: Subject>(subject: &S) {
    const EVENTS: usize = 4;
    let stores = reopen(subject, 3).await;
    // Each store reads once, so that the first claims are not delayed by its connection.
    for store in &stores {
        store.backlog().await.expect("store is available");
    }
    for round in 0..ROUNDS {
        let new = |number| new(&event(&format!("evt_{round}_{number}")), &["a"]);
        store(subject, &(0..EVENTS).map(new).collect::<Vec<_>>()).await;
        let mut claiming = JoinSet::new();
        for store in stores.iter().cloned() {
            claiming.spawn(async move {
                if S::notifies() {
                    // All are notified of the events, so that they claim at about the same time.
                    within_limit(store.notified()).await;
                }
                claim_in(&*store).await
            });
        }
        let mut claimed = claiming.join_all().await.into_iter().flatten().collect::<Vec<_>>();
        // Deliveries that no process could see yet.
        claimed.extend(claim(subject, &["a"], 9).await);
        let mut deliveries: Vec<_> = claimed.iter().map(|claim| claim.lease.delivery).collect();
        deliveries.sort_unstable();
        deliveries.dedup();
        assert_eq!((claimed.len(), deliveries.len()), (EVENTS, EVENTS), "round {round}");
        // Any process can complete a delivery, not only the one that claimed it.
        for claim in claimed {
            let completed = complete_in(&*stores[round % stores.len()], claim.lease).await;
            assert_eq!(completed, CompleteResult::Recorded);
        }
    }
}

/// Completions of one event's deliveries by several processes at once are all recorded.
pub async fn concurrent_completions_of_one_event_are_recorded(subject: &impl Subject) {
    const HANDLERS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let stores = reopen(subject, HANDLERS.len()).await;
    for round in 0..10 {
        let id = format!("evt_{round}");
        store(subject, &[new(&event(&id), &HANDLERS)]).await;
        let mut tasks = JoinSet::new();
        for (handler, store) in HANDLERS.into_iter().zip(stores.iter().cloned()) {
            tasks.spawn(async move {
                let lease = loop {
                    let claimed = store.claim(&claim_request(&[handler], 1)).await;
                    if let Some(claim) = claimed.expect("store is available").pop() {
                        break claim.lease;
                    }
                    tokio::task::yield_now().await;
                };
                complete_in(&*store, lease).await
            });
        }
        assert_eq!(tasks.join_all().await, [CompleteResult::Recorded; HANDLERS.len()]);
        let deliveries = subject.store().deliveries(&id).await.expect("store is available");
        let is_done = |delivery: &StoredDelivery| {
            (delivery.state, delivery.attempts) == (DeliveryState::Done, 1)
        };
        assert!(deliveries.iter().all(is_done), "{deliveries:?}");
    }
}

/// After a lease has expired and another process has claimed the delivery, the expired lease can
/// neither be extended nor used to complete the delivery.
pub async fn late_completion_loses_to_later_claim(subject: &impl Subject) {
    let other = subject.reopen().await;
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    let late = claim_one(subject, "a").await.lease;
    subject.pass(LEASE).await;
    let later = claim_eventually(&other).await.remove(0);
    assert!(later.lease_expired);
    let completed = complete(subject, &late, DeliveryOutcome::Done).await;
    assert_eq!(completed, CompleteResult::LeaseLost);
    let extended = subject.store().extend(&[late], LEASE).await;
    assert_eq!(extended.expect("store is available"), [false]);
    assert_eq!(complete_in(&other, later.lease).await, CompleteResult::Recorded);
}

/// At most one delivery of an object runs at a time, while several processes store and claim
/// deliveries, and some deliveries are retried or become dead letters. All deliveries finish.
pub async fn one_ordered_delivery_runs_per_object(subject: &impl Subject) {
    const OBJECTS: usize = 3;
    const EVENTS: u32 = 120;
    let is_running: Arc<[AtomicBool; OBJECTS]> = Arc::default();
    let finished = Arc::new(AtomicU32::new(0));
    let mut tasks = JoinSet::new();
    for (process, store) in (0..).zip(reopen(subject, 4).await) {
        tasks.spawn(async move {
            for number in (process..EVENTS).step_by(4) {
                // 37 and the number of events have no common factor, so each event has a time of
                // its own. An older event may thus be stored while a newer one is claimed.
                let created = UNIX_EPOCH + SECOND * (number * 37 % EVENTS);
                let event = SyntheticEvent::new("customer.updated").created(created);
                store_in(
                    &*store,
                    ordered(event, &format!("evt_{number}"), number as usize % OBJECTS),
                )
                .await;
            }
        });
    }
    for store in reopen(subject, 4).await {
        let (is_running, finished) = (is_running.clone(), finished.clone());
        tasks.spawn(async move {
            while finished.load(Ordering::SeqCst) < EVENTS {
                let claims = store.claim(&claim_request(&["a"], 2)).await;
                for claim in claims.expect("store is available") {
                    let event = claim.event.expect("stored event is readable");
                    let object = object_number(&event);
                    assert!(!is_running[object].swap(true, Ordering::SeqCst), "two run at once");
                    // This call gives other processes time to claim.
                    store.deliveries(event.id()).await.expect("store is available");
                    is_running[object].store(false, Ordering::SeqCst);
                    let error = "not now".to_owned();
                    let outcome = if claim.attempt == 1 && event.id().ends_with('1') {
                        DeliveryOutcome::Retry { wait: Duration::ZERO, error }
                    } else if event.id().ends_with('2') {
                        DeliveryOutcome::Dead { error }
                    } else {
                        DeliveryOutcome::Done
                    };
                    let is_finished = !matches!(outcome, DeliveryOutcome::Retry { .. });
                    let completed = store.complete(&[(claim.lease, outcome)]).await;
                    let completed = completed.expect("store is available");
                    assert_eq!(completed, [CompleteResult::Recorded]);
                    finished.fetch_add(u32::from(is_finished), Ordering::SeqCst);
                }
                tokio::task::yield_now().await;
            }
        });
    }
    tasks.join_all().await;
}

/// A process is notified of an event that another process stores, and of a dead letter that another
/// process restarts with a redelivered event.
pub async fn event_stored_by_other_process_notifies<S: Subject>(subject: &S) {
    if !notifications_ready(subject).await {
        return;
    }
    let (other, event) = (subject.reopen().await, new(&event("evt_1"), &["a"]));
    assert_eq!(store_in(&other, event.clone()).await, Stored::New);
    let lease = claim_notified(subject).await.lease;
    let dead = DeliveryOutcome::Dead { error: "missing field".into() };
    assert_eq!(complete(subject, &lease, dead).await, CompleteResult::Recorded);
    let restarted = Stored::Redelivered(vec![Redelivery::Restarted]);
    assert_eq!(store_in(&other, event).await, restarted);
    assert_eq!(claim_notified(subject).await.attempt, 1);
}

/// Waits until the store receives notifications. Returns `false` if the store does not support
/// them.
pub(super) async fn notifications_ready<S: Subject>(subject: &S) -> bool {
    if !S::notifies() {
        println!("skipped: the store cannot notify");
        return false;
    }
    within_limit(subject.store().notified()).await;
    true
}

/// Waits for notifications until the only due delivery of the handler `a` can be claimed. Some
/// notifications may be spurious.
pub(super) async fn claim_notified(subject: &impl Subject) -> Claim {
    loop {
        within_limit(subject.store().notified()).await;
        let mut claims = claim(subject, &["a"], 9).await;
        if !claims.is_empty() {
            assert_eq!(claims.len(), 1, "{claims:?}");
            return claims.remove(0);
        }
    }
}

/// Opens the store once for each process.
pub(super) async fn reopen<S: Subject>(subject: &S, processes: usize) -> Vec<Arc<S::Store>> {
    let mut stores = Vec::new();
    for _ in 0..processes {
        stores.push(Arc::new(subject.reopen().await));
    }
    stores
}

/// Builds an event about customer `object`. Its delivery to the handler `a` is ordered.
pub(super) fn ordered(event: SyntheticEvent, id: &str, object: usize) -> NewEvent {
    let event = event_of(event.id(id).set("id", format!("cus_{object}")));
    NewEvent::new(event, vec![delivery("a", Some(DeliveryOrder::OldestFirst))])
}

/// Returns the number of the object of an [`ordered`] event.
pub(super) fn object_number(event: &Event) -> usize {
    let object = event.object_id().expect("object has an id").to_string();
    object.trim_start_matches("cus_").parse().expect("id ends in a number")
}

pub(super) async fn store_in(store: &impl Store, event: NewEvent) -> Stored {
    store.store(&[event]).await.expect("store is available").remove(0)
}

async fn claim_in(store: &impl Store) -> Vec<Claim> {
    store.claim(&claim_request(&["a"], 9)).await.expect("store is available")
}

/// Polls until a claim returns deliveries, because a process may see the changes of another with a
/// delay.
pub(super) async fn claim_eventually(store: &impl Store) -> Vec<Claim> {
    eventually(async || {
        let claims = claim_in(store).await;
        Ok((!claims.is_empty()).then_some(claims))
    })
    .await
}

async fn complete_in(store: &impl Store, lease: Lease) -> CompleteResult {
    let completed = store.complete(&[(lease, DeliveryOutcome::Done)]).await;
    completed.expect("store is available")[0]
}
