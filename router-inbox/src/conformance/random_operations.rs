//! Random calls of an operator among a random workload, on a store and on the model.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use router_core::{
    clock::{Clock as _, SystemClock},
    testing::ManualClock,
};

use super::{
    MemoryStore, Subject,
    random::{HANDLERS, claim_request, new_event, outcome, pass, seed},
};
use crate::{
    Store as _,
    operations::{
        AttemptSummary, Change, ChangeOutcome, ChangeResult, DeliverySummary, EraseResult,
        EventSelector, InboxStatus, ListFilter, ReplayResult, SelectedDelivery,
    },
    store::{DeliveryState, Lease, Operations},
};

const OPERATIONS: usize = 400;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The parts of a store's state that must be equal in the store and the model.
#[derive(Debug, PartialEq)]
struct Snapshot {
    status: InboxStatus,
    listed: Vec<(String, u32, Option<DeliverySummary>)>,
}

/// The store and the [`MemoryStore`] return the same results for the same sequence of random calls,
/// including [`Operations`].
///
/// See [`random_workload_matches_model`](super::random_workload_matches_model).
pub async fn random_operations_match_model(subject: &impl Subject<Store: Operations>) {
    let (seed, mut random) = seed();
    let clock = ManualClock::at(SystemClock.wall());
    let model = MemoryStore::new(clock.clone());
    let store = subject.store();
    let mut leases: Vec<(Lease, Lease)> = Vec::new();
    let mut selections: Vec<(Vec<SelectedDelivery>, Vec<SelectedDelivery>)> = Vec::new();
    let mut stored = 0_u64;
    for operation in 0..OPERATIONS {
        pass(subject, &clock, Duration::from_secs(1)).await;
        let context = format!("operation {operation} under CONFORMANCE_SEED={seed}");
        let id = format!("evt_{}", random.u64(0..=stored));
        let handler = random.bool().then(|| HANDLERS[random.usize(..HANDLERS.len())]);
        match random.u8(..20) {
            0..4 => {
                stored += 1;
                let events = [new_event(&mut random, stored)];
                let actual = store.store(&events).await.expect("store is available");
                let expected = model.store(&events).await.expect("memory store cannot fail");
                assert_eq!(actual, expected, "{context}");
            }
            4..7 => {
                let request = claim_request(&mut random);
                let actual = store.claim(&request).await.expect("store is available");
                let expected = model.claim(&request).await.expect("memory store cannot fail");
                assert_eq!(actual.len(), expected.len(), "{context}: {actual:?}, {expected:?}");
                let pairs = actual.into_iter().zip(expected);
                leases.extend(pairs.map(|(actual, expected)| (actual.lease, expected.lease)));
            }
            7..9 => {
                let Some((lease, model_lease)) = random.choice(leases.clone()) else { continue };
                let outcome = outcome(&mut random);
                let actual = store.complete(&[(lease, outcome.clone())]).await;
                let expected = model.complete(&[(model_lease, outcome)]).await;
                let expected = expected.expect("memory store cannot fail");
                assert_eq!(actual.expect("store is available"), expected, "{context}");
            }
            9..11 => {
                let actual = store.retry(&id, handler).await.expect("store is available");
                let expected = model.retry(&id, handler).await.expect("memory store cannot fail");
                assert_eq!(
                    comparable(actual),
                    comparable(expected),
                    "{context}: retry {id} {handler:?}"
                );
            }
            11 => {
                let actual = store.discard(&id, handler).await.expect("store is available");
                let expected = model.discard(&id, handler).await.expect("memory store cannot fail");
                assert_eq!(
                    comparable(actual),
                    comparable(expected),
                    "{context}: discard {id} {handler:?}"
                );
            }
            12..14 => {
                let selection =
                    EventSelector { event_id: Some(id.clone()), ..EventSelector::default() };
                let handlers: Vec<Arc<str>> = handler.into_iter().map(Arc::from).collect();
                let actual = replay(store, &selection, &handlers).await;
                let expected = replay(&model, &selection, &handlers).await;
                assert_eq!(actual, expected, "{context}: replay {id} {handlers:?}");
            }
            14 => {
                pass(subject, &clock, DAY).await;
                let older_than = DAY * random.u32(4..9);
                let (actual, expected) =
                    (purge(store, older_than).await, purge(&model, older_than).await);
                assert_eq!(actual, expected, "{context}: {older_than:?}");
            }
            15 => {
                let filter = filter(&mut random);
                let actual = store.select_deliveries(&filter).await.expect("store is available");
                let expected = model.select_deliveries(&filter).await;
                let expected = expected.expect("memory store cannot fail");
                let numberless = |deliveries: &[SelectedDelivery]| {
                    deliveries.iter().cloned().map(without_number).collect::<Vec<_>>()
                };
                assert_eq!(numberless(&actual), numberless(&expected), "{context}: {filter:?}");
                selections.push((actual, expected));
            }
            16..18 => {
                let Some((actual, expected)) = random.choice(&selections) else { continue };
                let change = if random.bool() { Change::Retry } else { Change::Discard };
                let changed = store.change(actual, change).await.expect("store is available");
                let expected = model.change(expected, change).await;
                let expected = expected.expect("memory store cannot fail");
                assert_eq!(changed, expected, "{context}: {change:?} {actual:?}");
            }
            18 => {
                let selection = EventSelector { event_id: Some(id), ..EventSelector::default() };
                let (actual, expected) =
                    (erase(store, &selection).await, erase(&model, &selection).await);
                assert_eq!(actual, expected, "{context}: erase {selection:?}");
            }
            _ => {
                let filter = filter(&mut random);
                let (actual, expected) =
                    (snapshot(store, &filter).await, snapshot(&model, &filter).await);
                assert_eq!(actual, expected, "{context}: {filter:?}");
            }
        }
    }
}

/// Returns the results without the numbers of the deliveries, which differ between stores.
fn comparable(results: Vec<ChangeResult>) -> Vec<(SelectedDelivery, ChangeOutcome)> {
    let results = results.into_iter();
    results.map(|ChangeResult { delivery, change }| (without_number(delivery), change)).collect()
}

fn without_number(delivery: SelectedDelivery) -> SelectedDelivery {
    SelectedDelivery { number: 0, ..delivery }
}

async fn replay(
    store: &impl Operations,
    selection: &EventSelector,
    handlers: &[Arc<str>],
) -> Vec<ReplayResult> {
    let events = store.select(selection).await.expect("store is available");
    store.replay(&events, handlers).await.expect("store is available")
}

async fn erase(store: &impl Operations, selection: &EventSelector) -> Vec<EraseResult> {
    let events = store.select(selection).await.expect("store is available");
    store.erase(&events).await.expect("store is available")
}

async fn purge(store: &impl Operations, older_than: Duration) -> u64 {
    let old = EventSelector { min_age: Some(older_than), ..EventSelector::default() };
    let old = store.select(&old).await.expect("store is available");
    store.purge(&old, older_than).await.expect("store is available")
}

async fn snapshot(store: &impl Operations, filter: &ListFilter) -> Snapshot {
    let mut status = store.status().await.expect("store is available");
    // No worker runs, which a store need not record.
    status.workers = None;
    for handler in &mut status.handlers {
        // Rounded, because a store's own clock may have advanced a little further.
        handler.oldest_due = handler.oldest_due.map(|age| Duration::from_secs(age.as_secs() / 10));
        for count in [&mut handler.waiting, &mut handler.running, &mut handler.dead] {
            count.oldest = count.oldest.map(|age| Duration::from_secs(age.as_secs() / 10));
        }
    }
    let listed = store.list(filter).await.expect("store is available");
    let listed = listed.into_iter().map(|listed| {
        let delivery = listed.delivery.map(|delivery| DeliverySummary {
            due: None,
            ended_at: delivery.ended_at.map(|_| UNIX_EPOCH),
            history: delivery.history.into_iter().map(without_times).collect(),
            ..delivery
        });
        (listed.event.id, listed.event.generation, delivery)
    });
    Snapshot { status, listed: listed.collect() }
}

fn without_times(attempt: AttemptSummary) -> AttemptSummary {
    let duration = attempt.duration.map(|_| Duration::ZERO);
    AttemptSummary { started_at: UNIX_EPOCH, duration, ..attempt }
}

fn filter(random: &mut fastrand::Rng) -> ListFilter {
    use DeliveryState::{Dead, Discarded, Done, Ignored, Running, Waiting};
    let states = [Waiting, Running, Done, Ignored, Dead, Discarded];
    let types = ["customer.*", "customer.created", "invoice.*"];
    ListFilter {
        states: states.into_iter().filter(|_| random.u8(..4) == 0).collect(),
        unhandled: random.u8(..4) == 0,
        event_type: random.bool().then(|| types[random.usize(..types.len())].to_owned()),
        object: random.bool().then(|| format!("cus_{}", random.u8(..3))),
        handler: random.bool().then(|| HANDLERS[random.usize(..HANDLERS.len())].to_owned()),
        event_id: (random.u8(..8) == 0).then(|| format!("evt_{}", random.u8(..30))),
        error: (random.u8(..4) == 0).then(|| ["ever", "not "][random.usize(..2)].to_owned()),
        // Not random: a store's own clock may have advanced a little further.
        max_age: None,
        min_ended_age: None,
        before: None,
        limit: random.usize(..20),
    }
}
