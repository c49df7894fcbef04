//! Random operations of whoever operates a store, between those of an inbox, on a store and on the model.

use std::{sync::Arc, time::Duration};

use router_core::{
    clock::{Clock as _, SystemClock},
    testing::ManualClock,
};

use super::{
    MemoryStore, Subject,
    random::{HANDLERS, end, new_event, pass, seed, wanted},
};
use crate::{
    DeliveryState, Lease, Operations, Store as _,
    operations::{ChangeResult, DeliverySummary, EventSelector, InboxStatus, ListFilter, Replayed},
};

const OPERATIONS: usize = 400;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What both must tell of a store.
#[derive(Debug, PartialEq)]
struct Seen {
    status: InboxStatus,
    listed: Vec<(String, u32, Option<DeliverySummary>)>,
}

/// As [`does_as_the_model_does`](super::does_as_the_model_does), for [`Operations`].
pub async fn operates_as_the_model_does(subject: &impl Subject<Store: Operations>) {
    let (seed, mut random) = seed();
    let clock = ManualClock::at(SystemClock.wall());
    let model = MemoryStore::new(clock.clone());
    let store = subject.store();
    let mut leases: Vec<(Lease, Lease)> = Vec::new();
    let mut stored = 0_u64;
    for operation in 0..OPERATIONS {
        pass(subject, &clock, Duration::from_secs(1)).await;
        let what = format!("operation {operation} under CONFORMANCE_SEED={seed}");
        let id = format!("evt_{}", random.u64(0..=stored));
        let handler = random.bool().then(|| HANDLERS[random.usize(..HANDLERS.len())]);
        match random.u8(..16) {
            0..4 => {
                stored += 1;
                let events = [new_event(&mut random, stored)];
                let told = store.store(&events).await.expect("the store is there");
                assert_eq!(told, model.store(&events).await.expect("it cannot fail"), "{what}");
            }
            4..7 => {
                let wanted = wanted(&mut random);
                let theirs = store.claim(&wanted).await.expect("the store is there");
                let ours = model.claim(&wanted).await.expect("it cannot fail");
                assert_eq!(theirs.len(), ours.len(), "{what}: {theirs:?}, {ours:?}");
                let pairs = theirs.into_iter().zip(ours);
                leases.extend(pairs.map(|(theirs, ours)| (theirs.lease, ours.lease)));
            }
            7..9 => {
                let Some((theirs, ours)) = random.choice(leases.clone()) else { continue };
                let end = end(&mut random);
                let told = store.complete(&[(theirs, end.clone())]).await;
                let expected = model.complete(&[(ours, end)]).await.expect("it cannot fail");
                assert_eq!(told.expect("the store is there"), expected, "{what}");
            }
            9..11 => {
                let told: Vec<ChangeResult> = store.retry(&id, handler).await.expect("it is there");
                let expected = model.retry(&id, handler).await.expect("it cannot fail");
                assert_eq!(told, expected, "{what}: retry {id} {handler:?}");
            }
            11 => {
                let told: Vec<ChangeResult> =
                    store.discard(&id, handler).await.expect("it is there");
                let expected = model.discard(&id, handler).await.expect("it cannot fail");
                assert_eq!(told, expected, "{what}: discard {id} {handler:?}");
            }
            12..14 => {
                let one = EventSelector { event_id: Some(id.clone()), ..EventSelector::default() };
                let handlers: Vec<Arc<str>> = handler.into_iter().map(Arc::from).collect();
                let told = replay(store, &one, &handlers).await;
                let expected = replay(&model, &one, &handlers).await;
                assert_eq!(told, expected, "{what}: replay {id} {handlers:?}");
            }
            14 => {
                pass(subject, &clock, DAY).await;
                let older_than = DAY * random.u32(4..9);
                let told = purge(store, older_than).await;
                assert_eq!(told, purge(&model, older_than).await, "{what}: {older_than:?}");
            }
            _ => {
                let filter = filter(&mut random);
                let (told, expected) = (see(store, &filter).await, see(&model, &filter).await);
                assert_eq!(told, expected, "{what}: {filter:?}");
            }
        }
    }
}

async fn replay(
    store: &impl Operations,
    selection: &EventSelector,
    handlers: &[Arc<str>],
) -> Vec<Replayed> {
    let events = store.select(selection).await.expect("the store is there");
    store.replay(&events, handlers).await.expect("the store is there")
}

async fn purge(store: &impl Operations, older_than: Duration) -> u64 {
    let old = EventSelector { until: Some(older_than), ..EventSelector::default() };
    let old = store.select(&old).await.expect("the store is there");
    store.purge(&old, older_than).await.expect("the store is there")
}

async fn see(store: &impl Operations, filter: &ListFilter) -> Seen {
    let mut status = store.status().await.expect("the store is there");
    for handler in &mut status.handlers {
        // A time that passes by itself too is never quite the same.
        for count in [&mut handler.waiting, &mut handler.running, &mut handler.dead] {
            count.oldest = count.oldest.map(|age| Duration::from_secs(age.as_secs() / 10));
        }
    }
    let listed = store.list(filter).await.expect("the store is there");
    let listed = listed.into_iter().map(|listed| {
        let delivery = listed.delivery.map(|delivery| DeliverySummary {
            due: None,
            ended_at: delivery.ended_at.map(|_| std::time::UNIX_EPOCH),
            ..delivery
        });
        (listed.event.id, listed.event.generation, delivery)
    });
    Seen { status, listed: listed.collect() }
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
        before: None,
        limit: random.usize(..20),
    }
}
