//! Promises about events that are stored again.

use std::time::UNIX_EPOCH;

use router_core::{
    Event,
    delivery::DeliveryOrder,
    event::StoredEvent,
    testing::{Payload, SyntheticEvent},
};

use super::{
    LEASE, SECOND, assert_nothing_due, claim, claim_one, complete, delivery, duplicate, event,
    event_of, new, retry_in, state, store,
};
use crate::{
    Store as _,
    conformance::Subject,
    store::{Claim, CompleteResult, DeliveryOutcome, DeliveryState, NewEvent, Redelivery, Stored},
};

/// The event in another API version: with the same id, but with another payload.
fn in_version(id: &str, version: &str) -> Event {
    event_of(SyntheticEvent::new("invoice.paid").id(id).api_version(version).seed(1))
}

fn version(claim: &Claim) -> Option<&str> {
    claim.event.as_ref().expect("stored event is readable").api_version()
}

fn dead() -> DeliveryOutcome {
    DeliveryOutcome::Dead { error: "missing field `amount`".into() }
}

/// A redelivered event leaves a delivery unchanged that is waiting, running, done, ignored or
/// discarded. The delivery also keeps its payload.
pub async fn redelivery_leaves_unfinished_and_done_unchanged(subject: &impl Subject) {
    let handlers = ["waiting", "running", "done", "ignored"];
    let states = [
        DeliveryState::Waiting,
        DeliveryState::Running,
        DeliveryState::Done,
        DeliveryState::Ignored,
    ];
    store(subject, &[new(&in_version("evt_1", "old"), &handlers)]).await;
    complete(subject, &claim_one(subject, "waiting").await.lease, retry_in(0)).await;
    let running = claim_one(subject, "running").await;
    complete(subject, &claim_one(subject, "done").await.lease, DeliveryOutcome::Done).await;
    complete(subject, &claim_one(subject, "ignored").await.lease, DeliveryOutcome::Ignored).await;
    subject.pass(SECOND).await;
    for _ in 0..2 {
        let redelivered = new(&in_version("evt_1", "new"), &handlers);
        assert_eq!(store(subject, &[redelivered]).await, [duplicate(&states)]);
    }
    let again = claim_one(subject, "waiting").await;
    assert_eq!((again.attempt, version(&again)), (2, Some("old")));
    complete(subject, &running.lease, DeliveryOutcome::Done).await;
    for handler in handlers {
        assert_nothing_due(subject, handler).await;
    }
}

/// If an event is redelivered before its handler has finished, and the handler then fails for good,
/// the delivery starts over with the redelivered event. Of two copies of an event in two API
/// versions, the handler may be able to decode only the second.
pub async fn dead_letter_restarts_if_redelivered_before(subject: &impl Subject) {
    let versions = ["old", "newer", "newest"];
    let [old, newer, newest] = versions.map(|version| new(&in_version("evt_1", version), &["a"]));
    // While waiting, and while running.
    assert_eq!(store(subject, &[old, newer]).await[1], duplicate(&[DeliveryState::Waiting]));
    let first = claim_one(subject, "a").await;
    assert_eq!(version(&first), Some("old"));
    assert_eq!(store(subject, &[newest]).await, [duplicate(&[DeliveryState::Running])]);
    // A retry is not a dead letter.
    assert_eq!(complete(subject, &first.lease, retry_in(0)).await, CompleteResult::Recorded);
    subject.pass(SECOND).await;
    let second = claim_one(subject, "a").await;
    assert_eq!((second.attempt, version(&second)), (2, Some("old")));
    assert_eq!(complete(subject, &second.lease, dead()).await, CompleteResult::Restarted);
    let restarted = claim_one(subject, "a").await;
    assert_eq!((restarted.attempt, version(&restarted)), (1, Some("newest")));
    assert_ne!(restarted.lease.token, second.lease.token);
    // It starts over once for each redelivery.
    assert_eq!(complete(subject, &restarted.lease, dead()).await, CompleteResult::Recorded);
    assert_eq!(state(subject, "evt_1").await, (DeliveryState::Dead, 1));
    assert_nothing_due(subject, "a").await;
}

/// A duplicate in the same form, which comes before the handler has finished, changes nothing: the
/// dead letter does not start over. Stripe may send an event twice, and a store is called again
/// after an error.
pub async fn duplicate_before_dead_letter_changes_nothing(subject: &impl Subject) {
    let event = new(&in_version("evt_1", "old"), &["a"]);
    let waiting = duplicate(&[DeliveryState::Waiting]);
    assert_eq!(store(subject, &[event.clone(), event.clone()]).await, [Stored::New, waiting]);
    let claim = claim_one(subject, "a").await;
    assert_eq!(store(subject, &[event]).await, [duplicate(&[DeliveryState::Running])]);
    assert_eq!(complete(subject, &claim.lease, dead()).await, CompleteResult::Recorded);
    assert_eq!(state(subject, "evt_1").await, (DeliveryState::Dead, 1));
    assert_nothing_due(subject, "a").await;
}

/// A redelivered event restarts the handler's dead letter: it is due at once with its first
/// attempt, has the redelivered payload, and keeps the key of the event.
pub async fn redelivery_restarts_dead_letter(subject: &impl Subject) {
    let (old, newer) = (in_version("evt_1", "old"), in_version("evt_1", "new"));
    store(subject, &[new(&old, &["a", "b"])]).await;
    complete(subject, &claim_one(subject, "a").await.lease, dead()).await;
    complete(subject, &claim_one(subject, "b").await.lease, DeliveryOutcome::Done).await;
    subject.pass(SECOND).await;
    let restarted = Stored::Redelivered(vec![
        Redelivery::Restarted,
        Redelivery::Unchanged(DeliveryState::Done),
    ]);
    assert_eq!(store(subject, &[new(&newer, &["a", "b"])]).await, [restarted]);
    let error = subject.store().deliveries("evt_1").await.expect("store is available");
    assert_eq!(error[0].error.as_deref(), Some("missing field `amount`"));
    let claim = claim_one(subject, "a").await;
    assert_eq!((claim.attempt, claim.lease_expired, version(&claim)), (1, false, Some("new")));
    assert_eq!(claim.event.expect("stored event is readable").key(), old.key());
    // It can die and start over again, with the payload received last.
    complete(subject, &claim.lease, dead()).await;
    subject.pass(SECOND).await;
    let signed_at = Some(UNIX_EPOCH + SECOND);
    let third = StoredEvent { signed_at, ..StoredEvent::from_event(&in_version("evt_1", "third")) };
    let third = Event::from_store(third).expect("event is valid");
    let restarted = Stored::Redelivered(vec![Redelivery::Restarted]);
    assert_eq!(store(subject, &[new(&third, &["a"])]).await, [restarted]);
    let claim = claim_one(subject, "a").await;
    assert_eq!((claim.attempt, version(&claim)), (1, Some("third")));
    assert_eq!(claim.event.expect("stored event is readable").signed_at(), signed_at);
    complete(subject, &claim.lease, retry_in(0)).await;
    subject.pass(SECOND).await;
    let claim = claim_one(subject, "a").await;
    assert_eq!((claim.attempt, version(&claim)), (2, Some("third")));
    assert_nothing_due(subject, "b").await;
}

/// A redelivered event is delivered to a handler that had no delivery of it, also if the event had
/// no handler at all before.
pub async fn redelivery_adds_new_handler(subject: &impl Subject) {
    let (old, newer) = (in_version("evt_1", "old"), in_version("evt_1", "new"));
    let unhandled = event("evt_2");
    store(subject, &[new(&old, &["a"]), new(&unhandled, &[])]).await;
    subject.pass(SECOND).await;
    let batch = [new(&newer, &["a", "b"]), new(&unhandled, &["b"])];
    let added = [
        Stored::Redelivered(vec![Redelivery::Unchanged(DeliveryState::Waiting), Redelivery::Added]),
        Stored::Redelivered(vec![Redelivery::Added]),
    ];
    assert_eq!(store(subject, &batch).await, added);
    let mut claims = claim(subject, &["b"], 9).await;
    claims.sort_by_key(|claim| claim.lease.delivery);
    let [first, second] = &claims[..] else { panic!("expected two due deliveries: {claims:?}") };
    assert_eq!(version(first), Some("new"));
    assert_eq!(second.event.as_ref().expect("stored event is readable").key(), unhandled.key());
    for claim in &claims {
        complete(subject, &claim.lease, DeliveryOutcome::Done).await;
    }
    assert_eq!(version(&claim_one(subject, "a").await), Some("old"));
    assert_eq!(
        store(subject, &[new(&unhandled, &["b"])]).await,
        [duplicate(&[DeliveryState::Done])]
    );
}

/// A delivery under the handler's former name is the handler's delivery. If it is restarted, it
/// keeps that name.
pub async fn redelivery_recognizes_former_name(subject: &impl Subject) {
    let event = event("evt_1");
    store(subject, &[new(&event, &["old", "other"])]).await;
    let renamed = |former: &str| {
        let formerly = Some(former.into());
        let delivery = crate::store::NewDelivery { formerly, ..delivery("new", None) };
        [NewEvent::new(event.clone(), vec![delivery])]
    };
    assert_eq!(store(subject, &renamed("old")).await, [duplicate(&[DeliveryState::Waiting])]);
    assert_nothing_due(subject, "new").await;
    complete(subject, &claim_one(subject, "old").await.lease, dead()).await;
    let restarted = Stored::Redelivered(vec![Redelivery::Restarted]);
    assert_eq!(store(subject, &renamed("old")).await, [restarted]);
    assert_nothing_due(subject, "new").await;
    assert_eq!(claim_one(subject, "old").await.attempt, 1);
}

/// A restarted ordered delivery keeps its place in its lane, and blocks the deliveries behind it.
pub async fn restarted_dead_letter_keeps_its_place(subject: &impl Subject) {
    let in_order = |id: &str, created: u64| {
        let created = UNIX_EPOCH + SECOND * u32::try_from(created).unwrap_or(0);
        let event = SyntheticEvent::new("customer.updated").id(id).set("id", "cus_1");
        let deliveries = vec![delivery("a", Some(DeliveryOrder::OldestFirst))];
        NewEvent::new(event_of(event.created(created)), deliveries)
    };
    let (first, second) = (in_order("evt_1", 10), in_order("evt_2", 20));
    store(subject, &[first.clone(), second]).await;
    complete(subject, &claim_one(subject, "a").await.lease, dead()).await;
    store(subject, &[first]).await;
    let claim = claim_one(subject, "a").await;
    assert_eq!(claim.event.expect("stored event is readable").id(), "evt_1");
    assert_nothing_due(subject, "a").await;
    complete(subject, &claim.lease, DeliveryOutcome::Done).await;
    assert_eq!(state(subject, "evt_2").await.0, DeliveryState::Waiting);
    claim_one(subject, "a").await;
}

/// An event with the id of a stored one, but of another type, is another event.
pub async fn event_of_other_type_is_new(subject: &impl Subject) {
    let other = event_of(SyntheticEvent::new("invoice.voided").id("evt_1"));
    let batch = [new(&event("evt_1"), &["a"]), new(&other, &["a"])];
    assert_eq!(store(subject, &batch).await, [Stored::New, Stored::New]);
    let mut types: Vec<_> = claim(subject, &["a"], 9)
        .await
        .iter()
        .map(|claim| {
            claim.event.as_ref().expect("stored event is readable").event_type().to_owned()
        })
        .collect();
    types.sort();
    assert_eq!(types, ["invoice.paid", "invoice.voided"]);
    let deliveries = subject.store().deliveries("evt_1").await.expect("store is available");
    assert_eq!(deliveries.len(), 2);
}

/// Events with Stripe's test id are never duplicates of each other, and each keeps its key.
pub async fn test_event_is_never_duplicate(subject: &impl Subject) {
    let events = [(); 3].map(|()| event("evt_00000000000000"));
    for event in &events {
        assert_eq!(store(subject, &[new(event, &["a"])]).await, [Stored::New]);
    }
    // The same call repeated, as after an error, does not store the event twice.
    let again = [new(&events[0], &["a"])];
    assert_eq!(store(subject, &again).await, [duplicate(&[DeliveryState::Waiting])]);
    let claims = claim(subject, &["a"], 9).await;
    let mut keys: Vec<_> = claims
        .iter()
        .map(|claim| claim.event.as_ref().expect("stored event is readable").key().to_string())
        .collect();
    let mut expected: Vec<_> = events.iter().map(|event| event.key().to_string()).collect();
    keys.sort();
    expected.sort();
    assert_eq!(keys, expected);
}

/// A thin event and the snapshot event that it names are one event, whichever comes first. A
/// handler of both has one delivery, a handler of one gets that one, and both ids are found.
pub async fn thin_event_and_snapshot_are_one_event(subject: &impl Subject) {
    for (number, thin_first) in [(1, true), (2, false)] {
        let id = format!("evt_{number}");
        let snapshot: Payload =
            SyntheticEvent::new("customer.created").id(&*id).build().expect("event is valid");
        let thin_id = format!("evt_thin_{number}");
        let thin = event_of(SyntheticEvent::twin_of(&snapshot).id(&*thin_id));
        let snapshot = snapshot.event().clone();
        assert_eq!(thin.key(), snapshot.key());
        let mut batch =
            [new(&thin, &["both", "thin only"]), new(&snapshot, &["both", "snapshot only"])];
        if !thin_first {
            batch.reverse();
        }
        assert_eq!(store(subject, &batch[..1]).await, [Stored::New]);
        let second = store(subject, &batch[1..]).await;
        let expected = [Redelivery::Unchanged(DeliveryState::Waiting), Redelivery::Added];
        assert_eq!(second, [Stored::Redelivered(expected.to_vec())]);
        let claimed = async |handler: &str| {
            let claim = claim_one(subject, handler).await;
            complete(subject, &claim.lease, DeliveryOutcome::Done).await;
            claim.event.expect("stored event is readable")
        };
        assert_eq!(claimed("thin only").await.id(), thin_id);
        assert_eq!(claimed("snapshot only").await.id(), id);
        let both = claimed("both").await;
        assert_eq!(both.id() == thin_id, thin_first, "the handler gets the event that came first");
        assert_eq!(both.key(), snapshot.key());
        let by_snapshot = subject.store().deliveries(&id).await.expect("store is available");
        let by_thin = subject.store().deliveries(&thin_id).await.expect("store is available");
        assert_eq!(by_snapshot.len(), 3);
        assert_eq!(by_thin, by_snapshot);
    }
}

/// The id of a thin event is found even if the thin event changed nothing, because its only handler
/// had done the snapshot event.
pub async fn duplicate_thin_event_is_found_by_its_id(subject: &impl Subject) {
    let snapshot: Payload =
        SyntheticEvent::new("customer.created").id("evt_1").build().expect("event is valid");
    let thin = event_of(SyntheticEvent::twin_of(&snapshot).id("evt_thin"));
    store(subject, &[new(snapshot.event(), &["both"])]).await;
    complete(subject, &claim_one(subject, "both").await.lease, DeliveryOutcome::Done).await;
    for _ in 0..2 {
        let again = store(subject, &[new(&thin, &["both"])]).await;
        assert_eq!(again, [duplicate(&[DeliveryState::Done])]);
    }
    let deliveries = subject.store().deliveries("evt_thin").await.expect("store is available");
    assert_eq!(deliveries.len(), 1);
    assert_nothing_due(subject, "both").await;
}

/// The delivery of the latest generation decides. A restarted delivery keeps its generation, so it
/// also keeps its idempotency keys.
pub async fn redelivery_applies_to_latest_generation(subject: &impl Subject) {
    let first = in_version("evt_1", "old");
    let replayed = StoredEvent { generation: 1, ..StoredEvent::from_event(&first) };
    let replayed = Event::from_store(replayed).expect("event is valid");
    store(subject, &[new(&first, &["a"])]).await;
    complete(subject, &claim_one(subject, "a").await.lease, dead()).await;
    store(subject, &[new(&replayed, &["a"])]).await;
    let again = [new(&in_version("evt_1", "new"), &["a"])];
    let waiting = claim_one(subject, "a").await;
    assert_eq!(store(subject, &again).await, [duplicate(&[DeliveryState::Running])]);
    assert_eq!(complete(subject, &waiting.lease, dead()).await, CompleteResult::Restarted);
    let claim = claim_one(subject, "a").await;
    assert_eq!(version(&claim), Some("new"));
    assert_eq!(claim.event.as_ref().expect("stored event is readable").key(), replayed.key());
    complete(subject, &claim.lease, dead()).await;
    let restarted = Stored::Redelivered(vec![Redelivery::Restarted]);
    assert_eq!(store(subject, &again).await, [restarted]);
    let claim = claim_one(subject, "a").await;
    assert_eq!(claim.event.expect("stored event is readable").key(), replayed.key());
    subject.pass(LEASE).await;
    assert!(claim_one(subject, "a").await.lease_expired, "the older dead letter is not restarted");
}
