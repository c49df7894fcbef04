//! One function per promise of a [`Store`](crate::Store), which panics if the promise is broken.

mod clock;
mod later;
mod limits;
mod operations;
mod ordered;
mod outages;
mod processes;
mod redelivery;
mod trace;
mod wait;
mod workers;

use std::{slice::from_ref, sync::Arc, time::Duration};

use router_core::{Event, delivery::DeliveryOrder, event::StoredEvent, testing::SyntheticEvent};

pub use self::{
    clock::*, later::*, limits::*, operations::*, ordered::*, outages::*, processes::*,
    redelivery::*, trace::*, workers::*,
};
use super::Subject;
use crate::{
    Store as _,
    store::{
        Backlog, Claim, ClaimRequest, CompleteResult, DeliveryOutcome, DeliveryState, HandlerSlots,
        Lease, NewDelivery, NewEvent, Redelivery, Stored,
    },
};

const LEASE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

pub(super) fn event(id: &str) -> Event {
    event_of(SyntheticEvent::new("invoice.paid").id(id))
}

pub(super) fn event_of(event: SyntheticEvent) -> Event {
    event.build().expect("event is valid").event().clone()
}

pub(super) fn new(event: &Event, handlers: &[&str]) -> NewEvent {
    let deliveries = handlers.iter().map(|handler| delivery(*handler, None)).collect();
    NewEvent::new(event.clone(), deliveries)
}

pub(super) fn delivery(handler: impl Into<Arc<str>>, order: Option<DeliveryOrder>) -> NewDelivery {
    NewDelivery { handler: handler.into(), formerly: None, order }
}

/// The result of storing an event again that changes nothing, because its deliveries are in these
/// states.
fn duplicate(states: &[DeliveryState]) -> Stored {
    Stored::Redelivered(states.iter().copied().map(Redelivery::Unchanged).collect())
}

pub(super) fn claim_request(handlers: &[&str], limit: usize) -> ClaimRequest {
    let handlers = handlers.iter().map(|handler| HandlerSlots::new(*handler, limit)).collect();
    ClaimRequest::new(handlers, limit, LEASE)
}

async fn store(subject: &impl Subject, events: &[NewEvent]) -> Vec<Stored> {
    subject.store().store(events).await.expect("store is available")
}

async fn claim(subject: &impl Subject, handlers: &[&str], limit: usize) -> Vec<Claim> {
    subject.store().claim(&claim_request(handlers, limit)).await.expect("store is available")
}

/// Claims the only due delivery of the handler.
async fn claim_one(subject: &impl Subject, handler: &str) -> Claim {
    let mut claims = claim(subject, &[handler], 2).await;
    assert_eq!(claims.len(), 1, "expected exactly one due delivery: {claims:?}");
    claims.remove(0)
}

async fn assert_nothing_due(subject: &impl Subject, handler: &str) {
    let claims = claim(subject, &[handler], 9).await;
    assert!(claims.is_empty(), "expected no due delivery: {claims:?}");
}

async fn complete(
    subject: &impl Subject,
    lease: &Lease,
    outcome: DeliveryOutcome,
) -> CompleteResult {
    let outcomes = [(lease.clone(), outcome)];
    let completed = subject.store().complete(&outcomes).await.expect("store is available");
    assert_eq!(completed.len(), 1);
    completed[0]
}

/// Returns the state and the number of attempts of the event's only delivery.
async fn state(subject: &impl Subject, id: &str) -> (DeliveryState, u32) {
    let deliveries = subject.store().deliveries(id).await.expect("store is available");
    assert_eq!(deliveries.len(), 1, "{deliveries:?}");
    (deliveries[0].state, deliveries[0].attempts)
}

fn retry_in(seconds: u64) -> DeliveryOutcome {
    DeliveryOutcome::Retry {
        wait: Duration::from_secs(seconds),
        error: "the warehouse is down".into(),
    }
}

/// An event that is stored again for the same handlers is a duplicate: within a batch, and after
/// its deliveries have finished.
pub async fn event_stored_again_is_duplicate(subject: &impl Subject) {
    let (first, second) = (event("evt_1"), event("evt_2"));
    assert_eq!(store(subject, &[new(&first, &["a", "b"])]).await, [Stored::New]);
    let batch = [new(&first, &["a", "b"]), new(&second, &["a"]), new(&second, &["a"])];
    let results = store(subject, &batch).await;
    let waiting = [DeliveryState::Waiting];
    assert_eq!(results, [duplicate(&[waiting[0]; 2]), Stored::New, duplicate(&waiting)]);
    assert_eq!(claim(subject, &["a", "b"], 9).await.len(), 3);
    // It is also a duplicate once its deliveries are done.
    subject.pass(LEASE + SECOND).await;
    for Claim { lease, .. } in claim(subject, &["a", "b"], 9).await {
        complete(subject, &lease, DeliveryOutcome::Done).await;
    }
    let deliveries = subject.store().deliveries("evt_1").await.expect("store is available");
    let states: Vec<_> = deliveries.iter().map(|delivery| delivery.state).collect();
    assert_eq!(store(subject, &[new(&first, &["a", "b"])]).await, [duplicate(&states)]);
    assert_nothing_due(subject, "a").await;
}

/// Events with the same id are different events if their endpoint, account or generation differs.
/// An empty account is no account.
pub async fn event_key_includes_endpoint_account_generation(subject: &impl Subject) {
    let event = event("evt_1");
    let other_endpoint =
        StoredEvent { endpoint: "connect".into(), ..StoredEvent::from_event(&event) };
    let replayed = StoredEvent { generation: 1, ..StoredEvent::from_event(&event) };
    let other_account = event_of(SyntheticEvent::new("invoice.paid").id("evt_1").account("acct_1"));
    let from_store = |kept| Event::from_store(kept).expect("event is valid");
    let events = [event, from_store(other_endpoint), from_store(replayed), other_account];
    for event in &events {
        assert_eq!(store(subject, &[new(event, &["a"])]).await, [Stored::New], "{}", event.key());
    }
    let empty_account = event_of(SyntheticEvent::new("invoice.paid").id("evt_1").account(""));
    let stored_again = store(subject, &[new(&empty_account, &["a"])]).await;
    assert_eq!(stored_again, [duplicate(&[DeliveryState::Waiting])]);
    let deliveries = subject.store().deliveries("evt_1").await.expect("store is available");
    let keys: Vec<_> = deliveries
        .iter()
        .map(|delivery| (&*delivery.endpoint, delivery.account.as_deref(), delivery.generation))
        .collect();
    let expected = [
        ("connect", None, 0),
        ("default", None, 0),
        ("default", None, 1),
        ("default", Some("acct_1"), 0),
    ];
    assert_eq!(keys, expected);
    let mut undelivered: Vec<_> = events.iter().map(Event::key).collect();
    for claim in claim(subject, &["a"], 9).await {
        let key = claim.event.expect("stored event is readable").key();
        let position = undelivered.iter().position(|other| *other == key);
        undelivered.remove(position.expect("event was stored and not delivered before"));
    }
    assert!(undelivered.is_empty(), "not delivered: {undelivered:?}");
}

/// An event without handlers is stored and deduplicated like any other, because it is answered with
/// 200 as well. It has no delivery to claim.
pub async fn unhandled_event_is_stored_but_not_claimable(subject: &impl Subject) {
    let event = event("evt_1");
    assert_eq!(store(subject, &[new(&event, &[])]).await, [Stored::New]);
    assert_nothing_due(subject, "a").await;
    assert_eq!(store(subject, &[new(&event, &[])]).await, [duplicate(&[])]);
    assert_nothing_due(subject, "a").await;
}

/// A claimed event has the payload that was stored, byte for byte, and the same key.
pub async fn claimed_event_equals_stored_event(subject: &impl Subject) {
    let text = "with \u{0}\"quotes\", a \u{1F4B6} and\nlines";
    let event = event_of(SyntheticEvent::new("customer.created").id("evt_1").set("name", text));
    let large = "l".repeat(900_000);
    let large = SyntheticEvent::new("customer.created").id("evt_2").set("name", large);
    let large = event_of(large);
    for event in [&event, &large] {
        store(subject, &[new(event, &["a"])]).await;
        let claimed = claim_one(subject, "a").await.event.expect("stored event is readable");
        assert_eq!(claimed.payload(), event.payload());
        assert_eq!(claimed.key(), event.key());
        assert_eq!(claimed.signed_at(), event.signed_at());
    }
}

/// A claim returns no more deliveries than its limits allow, in total and per handler.
pub async fn claim_respects_limits(subject: &impl Subject) {
    let events: Vec<_> =
        (0..5).map(|number| new(&event(&format!("evt_{number}")), &["a", "b"])).collect();
    store(subject, &events).await;
    assert_eq!(claim(subject, &["a", "b"], 3).await.len(), 3);
    let handlers = vec![HandlerSlots::new("a", 1), HandlerSlots::new("b", 9)];
    let rest = ClaimRequest::new(handlers, 9, LEASE);
    let claims = subject.store().claim(&rest).await.expect("store is available");
    assert!(claims.iter().filter(|claim| *claim.lease.handler == *"a").count() <= 1, "{claims:?}");
    let none = ClaimRequest { limit: 0, ..rest };
    assert!(subject.store().claim(&none).await.expect("store is available").is_empty());
}

/// A claim returns deliveries only of the handlers it names. Other handlers may belong to another
/// program, or to a newer version.
pub async fn claim_skips_other_handlers(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["new", "old"])]).await;
    assert_eq!(&*claim_one(subject, "old").await.lease.handler, "old");
    assert_nothing_due(subject, "old").await;
    assert!(claim(subject, &[], 9).await.is_empty());
    assert_eq!(&*claim_one(subject, "new").await.lease.handler, "new");
}

/// Deliveries are claimed in the order in which they became due, across handlers.
pub async fn claim_takes_longest_due_first(subject: &impl Subject) {
    for (id, handler) in [("evt_1", "b"), ("evt_2", "a"), ("evt_3", "b")] {
        store(subject, &[new(&event(id), &[handler])]).await;
        subject.pass(SECOND).await;
    }
    let first = claim(subject, &["a", "b"], 1).await.remove(0);
    assert_eq!(first.event.expect("stored event is readable").id(), "evt_1");
    complete(subject, &first.lease, retry_in(0)).await;
    subject.pass(SECOND).await;
    let mut order = Vec::new();
    for _ in 0..3 {
        let claims = claim(subject, &["a", "b"], 1).await;
        let event = claims[0].event.as_ref().expect("stored event is readable");
        order.push(event.id().to_owned());
    }
    assert_eq!(order, ["evt_2", "evt_3", "evt_1"], "evt_1 became due again after the others");
}

/// A claim for fewer deliveries than are due takes them from the handlers in turn, beginning with
/// those that have the fewest in flight. The oldest deliveries of one handler thus do not delay
/// the others.
pub async fn claim_is_spread_over_handlers(subject: &impl Subject) {
    for (handler, number) in [("a", 0..9), ("b", 10..19), ("c", 20..21), ("d", 30..34)] {
        for number in number {
            store(subject, &[new(&event(&format!("evt_{number}")), &[handler])]).await;
        }
        subject.pass(SECOND).await;
    }
    let claim = async |limit, in_flight: [(&str, usize); 4]| {
        let slots = |(handler, in_flight)| HandlerSlots {
            in_flight,
            ..HandlerSlots::new(handler, if handler == "d" { 2 } else { 99 })
        };
        let handlers = in_flight.into_iter().map(slots).collect();
        let request = ClaimRequest::new(handlers, limit, LEASE);
        let claims = subject.store().claim(&request).await.expect("store is available");
        let handlers: Vec<_> = claims.iter().map(|claim| claim.lease.handler.to_string()).collect();
        handlers.concat()
    };
    // The order of the claims is that of their due times.
    assert_eq!(claim(3, [("a", 0), ("b", 0), ("c", 0), ("d", 0)]).await, "abc");
    assert_eq!(claim(3, [("a", 5), ("b", 3), ("c", 0), ("d", 4)]).await, "bbd");
    assert_eq!(claim(9, [("a", 1), ("b", 1), ("c", 1), ("d", 1)]).await, "aaaabbbdd");
    assert_eq!(claim(99, [("a", 9), ("b", 0), ("c", 0), ("d", 0)]).await, "aaaabbbd");
    // A handler whose name the store does not know changes nothing.
    assert_eq!(claim(99, [("a", 0), ("b", 0), ("e", 0), ("d", 0)]).await, "");
}

/// A claimed delivery cannot be claimed again until its lease expires.
pub async fn leased_delivery_is_not_claimable(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    let claim = claim_one(subject, "a").await;
    assert_eq!((claim.attempt, claim.lease_expired), (1, false));
    assert_eq!(
        state(subject, "evt_1").await,
        (DeliveryState::Running, 1),
        "the attempt counts from the claim on"
    );
    assert_nothing_due(subject, "a").await;
    subject.pass(LEASE - Duration::from_secs(10)).await;
    assert_nothing_due(subject, "a").await;
}

/// A finished delivery is never claimed again, whatever its outcome, and its outcome cannot change.
pub async fn finished_delivery_is_not_claimable(subject: &impl Subject) {
    let dead = DeliveryOutcome::Dead { error: "no such order".into() };
    let outcomes = [
        ("evt_1", DeliveryOutcome::Done, DeliveryState::Done),
        ("evt_2", DeliveryOutcome::Ignored, DeliveryState::Ignored),
        ("evt_3", dead, DeliveryState::Dead),
    ];
    for (id, outcome, finished) in outcomes {
        store(subject, &[new(&event(id), &["a"])]).await;
        let lease = claim_one(subject, "a").await.lease;
        assert_eq!(complete(subject, &lease, outcome).await, CompleteResult::Recorded);
        assert_eq!(state(subject, id).await, (finished, 1));
        assert_eq!(complete(subject, &lease, retry_in(0)).await, CompleteResult::LeaseLost);
        subject.pass(LEASE * 10).await;
        assert_nothing_due(subject, "a").await;
    }
    let deliveries = subject.store().deliveries("evt_3").await.expect("store is available");
    assert_eq!(deliveries[0].error.as_deref(), Some("no such order"));
}

/// A failed delivery is due again after its backoff and not before, with the next attempt number.
pub async fn failed_delivery_is_claimable_after_backoff(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    let mut last = 0;
    for attempt in 1..4 {
        let claim = claim_one(subject, "a").await;
        assert_eq!((claim.attempt, claim.lease_expired), (attempt, false));
        assert!(claim.lease.token > last, "tokens increase");
        last = claim.lease.token;
        assert_eq!(complete(subject, &claim.lease, retry_in(600)).await, CompleteResult::Recorded);
        assert_eq!(state(subject, "evt_1").await, (DeliveryState::Waiting, attempt));
        subject.pass(Duration::from_secs(590)).await;
        assert_nothing_due(subject, "a").await;
        subject.pass(Duration::from_secs(10)).await;
    }
    let deliveries = subject.store().deliveries("evt_1").await.expect("store is available");
    assert_eq!(deliveries[0].error.as_deref(), Some("the warehouse is down"));
}

/// The attempt of a released delivery is not counted. The delivery is due after the delay.
pub async fn released_delivery_costs_no_attempt(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    let first = claim_one(subject, "a").await;
    assert_eq!(
        complete(subject, &first.lease, DeliveryOutcome::RELEASED).await,
        CompleteResult::Recorded
    );
    assert_eq!(state(subject, "evt_1").await, (DeliveryState::Waiting, 0));
    let second = claim_one(subject, "a").await;
    assert_eq!((second.attempt, second.lease_expired), (1, false));
    assert_eq!(
        complete(subject, &first.lease, DeliveryOutcome::Done).await,
        CompleteResult::LeaseLost
    );
    let wait = Duration::from_secs(600);
    complete(subject, &second.lease, DeliveryOutcome::Released { wait }).await;
    subject.pass(Duration::from_secs(590)).await;
    assert_nothing_due(subject, "a").await;
    subject.pass(Duration::from_secs(10)).await;
    assert_eq!(claim_one(subject, "a").await.attempt, 1);
}

/// A delivery whose lease has expired is claimed as interrupted. The attempt still counts, so that
/// a handler which crashes its process is not run forever.
pub async fn expired_lease_costs_one_attempt(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    for attempt in 1..4 {
        let started = claim_one(subject, "a").await;
        assert_eq!((started.attempt, started.lease_expired), (attempt, false));
        subject.pass(LEASE).await;
        let expired = claim_one(subject, "a").await;
        assert_eq!((expired.attempt, expired.lease_expired), (attempt, true));
        // The lease of the second claim may expire as well.
        subject.pass(LEASE).await;
        let expired_again = claim_one(subject, "a").await;
        assert_eq!((expired_again.attempt, expired_again.lease_expired), (attempt, true));
        assert_eq!(
            complete(subject, &expired_again.lease, retry_in(0)).await,
            CompleteResult::Recorded
        );
    }
}

/// Extending a lease postpones its expiry, and reports whether it was still held.
pub async fn extended_lease_does_not_expire(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"]), new(&event("evt_2"), &["b"])]).await;
    let (held, lost) = (claim_one(subject, "a").await.lease, claim_one(subject, "b").await.lease);
    subject.pass(LEASE / 2).await;
    let extended = subject.store().extend(from_ref(&held), LEASE).await;
    assert_eq!(extended.expect("store is available"), [true]);
    subject.pass(LEASE / 2 + SECOND).await;
    assert_nothing_due(subject, "a").await;
    assert!(claim_one(subject, "b").await.lease_expired);
    let extended = subject.store().extend(&[lost, held.clone()], LEASE).await;
    assert_eq!(extended.expect("store is available"), [false, true]);
    assert_eq!(complete(subject, &held, DeliveryOutcome::Done).await, CompleteResult::Recorded);
    let extended = subject.store().extend(&[held], LEASE).await;
    assert_eq!(extended.expect("store is available"), [false], "the delivery has finished");
}

/// Once another worker has claimed the delivery, the former lease can neither be extended nor
/// completed: its fencing token is stale.
pub async fn lost_lease_cannot_write(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    let stale = claim_one(subject, "a").await.lease;
    subject.pass(LEASE).await;
    let other = claim_one(subject, "a").await.lease;
    for outcome in [
        DeliveryOutcome::Done,
        retry_in(0),
        DeliveryOutcome::RELEASED,
        DeliveryOutcome::Dead { error: "no".into() },
    ] {
        assert_eq!(complete(subject, &stale, outcome).await, CompleteResult::LeaseLost);
    }
    let extended = subject.store().extend(from_ref(&stale), LEASE).await;
    assert_eq!(extended.expect("store is available"), [false]);
    assert_eq!(state(subject, "evt_1").await, (DeliveryState::Running, 1));
    // Valid leases in the same call are completed.
    let outcomes = [(stale, DeliveryOutcome::Done), (other, DeliveryOutcome::Ignored)];
    let completed = subject.store().complete(&outcomes).await.expect("store is available");
    assert_eq!(completed, [CompleteResult::LeaseLost, CompleteResult::Recorded]);
    assert_eq!(state(subject, "evt_1").await, (DeliveryState::Ignored, 1));
}

/// An expired lease can still be completed if nobody has claimed the delivery since, so that the
/// handler is not run again needlessly.
pub async fn expired_lease_completes_if_not_reclaimed(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    let lease = claim_one(subject, "a").await.lease;
    subject.pass(LEASE * 3).await;
    assert_eq!(complete(subject, &lease, DeliveryOutcome::Done).await, CompleteResult::Recorded);
    assert_nothing_due(subject, "a").await;
}

/// The backlog counts waiting (including blocked) and running deliveries, not finished ones.
pub async fn backlog_counts_unfinished_deliveries(subject: &impl Subject) {
    let ordered = |event: &Event| {
        NewEvent::new(event.clone(), vec![delivery("in order", Some(DeliveryOrder::OldestFirst))])
    };
    store(subject, &[new(&event("evt_1"), &["a", "b"])]).await;
    subject.pass(Duration::from_secs(60)).await;
    store(subject, &[new(&event("evt_2"), &["a"]), ordered(&event("evt_3"))]).await;
    let same_object = StoredEvent { generation: 1, ..StoredEvent::from_event(&event("evt_3")) };
    let same_object = Event::from_store(same_object).expect("event is valid");
    store(subject, &[ordered(&same_object)]).await;
    let claim = claim_one(subject, "b").await;
    claim_one(subject, "in order").await;
    let read_backlog = async || subject.store().backlog().await.expect("store is available");
    let counts = |backlog: &[Backlog]| -> Vec<_> {
        let entries = backlog.iter();
        entries.map(|entry| (entry.handler.to_string(), entry.waiting, entry.running)).collect()
    };
    let backlog = read_backlog().await;
    let expected = [("a".to_owned(), 2, 0), ("b".to_owned(), 0, 1), ("in order".to_owned(), 1, 1)];
    assert_eq!(counts(&backlog), expected);
    let minutes = |age: Duration| age.as_secs() / 60;
    assert_eq!(backlog.iter().map(|entry| minutes(entry.oldest)).collect::<Vec<_>>(), [1, 1, 0]);
    complete(subject, &claim.lease, DeliveryOutcome::Dead { error: "never".into() }).await;
    assert_eq!(counts(&read_backlog().await), [expected[0].clone(), expected[2].clone()]);
}
