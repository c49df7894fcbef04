//! Random operations on a store and on the model, which must tell the same.

use std::time::Duration;

use router_core::{
    clock::{Clock as _, SystemClock},
    testing::{ManualClock, SyntheticEvent},
};

use super::{MemoryStore, Subject, promises::event_of};
use crate::{
    Claim, ClaimRequest, DeliveryOutcome, Lease, NewDelivery, NewEvent, Store, StoredDelivery,
};

const OPERATIONS: usize = 400;
pub(super) const HANDLERS: [&str; 3] = ["a", "b", "c"];

/// Both are asked the same things in the same order, and never told apart. Prints its seed; `CONFORMANCE_SEED`
/// gives one.
pub async fn does_as_the_model_does(subject: &impl Subject) {
    let (seed, mut random) = seed();
    let clock = ManualClock::at(SystemClock.wall());
    let model = MemoryStore::new(clock.clone());
    // Leases of both, which have numbers of their own.
    let mut leases: Vec<(Lease, Lease)> = Vec::new();
    let mut stored = 0_u64;
    for operation in 0..OPERATIONS {
        // What comes at one moment has no order that every store could know.
        pass(subject, &clock, Duration::from_secs(1)).await;
        let what = format!("operation {operation} under CONFORMANCE_SEED={seed}");
        match random.u8(..10) {
            0..3 => {
                stored += 1;
                let events = [new_event(&mut random, stored)];
                let told = subject.store().store(&events).await.expect("the store is there");
                assert_eq!(told, model.store(&events).await.expect("it cannot fail"), "{what}");
            }
            3..6 => {
                let wanted = wanted(&mut random);
                let theirs = subject.store().claim(&wanted).await.expect("the store is there");
                let ours = model.claim(&wanted).await.expect("it cannot fail");
                let seen = |claims: &[Claim]| claims.iter().map(seen).collect::<Vec<_>>();
                assert_eq!(seen(&theirs), seen(&ours), "{what}: {wanted:?}");
                let pairs = theirs.into_iter().zip(ours);
                leases.extend(pairs.map(|(theirs, ours)| (theirs.lease, ours.lease)));
            }
            6..8 => {
                let Some((theirs, ours)) = random.choice(leases.clone()) else { continue };
                let end = end(&mut random);
                let told = subject.store().complete(&[(theirs, end.clone())]).await;
                let told = told.expect("the store is there");
                let expected = model.complete(&[(ours, end.clone())]).await;
                assert_eq!(told, expected.expect("it cannot fail"), "{what}: {end:?}");
            }
            8 => {
                let Some((theirs, ours)) = random.choice(leases.clone()) else { continue };
                let time = seconds(&mut random);
                let told = subject.store().extend(&[theirs], time).await;
                let expected = model.extend(&[ours], time).await.expect("it cannot fail");
                assert_eq!(told.expect("the store is there"), expected, "{what}");
            }
            _ => pass(subject, &clock, seconds(&mut random)).await,
        }
    }
    assert_eq!(backlog(subject.store()).await, backlog(&model).await, "{seed}");
    for number in 1..=stored {
        let id = format!("evt_{number}");
        let kept: Vec<StoredDelivery> =
            subject.store().deliveries(&id).await.expect("the store is there");
        assert_eq!(kept, model.deliveries(&id).await.expect("it cannot fail"), "{id}, {seed}");
    }
}

/// How many wait and run, and since when in whole seconds.
async fn backlog(store: &impl Store) -> Vec<(String, u64, u64, u64)> {
    let backlog = store.backlog().await.expect("the store is there");
    let backlog = backlog.into_iter();
    backlog
        .map(|one| (one.handler.to_string(), one.waiting, one.running, one.oldest.as_secs()))
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

/// By tens, and half a second beside the whole ones that pass: so a store whose time passes by itself, if slowly,
/// tells the same.
fn seconds(random: &mut fastrand::Rng) -> Duration {
    Duration::from_secs(10 * random.u64(0..6)) + Duration::from_millis(500)
}

/// Now and then one that was stored before.
pub(super) fn new_event(random: &mut fastrand::Rng, number: u64) -> NewEvent {
    let number = if random.u8(..5) == 0 { random.u64(1..=number) } else { number };
    let event_type = ["created", "updated", "deleted"][random.usize(..3)];
    let created = std::time::UNIX_EPOCH + Duration::from_secs(random.u64(10..13));
    let event = SyntheticEvent::new(format!("customer.{event_type}"))
        .id(format!("evt_{number}"))
        .set("id", format!("cus_{}", random.u8(..3)))
        .created(created);
    let handlers = HANDLERS.iter().filter(|_| random.bool());
    // A handler is ordered or is not.
    let delivery =
        |handler: &&str| NewDelivery { handler: (*handler).into(), ordered: *handler != "c" };
    NewEvent { event: event_of(event), deliveries: handlers.map(delivery).collect() }
}

pub(super) fn wanted(random: &mut fastrand::Rng) -> ClaimRequest {
    let handlers: Vec<_> = HANDLERS.iter().filter(|_| random.u8(..4) > 0).collect();
    // Of those that have been due equally long, which go first is the store's to say: all of them go.
    let handlers = handlers.into_iter().map(|handler| ((*handler).into(), 1_000)).collect();
    ClaimRequest { handlers, limit: 1_000, lease: seconds(random) }
}

pub(super) fn end(random: &mut fastrand::Rng) -> DeliveryOutcome {
    match random.u8(..6) {
        0 => DeliveryOutcome::Done,
        1 => DeliveryOutcome::Ignored,
        2 | 3 => DeliveryOutcome::Retry { wait: seconds(random), error: "not now".into() },
        4 => DeliveryOutcome::Dead { error: "never".into() },
        _ => DeliveryOutcome::Released,
    }
}

/// What both must tell of a claim.
fn seen(claim: &Claim) -> (String, String, u32, bool) {
    let event =
        claim.event.as_ref().map_or_else(ToString::to_string, |event| event.key().to_string());
    (event, claim.lease.handler.to_string(), claim.attempt, claim.lease_expired)
}
