//! Each promise of a store, as a function that fails if it is broken.

mod operations;
mod ordered;

use std::{slice::from_ref, sync::Arc, time::Duration};

use router_core::{Event, event::StoredEvent, testing::SyntheticEvent};

pub use self::{operations::*, ordered::*};
use super::Subject;
use crate::{
    Backlog, Claim, ClaimRequest, Completed, DeliveryOutcome, DeliveryState, Lease, NewDelivery,
    NewEvent, Store as _, Stored,
};

const LEASE: Duration = Duration::from_secs(60);
const A_MOMENT: Duration = Duration::from_secs(1);

pub(super) fn event(id: &str) -> Event {
    event_of(SyntheticEvent::new("invoice.paid").id(id))
}

pub(super) fn event_of(event: SyntheticEvent) -> Event {
    event.build().expect("there is such an event").event().clone()
}

pub(super) fn new(event: &Event, handlers: &[&str]) -> NewEvent {
    let delivery = |handler: &&str| NewDelivery { handler: (*handler).into(), ordered: false };
    NewEvent { event: event.clone(), deliveries: handlers.iter().map(delivery).collect() }
}

pub(super) fn wanted(handlers: &[&str], limit: usize) -> ClaimRequest {
    let handlers = handlers.iter().map(|handler| (Arc::from(*handler), limit)).collect();
    ClaimRequest { handlers, limit, lease: LEASE }
}

async fn store(subject: &impl Subject, events: &[NewEvent]) -> Vec<Stored> {
    subject.store().store(events).await.expect("the store is there")
}

async fn claim(subject: &impl Subject, handlers: &[&str], limit: usize) -> Vec<Claim> {
    subject.store().claim(&wanted(handlers, limit)).await.expect("the store is there")
}

/// The one delivery of the handler that can be claimed.
async fn claim_one(subject: &impl Subject, handler: &str) -> Claim {
    let mut claims = claim(subject, &[handler], 2).await;
    assert_eq!(claims.len(), 1, "one is due: {claims:?}");
    claims.remove(0)
}

async fn claims_nothing(subject: &impl Subject, handler: &str) {
    let claims = claim(subject, &[handler], 9).await;
    assert!(claims.is_empty(), "nothing is due: {claims:?}");
}

async fn complete(subject: &impl Subject, lease: &Lease, end: DeliveryOutcome) -> Completed {
    let ends = [(lease.clone(), end)];
    let completed = subject.store().complete(&ends).await.expect("the store is there");
    assert_eq!(completed.len(), 1);
    completed[0]
}

async fn state(subject: &impl Subject, id: &str) -> (DeliveryState, u32) {
    let kept = subject.store().deliveries(id).await.expect("the store is there");
    assert_eq!(kept.len(), 1, "{kept:?}");
    (kept[0].state, kept[0].attempts)
}

fn retry_in(seconds: u64) -> DeliveryOutcome {
    DeliveryOutcome::Retry {
        wait: Duration::from_secs(seconds),
        error: "the warehouse is down".into(),
    }
}

/// However often it comes, also beside others, and whatever handlers there are by then.
pub async fn an_event_is_stored_once(subject: &impl Subject) {
    let (one, two) = (event("evt_1"), event("evt_2"));
    assert_eq!(store(subject, &[new(&one, &["a", "b"])]).await, [Stored::New]);
    let again = [new(&one, &["a", "b", "c"]), new(&two, &["a"]), new(&two, &["a"])];
    let told = store(subject, &again).await;
    assert_eq!(told, [Stored::Duplicate, Stored::New, Stored::Duplicate]);
    assert_eq!(claim(subject, &["a", "b", "c"], 9).await.len(), 3);
    // Nor once it is done.
    subject.pass(LEASE + A_MOMENT).await;
    for Claim { lease, .. } in claim(subject, &["a", "b"], 9).await {
        complete(subject, &lease, DeliveryOutcome::Done).await;
    }
    assert_eq!(store(subject, &[new(&one, &["a", "b"])]).await, [Stored::Duplicate]);
    claims_nothing(subject, "a").await;
}

/// The id alone does not say which event it is.
pub async fn an_event_of_another_endpoint_account_or_generation_is_another(subject: &impl Subject) {
    let event = event("evt_1");
    let elsewhere = StoredEvent { endpoint: "connect".into(), ..StoredEvent::of(&event) };
    let replayed = StoredEvent { generation: 1, ..StoredEvent::of(&event) };
    let of_account = event_of(SyntheticEvent::new("invoice.paid").id("evt_1").account("acct_1"));
    let from_store = |kept| Event::from_store(kept).expect("it was one");
    let events = [event, from_store(elsewhere), from_store(replayed), of_account];
    for event in &events {
        assert_eq!(store(subject, &[new(event, &["a"])]).await, [Stored::New], "{}", event.key());
    }
    let kept = subject.store().deliveries("evt_1").await.expect("the store is there");
    let kept: Vec<_> =
        kept.iter().map(|one| (&*one.endpoint, one.account.as_deref(), one.generation)).collect();
    let all = [
        ("connect", None, 0),
        ("default", None, 0),
        ("default", None, 1),
        ("default", Some("acct_1"), 0),
    ];
    assert_eq!(kept, all);
    let mut keys: Vec<_> = events.iter().map(Event::key).collect();
    for claim in claim(subject, &["a"], 9).await {
        let key = claim.event.expect("it is as it was stored").key();
        keys.remove(keys.iter().position(|one| *one == key).expect("it was stored, once"));
    }
    assert!(keys.is_empty(), "each is delivered: {keys:?}");
}

/// It is answered with 200 all the same, and so must not be there twice.
pub async fn an_event_without_handlers_is_kept_and_claimed_by_nobody(subject: &impl Subject) {
    let event = event("evt_1");
    assert_eq!(store(subject, &[new(&event, &[])]).await, [Stored::New]);
    claims_nothing(subject, "a").await;
    assert_eq!(store(subject, &[new(&event, &["a"])]).await, [Stored::Duplicate]);
    claims_nothing(subject, "a").await;
}

/// Byte for byte.
pub async fn an_event_comes_out_as_it_went_in(subject: &impl Subject) {
    let text = "with \u{0}\"quotes\", a \u{1F4B6} and\nlines";
    let event = event_of(SyntheticEvent::new("customer.created").id("evt_1").set("name", text));
    let large = "l".repeat(900_000);
    let large = SyntheticEvent::new("customer.created").id("evt_2").set("name", large);
    let large = event_of(large);
    for event in [&event, &large] {
        store(subject, &[new(event, &["a"])]).await;
        let came = claim_one(subject, "a").await.event.expect("it is as it was stored");
        assert_eq!(came.payload(), event.payload());
        assert_eq!(came.key(), event.key());
        assert_eq!(came.signed_at(), event.signed_at());
    }
}

/// In all, and of each handler.
pub async fn a_claim_takes_no_more_than_it_asks_for(subject: &impl Subject) {
    let events: Vec<_> = (0..5).map(|n| new(&event(&format!("evt_{n}")), &["a", "b"])).collect();
    store(subject, &events).await;
    assert_eq!(claim(subject, &["a", "b"], 3).await.len(), 3);
    let handlers = vec![("a".into(), 1), ("b".into(), 9)];
    let rest = ClaimRequest { handlers, limit: 9, lease: LEASE };
    let claims = subject.store().claim(&rest).await.expect("the store is there");
    assert!(claims.iter().filter(|claim| *claim.lease.handler == *"a").count() <= 1, "{claims:?}");
    let none = ClaimRequest { limit: 0, ..rest };
    assert!(subject.store().claim(&none).await.expect("the store is there").is_empty());
}

/// They are another program's, or a newer one's.
pub async fn a_claim_leaves_other_handlers_deliveries_alone(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["new", "old"])]).await;
    assert_eq!(&*claim_one(subject, "old").await.lease.handler, "old");
    claims_nothing(subject, "old").await;
    assert!(claim(subject, &[], 9).await.is_empty());
    assert_eq!(&*claim_one(subject, "new").await.lease.handler, "new");
}

/// Whichever handler it is for.
pub async fn what_has_been_due_longest_is_claimed_first(subject: &impl Subject) {
    for (id, handler) in [("evt_1", "b"), ("evt_2", "a"), ("evt_3", "b")] {
        store(subject, &[new(&event(id), &[handler])]).await;
        subject.pass(A_MOMENT).await;
    }
    let first = claim(subject, &["a", "b"], 1).await.remove(0);
    assert_eq!(first.event.expect("it is as it was stored").id(), "evt_1");
    complete(subject, &first.lease, retry_in(0)).await;
    subject.pass(A_MOMENT).await;
    let mut went = Vec::new();
    for _ in 0..3 {
        let claims = claim(subject, &["a", "b"], 1).await;
        let event = claims[0].event.as_ref().expect("it is as it was stored");
        went.push(event.id().to_owned());
    }
    assert_eq!(went, ["evt_2", "evt_3", "evt_1"], "the first is due since its last attempt");
}

/// As long as the lease lasts.
pub async fn what_is_claimed_is_claimed_by_nobody_else(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    let claim = claim_one(subject, "a").await;
    assert_eq!((claim.attempt, claim.lease_expired), (1, false));
    assert_eq!(
        state(subject, "evt_1").await,
        (DeliveryState::Running, 1),
        "counted before it runs"
    );
    claims_nothing(subject, "a").await;
    subject.pass(LEASE - Duration::from_secs(10)).await;
    claims_nothing(subject, "a").await;
}

/// However it has ended, and however long ago.
pub async fn what_has_ended_is_not_claimed_again(subject: &impl Subject) {
    let dead = DeliveryOutcome::Dead { error: "no such order".into() };
    let ends = [
        ("evt_1", DeliveryOutcome::Done, DeliveryState::Done),
        ("evt_2", DeliveryOutcome::Ignored, DeliveryState::Ignored),
        ("evt_3", dead, DeliveryState::Dead),
    ];
    for (id, end, ended) in ends {
        store(subject, &[new(&event(id), &["a"])]).await;
        let lease = claim_one(subject, "a").await.lease;
        assert_eq!(complete(subject, &lease, end).await, Completed::Recorded);
        assert_eq!(state(subject, id).await, (ended, 1));
        assert_eq!(complete(subject, &lease, retry_in(0)).await, Completed::LeaseLost);
        subject.pass(LEASE * 10).await;
        claims_nothing(subject, "a").await;
    }
    let kept = subject.store().deliveries("evt_3").await.expect("the store is there");
    assert_eq!(kept[0].error.as_deref(), Some("no such order"));
}

/// Not before, and with the next attempt.
pub async fn what_failed_is_claimed_again_once_its_wait_is_over(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    let mut last = 0;
    for attempt in 1..4 {
        let claim = claim_one(subject, "a").await;
        assert_eq!((claim.attempt, claim.lease_expired), (attempt, false));
        assert!(claim.lease.token > last, "each lease has a greater token");
        last = claim.lease.token;
        assert_eq!(complete(subject, &claim.lease, retry_in(600)).await, Completed::Recorded);
        assert_eq!(state(subject, "evt_1").await, (DeliveryState::Waiting, attempt));
        subject.pass(Duration::from_secs(590)).await;
        claims_nothing(subject, "a").await;
        subject.pass(Duration::from_secs(10)).await;
    }
    let kept = subject.store().deliveries("evt_1").await.expect("the store is there");
    assert_eq!(kept[0].error.as_deref(), Some("the warehouse is down"));
}

/// It is due at once, and the next attempt has the number that this one had.
pub async fn what_is_given_back_has_cost_no_attempt(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    let first = claim_one(subject, "a").await;
    assert_eq!(
        complete(subject, &first.lease, DeliveryOutcome::Released).await,
        Completed::Recorded
    );
    assert_eq!(state(subject, "evt_1").await, (DeliveryState::Waiting, 0));
    let second = claim_one(subject, "a").await;
    assert_eq!((second.attempt, second.lease_expired), (1, false));
    assert_eq!(complete(subject, &first.lease, DeliveryOutcome::Done).await, Completed::LeaseLost);
}

/// What ends its process must not run for ever, nor again at once.
pub async fn a_lease_that_ran_out_is_claimed_as_interrupted_and_costs_one_attempt(
    subject: &impl Subject,
) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    for attempt in 1..4 {
        let begun = claim_one(subject, "a").await;
        assert_eq!((begun.attempt, begun.lease_expired), (attempt, false));
        subject.pass(LEASE).await;
        let found = claim_one(subject, "a").await;
        assert_eq!((found.attempt, found.lease_expired), (attempt, true));
        // It can happen to whoever has found it, too.
        subject.pass(LEASE).await;
        let found = claim_one(subject, "a").await;
        assert_eq!((found.attempt, found.lease_expired), (attempt, true));
        assert_eq!(complete(subject, &found.lease, retry_in(0)).await, Completed::Recorded);
    }
}

/// By a heartbeat.
pub async fn a_lease_that_is_extended_does_not_run_out(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"]), new(&event("evt_2"), &["b"])]).await;
    let (held, lost) = (claim_one(subject, "a").await.lease, claim_one(subject, "b").await.lease);
    subject.pass(LEASE / 2).await;
    let extended = subject.store().extend(from_ref(&held), LEASE).await;
    assert_eq!(extended.expect("the store is there"), [true]);
    subject.pass(LEASE / 2 + A_MOMENT).await;
    claims_nothing(subject, "a").await;
    assert!(claim_one(subject, "b").await.lease_expired);
    let extended = subject.store().extend(&[lost, held.clone()], LEASE).await;
    assert_eq!(extended.expect("the store is there"), [false, true]);
    assert_eq!(complete(subject, &held, DeliveryOutcome::Done).await, Completed::Recorded);
    let extended = subject.store().extend(&[held], LEASE).await;
    assert_eq!(extended.expect("the store is there"), [false], "it has ended");
}

/// It slept past its lease, and somebody else has run the handler since.
pub async fn who_has_lost_a_lease_can_write_nothing(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    let slept = claim_one(subject, "a").await.lease;
    subject.pass(LEASE).await;
    let other = claim_one(subject, "a").await.lease;
    for end in [
        DeliveryOutcome::Done,
        retry_in(0),
        DeliveryOutcome::Released,
        DeliveryOutcome::Dead { error: "no".into() },
    ] {
        assert_eq!(complete(subject, &slept, end).await, Completed::LeaseLost);
    }
    let extended = subject.store().extend(from_ref(&slept), LEASE).await;
    assert_eq!(extended.expect("the store is there"), [false]);
    assert_eq!(state(subject, "evt_1").await, (DeliveryState::Running, 1));
    // Those beside it are recorded.
    let ends = [(slept, DeliveryOutcome::Done), (other, DeliveryOutcome::Ignored)];
    let completed = subject.store().complete(&ends).await.expect("the store is there");
    assert_eq!(completed, [Completed::LeaseLost, Completed::Recorded]);
    assert_eq!(state(subject, "evt_1").await, (DeliveryState::Ignored, 1));
}

/// To run it once more would help nobody.
pub async fn a_late_end_counts_while_nobody_else_has_claimed(subject: &impl Subject) {
    store(subject, &[new(&event("evt_1"), &["a"])]).await;
    let lease = claim_one(subject, "a").await.lease;
    subject.pass(LEASE * 3).await;
    assert_eq!(complete(subject, &lease, DeliveryOutcome::Done).await, Completed::Recorded);
    claims_nothing(subject, "a").await;
}

/// What has ended does not count, and what waits behind another of its object does.
pub async fn the_backlog_is_what_has_not_ended(subject: &impl Subject) {
    let ordered = |event: &Event| NewEvent {
        event: event.clone(),
        deliveries: vec![NewDelivery { handler: "in order".into(), ordered: true }],
    };
    store(subject, &[new(&event("evt_1"), &["a", "b"])]).await;
    subject.pass(Duration::from_secs(60)).await;
    store(subject, &[new(&event("evt_2"), &["a"]), ordered(&event("evt_3"))]).await;
    let of_one_object = StoredEvent { generation: 1, ..StoredEvent::of(&event("evt_3")) };
    let of_one_object = Event::from_store(of_one_object).expect("it was one");
    store(subject, &[ordered(&of_one_object)]).await;
    let claim = claim_one(subject, "b").await;
    claim_one(subject, "in order").await;
    let told = async || subject.store().backlog().await.expect("the store is there");
    let counted = |backlog: &[Backlog]| -> Vec<_> {
        backlog.iter().map(|one| (one.handler.to_string(), one.waiting, one.running)).collect()
    };
    let backlog = told().await;
    let all = [("a".to_owned(), 2, 0), ("b".to_owned(), 0, 1), ("in order".to_owned(), 1, 1)];
    assert_eq!(counted(&backlog), all);
    let minutes = |age: Duration| age.as_secs() / 60;
    assert_eq!(backlog.iter().map(|one| minutes(one.oldest)).collect::<Vec<_>>(), [1, 1, 0]);
    complete(subject, &claim.lease, DeliveryOutcome::Dead { error: "never".into() }).await;
    assert_eq!(counted(&told().await), [all[0].clone(), all[2].clone()]);
}
