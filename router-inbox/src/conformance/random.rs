//! A random workload on a store and on the model, which must give the same results.

use std::time::Duration;

use router_core::{
    clock::{Clock as _, SystemClock},
    delivery::DeliveryOrder,
    testing::{ManualClock, SyntheticEvent},
};

use super::{
    MemoryStore, Subject,
    promises::{delivery, event_of},
};
use crate::{
    Store,
    store::{
        Backlog, Claim, ClaimRequest, DeliveryOutcome, HandlerSlots, Lease, NewEvent,
        StoredDelivery,
    },
};

const OPERATIONS: usize = 400;
pub(super) const HANDLERS: [&str; 3] = ["a", "b", "c"];

/// The store and the [`MemoryStore`] return the same results for the same sequence of random calls.
///
/// Prints the seed of the sequence; the environment variable `CONFORMANCE_SEED` sets it.
pub async fn random_workload_matches_model(subject: &impl Subject) {
    let (seed, mut random) = seed();
    let clock = ManualClock::at(SystemClock.wall());
    let model = MemoryStore::new(clock.clone());
    // Pairs of the store's lease and the model's, whose delivery numbers differ.
    let mut leases: Vec<(Lease, Lease)> = Vec::new();
    let mut stored = 0_u64;
    for operation in 0..OPERATIONS {
        // Stores need not agree on the order of events stored at the same time.
        pass(subject, &clock, Duration::from_secs(1)).await;
        let context = format!("operation {operation} under CONFORMANCE_SEED={seed}");
        match random.u8(..10) {
            0..3 => {
                stored += 1;
                let events = [new_event(&mut random, stored)];
                let actual = subject.store().store(&events).await.expect("store is available");
                let expected = model.store(&events).await.expect("memory store cannot fail");
                assert_eq!(actual, expected, "{context}");
            }
            3..6 => {
                let request = claim_request(&mut random);
                let actual = subject.store().claim(&request).await.expect("store is available");
                let expected = model.claim(&request).await.expect("memory store cannot fail");
                let all = |claims: &[Claim]| claims.iter().map(comparable).collect::<Vec<_>>();
                assert_eq!(all(&actual), all(&expected), "{context}: {request:?}");
                let pairs = actual.into_iter().zip(expected);
                leases.extend(pairs.map(|(actual, expected)| (actual.lease, expected.lease)));
            }
            6..8 => {
                let Some((lease, model_lease)) = random.choice(leases.clone()) else { continue };
                let outcome = outcome(&mut random);
                let actual = subject.store().complete(&[(lease, outcome.clone())]).await;
                let actual = actual.expect("store is available");
                let expected = model.complete(&[(model_lease, outcome.clone())]).await;
                let expected = expected.expect("memory store cannot fail");
                assert_eq!(actual, expected, "{context}: {outcome:?}");
            }
            8 => {
                let Some((lease, model_lease)) = random.choice(leases.clone()) else { continue };
                let time = seconds(&mut random);
                let actual = subject.store().extend(&[lease], time).await;
                let expected = model.extend(&[model_lease], time).await;
                let expected = expected.expect("memory store cannot fail");
                assert_eq!(actual.expect("store is available"), expected, "{context}");
            }
            _ => pass(subject, &clock, seconds(&mut random)).await,
        }
    }
    assert_eq!(backlog(subject.store()).await, backlog(&model).await, "{seed}");
    for number in 1..=stored {
        let id = format!("evt_{number}");
        let actual: Vec<StoredDelivery> =
            subject.store().deliveries(&id).await.expect("store is available");
        let expected = model.deliveries(&id).await.expect("memory store cannot fail");
        assert_eq!(actual, expected, "{id}, {seed}");
    }
}

/// Returns for each handler the number of waiting and running deliveries, the age of the oldest in
/// whole seconds, and the time since the first claimable one became due.
async fn backlog(store: &impl Store) -> Vec<(String, u64, u64, u64, Option<u64>)> {
    let backlog = store.backlog().await.expect("store is available");
    let backlog = backlog.into_iter();
    backlog
        .map(|entry| {
            let Backlog { handler, waiting, running, oldest, oldest_due } = entry;
            let oldest_due = oldest_due.map(|age| age.as_secs());
            (handler.to_string(), waiting, running, oldest.as_secs(), oldest_due)
        })
        .collect()
}

pub(super) fn seed() -> (u64, fastrand::Rng) {
    let seed = match std::env::var("CONFORMANCE_SEED") {
        Ok(seed) => seed.parse().expect("CONFORMANCE_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("CONFORMANCE_SEED={seed}");
    (seed, fastrand::Rng::with_seed(seed))
}

pub(super) async fn pass(subject: &impl Subject, clock: &ManualClock, time: Duration) {
    clock.advance(time);
    subject.pass(time).await;
}

/// Returns a multiple of ten seconds plus half a second.
///
/// The half second keeps deadlines off the whole seconds that pass between operations, so that a
/// store whose clock also runs by itself gives the same results.
fn seconds(random: &mut fastrand::Rng) -> Duration {
    Duration::from_secs(10 * random.u64(0..6)) + Duration::from_millis(500)
}

/// Returns the event with this number, or often one stored earlier: with another payload, of
/// another type, or as a thin event.
pub(super) fn new_event(random: &mut fastrand::Rng, number: u64) -> NewEvent {
    let number = if random.u8(..3) == 0 { random.u64(1..=number) } else { number };
    // The type is that of the number, so that an event stored earlier is a redelivery.
    let event_type = if random.u8(..8) == 0 { random.u64(..3) } else { number % 3 };
    let event_type = ["created", "updated", "deleted"][usize::try_from(event_type).unwrap_or(0)];
    let created = std::time::UNIX_EPOCH + Duration::from_secs(random.u64(10..13));
    let event = SyntheticEvent::new(format!("customer.{event_type}"))
        .id(format!("evt_{number}"))
        .set("id", format!("cus_{}", random.u8(..3)))
        .set("name", format!("name {}", random.u8(..)))
        .api_version(if random.bool() { "2020-08-27" } else { "2026-10-28.endive" })
        .created(created);
    let handlers = HANDLERS.iter().filter(|_| random.bool());
    // Each handler always has the same order.
    let order = |handler: &str| match handler {
        "a" => Some(DeliveryOrder::OldestFirst),
        "b" => Some(DeliveryOrder::NewestOnly),
        _ => None,
    };
    let deliveries = handlers.map(|handler| delivery(*handler, order(handler))).collect();
    let snapshot = event.build().expect("event is valid");
    let event = match random.u8(..6) {
        0 => event_of(SyntheticEvent::twin_of(&snapshot).id(format!("evt_thin_{number}"))),
        _ => snapshot.event().clone(),
    };
    NewEvent::new(event, deliveries)
}

pub(super) fn claim_request(random: &mut fastrand::Rng) -> ClaimRequest {
    let handlers: Vec<_> = HANDLERS.iter().filter(|_| random.u8(..4) > 0).collect();
    // The limits have no effect, because stores may differ in the order of deliveries that are due
    // at the same time.
    let handlers = handlers.into_iter().map(|handler| HandlerSlots::new(*handler, 1_000)).collect();
    let worker = *random.choice(&["worker 1", "worker 2"]).expect("there are two");
    ClaimRequest::new(handlers, 1_000, seconds(random)).worker(worker)
}

pub(super) fn outcome(random: &mut fastrand::Rng) -> DeliveryOutcome {
    match random.u8(..7) {
        0 => DeliveryOutcome::Done,
        1 => DeliveryOutcome::Ignored,
        2 | 3 => DeliveryOutcome::Retry { wait: seconds(random), error: "not now".into() },
        4 => DeliveryOutcome::Dead { error: "never".into() },
        5 => DeliveryOutcome::Later {
            wait: seconds(random),
            reason: random.bool().then(|| "not yet".into()),
            out_of_order: random.bool(),
        },
        _ => DeliveryOutcome::Released { wait: seconds(random) },
    }
}

/// Returns the parts of a claim that must be equal in the store and the model.
fn comparable(claim: &Claim) -> (String, String, String, u32, bool, bool) {
    let event = claim.event.as_ref();
    let key = event.map_or_else(ToString::to_string, |event| event.key().to_string());
    let payload = event.map_or("", |event| event.payload_text()).to_owned();
    let handler = claim.lease.handler.to_string();
    (key, payload, handler, claim.attempt, claim.lease_expired, claim.outdated)
}
