//! Redelivered events, thin events and their snapshot events, in a stream that processes share.

use std::{sync::Arc, time::Duration};

use router_core::{
    Event,
    delivery::DeliveryOrder,
    testing::{Payload, SyntheticEvent},
};
use router_inbox::{
    JetStreamStore, Store as _,
    conformance::Subject as _,
    operations::EventSelector,
    store::{
        Claim, CompleteResult, DeliveryOutcome, DeliveryState, NewDelivery, NewEvent,
        Operations as _, Redelivery, Stored,
    },
};
use router_test_servers::nats;

use crate::{TestInbox, duplicate, operator, support::wanted};

const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

fn delivery(handler: &str, order: Option<DeliveryOrder>) -> NewDelivery {
    NewDelivery::new(handler).order(order)
}

/// The event with a delivery for the handler `a`.
fn for_a(event: &Event, order: Option<DeliveryOrder>) -> NewEvent {
    NewEvent::new(event.clone(), vec![delivery("a", order)])
}

/// A snapshot event, and the thin event that names it, whose id has the suffix `_thin`.
fn twins(id: &str, object: &str) -> [Event; 2] {
    let snapshot = SyntheticEvent::new("customer.updated").id(id).set("id", object);
    let snapshot: Payload = snapshot.build().expect("the event type is in the catalog");
    let thin = SyntheticEvent::twin_of(&snapshot).id(format!("{id}_thin"));
    let thin = thin.build().expect("the event type is in the catalog");
    [snapshot.event().clone(), thin.event().clone()]
}

async fn store_one(store: &JetStreamStore, new: &NewEvent) -> Stored {
    store.store(std::slice::from_ref(new)).await.expect("the store is available").remove(0)
}

/// Claims the due deliveries. Waits until the store has read the changes of other processes.
async fn claim(store: &JetStreamStore) -> Vec<Claim> {
    loop {
        let claims = store.claim(&wanted(9)).await.expect("the store is available");
        if !claims.is_empty() {
            return claims;
        }
        store.notified().await;
    }
}

async fn complete_all(store: &JetStreamStore, claims: Vec<Claim>, outcome: &DeliveryOutcome) {
    let outcomes: Vec<_> = claims.into_iter().map(|claim| (claim.lease, outcome.clone())).collect();
    let completed = store.complete(&outcomes).await.expect("the store is available");
    assert_eq!(completed, vec![CompleteResult::Recorded; outcomes.len()]);
}

/// Stripe may redeliver an event to two machines at once. Only one of them restarts the dead
/// letter, with the payload that it has received.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_redeliveries_restart_dead_letter_once() {
    let Some(inbox) = TestInbox::create().await else { return };
    let stores = [inbox.reopen().await, inbox.reopen().await];
    for round in 0..30 {
        let id = format!("evt_{round}");
        let [first, second, third] = ["first", "second", "third"].map(|name| {
            let event = SyntheticEvent::new("customer.updated").id(&*id).set("name", name);
            for_a(event.build().expect("the event type is in the catalog").event(), None)
        });
        assert_eq!(store_one(&inbox.store, &first).await, Stored::New);
        let dead = DeliveryOutcome::Dead { error: "no".into() };
        let claims = claim(&inbox.store).await;
        complete_all(&inbox.store, claims, &dead).await;
        let (results, events) = ([second.clone(), third.clone()], [second.event, third.event]);
        let results =
            tokio::join!(store_one(&stores[0], &results[0]), store_one(&stores[1], &results[1]));
        let restarted = Stored::Redelivered(vec![Redelivery::Restarted]);
        let restarted_by = usize::from(results.1 == restarted);
        let expected = match restarted_by {
            0 => (restarted, duplicate()),
            _ => (duplicate(), restarted),
        };
        assert_eq!(results, expected, "round {round}");
        let claim = claim(&inbox.store).await.remove(0);
        assert_eq!(claim.event.as_ref().unwrap().payload(), events[restarted_by].payload());
        complete_all(&inbox.store, vec![claim], &DeliveryOutcome::Done).await;
        let shown = inbox.store.show(&id).await.unwrap();
        assert_eq!(shown[0].redelivered.len(), 1, "a duplicate stores nothing");
    }
}

/// A thin event and its snapshot event arrive at two machines at once. A handler of both gets one
/// delivery.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_twins_are_one_event() {
    let Some(inbox) = TestInbox::create().await else { return };
    let stores = [inbox.reopen().await, inbox.reopen().await];
    let mut thin_was_first = [false; 2];
    for round in 0..30 {
        let id = format!("evt_{round}");
        let twins = twins(&id, "cus_1").map(|event| for_a(&event, None));
        // Which one is sent first alternates.
        let (first, second) = (round % 2, 1 - round % 2);
        let results = tokio::join!(
            store_one(&stores[0], &twins[first]),
            store_one(&stores[1], &twins[second])
        );
        let expected = match results.0 {
            Stored::New => (Stored::New, duplicate()),
            _ => (duplicate(), Stored::New),
        };
        assert_eq!(results, expected, "round {round}");
        let claims = claim(&inbox.store).await;
        assert_eq!(claims.len(), 1, "{claims:?}");
        let is_thin = claims[0].event.as_ref().unwrap().is_thin();
        thin_was_first[usize::from(is_thin)] = true;
        complete_all(&inbox.store, claims, &DeliveryOutcome::Done).await;
        for id in [format!("{id}_thin"), id] {
            let deliveries = inbox.store.deliveries(&id).await.unwrap();
            assert_eq!(deliveries.len(), 1, "{deliveries:?}");
            assert_eq!(deliveries[0].state, DeliveryState::Done);
        }
    }
    assert_eq!(thin_was_first, [true; 2], "both orders occur");
}

/// The recency is remembered in the batch that completes the delivery, also if its lease has
/// expired, and is known to other processes.
#[tokio::test]
async fn late_completion_outdates_older_event() {
    let Some(inbox) = TestInbox::create().await else { return };
    let other = inbox.reopen().await;
    let newest = |id: &str, created: u64| {
        let created = std::time::UNIX_EPOCH + Duration::from_secs(created);
        let event = SyntheticEvent::new("customer.updated").id(id).set("id", "cus_1");
        let event = event.created(created).build().expect("the event type is in the catalog");
        for_a(event.event(), Some(DeliveryOrder::NewestOnly))
    };
    other.store(&[newest("evt_1", 10), newest("evt_2", 20)]).await.unwrap();
    let claims = claim(&inbox.store).await;
    assert_eq!(claims[0].event.as_ref().unwrap().id(), "evt_2");
    inbox.pass(Duration::from_secs(61)).await;
    complete_all(&inbox.store, claims, &DeliveryOutcome::Done).await;
    let claims = claim(&other).await;
    assert_eq!((claims.len(), claims[0].outdated), (1, true));
    // Although it is outdated, its handler has run. This must not lower the recency.
    complete_all(&other, claims, &DeliveryOutcome::Done).await;
    inbox.pass(MONTH).await;
    purge_all(&inbox.store).await;
    other.store(&[newest("evt_3", 15), newest("evt_4", 30)]).await.unwrap();
    for (id, outdated) in [("evt_4", false), ("evt_3", true)] {
        let claims = claim(&inbox.store).await;
        assert_eq!((claims[0].event.as_ref().unwrap().id(), claims[0].outdated), (id, outdated));
        complete_all(&inbox.store, claims, &DeliveryOutcome::Ignored).await;
    }
}

/// A purge leaves no message of an event behind.
#[tokio::test]
async fn purge_deletes_redelivered_payloads_and_aliases() {
    const EVENTS: usize = 3;
    const REDELIVERIES: usize = 4;
    let Some(inbox) = TestInbox::create().await else { return };
    let handlers: Vec<String> = (0..=REDELIVERIES).map(|n| format!("handler_{n}")).collect();
    let mut events = Vec::new();
    for event in 0..EVENTS {
        let [snapshot, thin] = twins(&format!("evt_{event}"), "cus_1");
        for (n, handler) in handlers.iter().enumerate() {
            // The first one is thin, so the snapshot event has an alias too.
            let event = if n % 2 == 0 { thin.clone() } else { snapshot.clone() };
            events.push(NewEvent::new(event, vec![delivery(handler, None)]));
        }
    }
    let stored = inbox.store.store(&events).await.unwrap();
    let is_new = stored.iter().filter(|stored| **stored == Stored::New).count();
    assert_eq!((is_new, stored.len()), (EVENTS, EVENTS * (1 + REDELIVERIES)));
    let shown = inbox.store.show("evt_0").await.unwrap().remove(0);
    assert_eq!((shown.redelivered.len(), shown.deliveries.len()), (REDELIVERIES, handlers.len()));
    for event in 0..EVENTS {
        inbox.store.discard(&format!("evt_{event}_thin"), None).await.unwrap();
    }
    inbox.pass(MONTH).await;
    assert_eq!(purge_all(&inbox.store).await, EVENTS as u64);
    let context = operator(nats::shared().unwrap()).await;
    let name = inbox.url.rsplit('/').next().unwrap();
    for kind in ["event", "copy", "alias", "ended"] {
        let stream = context.get_stream(name).await.unwrap();
        let left = stream.get_last_raw_message_by_subject(&format!("{name}.{kind}.>")).await;
        assert!(left.is_err(), "{left:?}");
    }
    assert_eq!(inbox.store.store(&events[..1]).await.unwrap(), [Stored::New]);
}

/// More messages than fit into one atomic batch: thin events have an alias, and each completion
/// remembers the recency of an object.
#[tokio::test]
async fn more_newest_deliveries_than_a_batch_are_handled() {
    const EVENTS: usize = 600;
    let Some(inbox) = TestInbox::create().await else { return };
    let event = |n: usize| {
        let [_, thin] = twins(&format!("evt_{n}"), &format!("cus_{n}"));
        for_a(&thin, Some(DeliveryOrder::NewestOnly))
    };
    let events: Vec<_> = (0..EVENTS).map(event).collect();
    assert_eq!(inbox.store.store(&events).await.unwrap(), vec![Stored::New; EVENTS]);
    let claims = inbox.store.claim(&wanted(EVENTS)).await.unwrap();
    assert_eq!(claims.len(), EVENTS);
    complete_all(&inbox.store, claims, &DeliveryOutcome::Done).await;
    assert_eq!(inbox.store.status().await.unwrap().finished, EVENTS as u64);
}

async fn purge_all(store: &Arc<JetStreamStore>) -> u64 {
    let all = store.select(&EventSelector::default()).await.expect("the store is available");
    let older_than = Duration::from_secs(5 * 24 * 60 * 60);
    store.purge(&all, older_than).await.expect("the store is available")
}
