//! Promises about operations on a store that several processes use.

use std::{
    collections::BTreeSet,
    slice::from_ref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use router_core::{delivery::DeliveryOrder, testing::SyntheticEvent};
use tokio::task::JoinSet;

use super::{
    super::{
        LEASE, SECOND, claim, claim_one, claim_request, complete, delivery, event, event_of, new,
        processes::{
            claim_eventually, claim_notified, notifications_ready, object_number, ordered, reopen,
            store_in,
        },
        retry_in, store,
    },
    dead, event_number, read_status,
};
use crate::{
    Store, StoreError,
    conformance::Subject,
    operations::{ChangeOutcome, ChangeResult, EventSelector, MIN_RETENTION, ReplayResult},
    store::{DeliveryOutcome, NewEvent, Operations, StoreErrorKind, Stored},
};

/// While operators change, replay and purge events and processes store and claim others, at most
/// one delivery of an object runs at a time. All deliveries are finished in the end.
pub async fn operations_on_busy_store_keep_promises(subject: &impl Subject<Store: Operations>) {
    let old: Vec<_> = (0..OLD_EVENTS).map(updated).collect();
    store(subject, &old).await;
    while let Some(claim) = claim(subject, &["a"], 1).await.pop() {
        complete(subject, &claim.lease, DeliveryOutcome::Done).await;
    }
    subject.pass(MIN_RETENTION + LEASE).await;
    let running = Arc::new(Running::default());
    let mut workers = JoinSet::new();
    for store in reopen(subject, 2).await {
        workers.spawn(work(store, running.clone()));
    }
    let mut operators = JoinSet::new();
    for (number, store) in reopen(subject, 4).await.into_iter().enumerate() {
        operators.spawn(operate(store, number));
    }
    let counts = operators.join_all().await;
    running.is_over.store(true, Ordering::SeqCst);
    workers.join_all().await;
    let changed: usize = counts.iter().map(|(changed, _)| changed).sum();
    let purged: u64 = counts.iter().map(|(_, purged)| purged).sum();
    let finished = running.finished.load(Ordering::SeqCst);
    assert!(changed > 0 && purged > 0 && finished > 80, "{changed}, {purged}, {finished}");
    let status = read_status(subject).await;
    let [a] = &status.handlers[..] else { panic!("expected one handler: {status:?}") };
    assert_eq!((a.waiting.number, a.running.number), (0, 0), "{status:?}");
}

const OBJECTS: usize = 3;

/// The number of events that are done and old enough to be purged.
const OLD_EVENTS: usize = 60;

/// The number of old events that are retried, discarded and replayed repeatedly.
const CHANGED_EVENTS: usize = 5;

/// The state that the workers share.
#[derive(Default)]
struct Running {
    of_object: [AtomicBool; OBJECTS],
    finished: AtomicUsize,
    /// `true` once the operators have finished.
    is_over: AtomicBool,
}

fn updated(number: usize) -> NewEvent {
    let event = SyntheticEvent::new("customer.updated");
    ordered(event, &format!("evt_{number}"), number % OBJECTS)
}

/// Runs deliveries until the operators have finished and nothing is due.
async fn work(store: Arc<impl Store>, running: Arc<Running>) {
    loop {
        let was_over = running.is_over.load(Ordering::SeqCst);
        let claims = store.claim(&claim_request(&["a"], 2)).await.expect("store is available");
        if was_over && claims.is_empty() {
            return;
        }
        let mut outcomes = Vec::new();
        for claim in claims {
            let event = claim.event.expect("stored event is readable");
            let is_running = &running.of_object[object_number(&event)];
            assert!(!is_running.swap(true, Ordering::SeqCst), "two run at once");
            tokio::task::yield_now().await;
            is_running.store(false, Ordering::SeqCst);
            let is_dead = event.id().ends_with('2');
            let outcome = if is_dead { dead() } else { DeliveryOutcome::Done };
            outcomes.push((claim.lease, outcome));
        }
        let leases: Vec<_> = outcomes.iter().map(|(lease, _)| lease.clone()).collect();
        store.extend(&leases, LEASE).await.expect("store is available");
        running.finished.fetch_add(outcomes.len(), Ordering::SeqCst);
        store.complete(&outcomes).await.expect("store is available");
    }
}

/// Stores, retries, discards, replays and purges events. Returns the numbers of changed deliveries
/// and of purged events.
async fn operate(store: Arc<impl Store + Operations>, operator: usize) -> (usize, u64) {
    let (mut changed, mut purged) = (0, 0);
    for step in 0..60 {
        let id = format!("evt_{}", (step + operator) % CHANGED_EVENTS);
        match (step + operator) % 5 {
            0 | 1 => {
                // Stored by one operator and redelivered by the others. Dead letters start over.
                let new = [step, step / 2].map(|number| updated(OLD_EVENTS + number));
                store.store(&new).await.expect("store is available");
            }
            2 => {
                let retried = unless_busy(store.retry(&id, None).await);
                let discarded = unless_busy(store.discard(&id, Some("a")).await);
                let is_applied = |result: &&ChangeResult| result.change == ChangeOutcome::Applied;
                changed += retried.iter().chain(&discarded).filter(is_applied).count();
            }
            3 => {
                let mut events = select(&*store, None).await;
                events.truncate(CHANGED_EVENTS);
                events.rotate_left(operator);
                unless_busy(store.replay(&events, &[]).await);
            }
            _ => {
                let events = select(&*store, Some(MIN_RETENTION)).await;
                // The first event is one of those that other operators change.
                let events = events.iter().rev().take(3).chain(events.first());
                let events: Vec<i64> = events.copied().collect();
                purged += unless_busy(store.purge(&events, MIN_RETENTION).await);
            }
        }
        store.status().await.expect("store is available");
    }
    (changed, purged)
}

/// Returns the result of a change, or the default if concurrent changes kept conflicting.
fn unless_busy<T: Default>(result: Result<T, StoreError>) -> T {
    match result {
        Err(error) if error.kind() == StoreErrorKind::Busy => T::default(),
        result => result.expect("store is available"),
    }
}

async fn select(store: &impl Operations, min_age: Option<Duration>) -> Vec<i64> {
    let selection = EventSelector { min_age, ..EventSelector::default() };
    store.select(&selection).await.expect("store is available")
}

/// Each of several concurrent replays of an event creates a generation of its own.
pub async fn concurrent_replays_each_store_a_generation(subject: &impl Subject<Store: Operations>) {
    store(subject, &[new(&event("evt_1"), &["a"]), new(&event("evt_2"), &["a"])]).await;
    let mut events = select(subject.store(), None).await;
    // A call may name an event twice.
    events.push(events[0]);
    let mut tasks = JoinSet::new();
    for (number, store) in reopen(subject, 6).await.into_iter().enumerate() {
        let mut events = events.clone();
        events.rotate_left(number % 3);
        tasks.spawn(async move { store.replay(&events, &[]).await.expect("store is available") });
    }
    let mut generations = BTreeSet::new();
    for result in tasks.join_all().await.concat() {
        let ReplayResult::Replayed { event_id, generation, .. } = result else {
            panic!("expected a replay: {result:?}")
        };
        assert!(generations.insert((event_id, generation)), "two replays: {generation}");
    }
    let expected = [("evt_1", 1..=12), ("evt_2", 1..=6)].into_iter();
    let expected = expected.flat_map(|(id, all)| all.map(move |number| (id.to_owned(), number)));
    assert_eq!(generations, expected.collect());
    for (id, events) in [("evt_1", 13), ("evt_2", 7)] {
        let shown = subject.store().show(id).await.expect("store is available");
        assert_eq!(shown.len(), events, "{id}");
    }
}

/// A delivery that is completed after its lease has expired outdates older events of its object, in
/// other processes too, and even after its event has been purged.
pub async fn late_completion_outdates_older_event(subject: &impl Subject<Store: Operations>) {
    let other = subject.reopen().await;
    let newest = |id: &str, created: u32| {
        let created = UNIX_EPOCH + SECOND * created;
        let event = SyntheticEvent::new("customer.updated").id(id).set("id", "cus_1");
        let deliveries = vec![delivery("a", Some(DeliveryOrder::NewestOnly))];
        NewEvent::new(event_of(event.created(created)), deliveries)
    };
    for event in [newest("evt_1", 10), newest("evt_2", 20)] {
        assert_eq!(store_in(&other, event).await, Stored::New);
    }
    // Both events are stored, but this process may see the newer one with a delay.
    let late = loop {
        let claim = claim_eventually(subject.store()).await.remove(0);
        if claim.event.as_ref().expect("stored event is readable").id() == "evt_2" {
            break claim;
        }
        complete(subject, &claim.lease, DeliveryOutcome::RELEASED).await;
    };
    subject.pass(LEASE + SECOND).await;
    complete(subject, &late.lease, DeliveryOutcome::Done).await;
    let older = claim_eventually(&other).await.remove(0);
    assert!(older.outdated, "{older:?}");
    // The delivery is completed as if its handler had run. This must not lower the recency.
    complete(subject, &older.lease, DeliveryOutcome::Done).await;
    subject.pass(MIN_RETENTION * 2).await;
    let all = select(subject.store(), None).await;
    let purged = subject.store().purge(&all, MIN_RETENTION).await;
    assert_eq!(purged.expect("store is available"), 2);
    for (id, created, outdated) in [("evt_3", 15, true), ("evt_4", 30, false)] {
        store_in(&other, newest(id, created)).await;
        let claim = claim_eventually(subject.store()).await.remove(0);
        assert_eq!(claim.outdated, outdated, "{id}: {claim:?}");
        complete(subject, &claim.lease, DeliveryOutcome::Ignored).await;
    }
}

/// Workers are notified of deliveries that an operator retries, unblocks or replays, so that they
/// need not wait for the next poll.
pub async fn change_by_operator_notifies<S: Subject<Store: Operations>>(subject: &S) {
    if !notifications_ready(subject).await {
        return;
    }
    let operator = subject.reopen().await;
    store(subject, &[new(&event("evt_retried"), &["a"])]).await;
    let lease = claim_one(subject, "a").await.lease;
    complete(subject, &lease, retry_in(600)).await;
    operator.retry("evt_retried", None).await.expect("store is available");
    let retried = claim_notified(subject).await;
    assert_eq!(retried.attempt, 2);
    complete(subject, &retried.lease, DeliveryOutcome::Done).await;

    let [first, second] = ["evt_first", "evt_unblocked"]
        .map(|id| ordered(SyntheticEvent::new("customer.updated"), id, 1));
    store(subject, &[first, second]).await;
    let lease = claim_one(subject, "a").await.lease;
    complete(subject, &lease, retry_in(600)).await;
    operator.discard("evt_first", None).await.expect("store is available");
    let unblocked = claim_notified(subject).await;
    assert_eq!(&*unblocked.lease.event_id, "evt_unblocked");
    complete(subject, &unblocked.lease, DeliveryOutcome::Done).await;

    let number = event_number(subject, "evt_retried").await;
    operator.replay(from_ref(&number), &[]).await.expect("store is available");
    let replayed = claim_notified(subject).await;
    assert_eq!(replayed.event.expect("stored event is readable").key().generation(), 1);
}
