//! Two concurrent writes: both do all of their work before either commits.

use std::{slice::from_ref, time::Duration};

use router_core::testing::SyntheticEvent;
use router_inbox::{
    PostgresStore, Store as _,
    conformance::Subject as _,
    operations::{EraseOutcome, EventSelector, MIN_RETENTION},
    store::{
        CompleteResult, DeliveryOutcome, DeliveryState, Lease, NewDelivery, NewEvent,
        Operations as _, Redelivery, Stored,
    },
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::TestInbox;
use crate::support::{created, paid, updated, wanted};

/// Neither sees the other, so each would be the first of its object.
#[tokio::test]
async fn one_of_two_stored_at_once_is_claimable() {
    let Some(inbox) = TestInbox::create().await else { return };
    let store = |id: &'static str| {
        let store = inbox.store.clone();
        async move { store.store(&[updated(id, 1)]).await.unwrap() }
    };
    at_once(&inbox, store("evt_1"), store("evt_2")).await;
    let first = claim(&inbox.store).await;
    assert_eq!(first.len(), 1);
    complete(&inbox.store, first[0].clone()).await;
    assert_eq!(claim(&inbox.store).await.len(), 1);
}

#[tokio::test]
async fn older_event_stored_during_claim_waits() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.store(&[updated("evt_2", 1)]).await.unwrap();
    let (claiming, storing) = (inbox.store.clone(), inbox.store.clone());
    let claiming = async move { claim(&claiming).await };
    let storing = async move { storing.store(&[created("evt_1", 1)]).await.unwrap() };
    let (claimed, ..) = at_once(&inbox, claiming, storing).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claim(&inbox.store).await, []);
    complete(&inbox.store, claimed[0].clone()).await;
    assert_eq!(claim(&inbox.store).await.len(), 1);
}

#[tokio::test]
async fn claim_skips_event_while_older_is_stored() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.store(&[updated("evt_2", 1)]).await.unwrap();
    let (claiming, storing) = (inbox.store.clone(), inbox.store.clone());
    let storing = async move { storing.store(&[created("evt_1", 1)]).await.unwrap() };
    let claiming = async move { claim(&claiming).await };
    let (_, claimed, _) = at_once(&inbox, storing, claiming).await;
    assert_eq!(claimed, []);
    assert_eq!(claim(&inbox.store).await.len(), 1);
    assert_eq!(claim(&inbox.store).await, []);
}

/// Lanes are locked with advisory locks, which all schemas of a database share.
#[tokio::test]
async fn inboxes_in_two_schemas_do_not_wait_for_each_other() {
    let Some(inbox) = TestInbox::create().await else { return };
    let Some(other) = TestInbox::create().await else { return };
    let storing = inbox.store.clone();
    let storing = async move { storing.store(&[updated("evt_1", 1)]).await.unwrap() };
    // Fails after a few seconds if it waits.
    let storing_other =
        async move { other.store.store(&[updated("evt_1", 1)]).await.expect("the lane is free") };
    let (_, stored, has_waited) = at_once(&inbox, storing, storing_other).await;
    assert_eq!((stored, has_waited), (vec![Stored::New], false));
}

/// Neither sees the other, so the new delivery could stay blocked forever.
#[tokio::test]
async fn event_stored_during_completion_is_unblocked() {
    for storing_first in [false, true] {
        let Some(inbox) = TestInbox::create().await else { return };
        inbox.store.store(&[updated("evt_1", 1)]).await.unwrap();
        let lease = claim(&inbox.store).await.remove(0);
        let (storing, ending) = (inbox.store.clone(), inbox.store.clone());
        let storing = async move { drop(storing.store(&[updated("evt_2", 1)]).await.unwrap()) };
        let ending = async move { complete(&ending, lease).await };
        if storing_first {
            at_once(&inbox, storing, ending).await;
        } else {
            at_once(&inbox, ending, storing).await;
        }
        assert_eq!(claim(&inbox.store).await.len(), 1);
    }
}

/// The second claim returns at once, without waiting.
#[tokio::test]
async fn concurrent_claims_never_share_a_delivery() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.store(&[paid("evt_1"), paid("evt_2")]).await.unwrap();
    let claiming = || {
        let store = inbox.store.clone();
        async move { claim(&store).await.len() }
    };
    assert_eq!(at_once(&inbox, claiming(), claiming()).await, (2, 0, false));
}

#[tokio::test]
async fn late_completion_loses_to_concurrent_claim() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.store(&[paid("evt_1")]).await.unwrap();
    let late = claim(&inbox.store).await.remove(0);
    inbox.pass(Duration::from_secs(60)).await;
    let (claiming, ending) = (inbox.store.clone(), inbox.store.clone());
    let claiming = async move { claim(&claiming).await.remove(0) };
    let ending = async move { ending.complete(&[(late, DeliveryOutcome::Done)]).await.unwrap() };
    let (lease, completed, _) = at_once(&inbox, claiming, ending).await;
    assert_eq!(completed, [CompleteResult::LeaseLost]);
    complete(&inbox.store, lease).await;
}

/// The second is answered once the first has committed; had that rolled back, the second would be
/// new.
#[tokio::test]
async fn duplicate_waits_for_first_to_commit() {
    let Some(inbox) = TestInbox::create().await else { return };
    let store = || {
        let store = inbox.store.clone();
        async move { store.store(&[paid("evt_1")]).await.unwrap() }
    };
    let results = at_once(&inbox, store(), store()).await;
    assert_eq!(results, (vec![Stored::New], vec![waiting_duplicate()], true));
}

/// The second waits for the first, and then finds the delivery restarted.
#[tokio::test]
async fn concurrent_redeliveries_restart_dead_letter_once() {
    for event in [paid("evt_1"), updated("evt_1", 1)] {
        let Some(inbox) = TestInbox::create().await else { return };
        inbox.store.store(from_ref(&event)).await.unwrap();
        let lease = claim(&inbox.store).await.remove(0);
        let dead = DeliveryOutcome::Dead { error: "missing field".into() };
        inbox.store.complete(&[(lease, dead)]).await.unwrap();
        let other = inbox.reopen().await;
        let redeliver = |store: PostgresStore| {
            let event = event.clone();
            async move { store.store(&[event]).await.unwrap() }
        };
        let first = redeliver(PostgresStore::clone(&inbox.store));
        let results = at_once(&inbox, first, redeliver(other)).await;
        let restarted = Stored::Redelivered(vec![Redelivery::Restarted]);
        assert_eq!(results, (vec![restarted], vec![waiting_duplicate()], true));
        assert_eq!(claim(&inbox.store).await.len(), 1);
    }
}

/// The redelivery finds the delivery that the operator has discarded.
#[tokio::test]
async fn redelivery_during_discard_restarts_nothing() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.store(&[paid("evt_1")]).await.unwrap();
    let lease = claim(&inbox.store).await.remove(0);
    let dead = DeliveryOutcome::Dead { error: "missing field".into() };
    inbox.store.complete(&[(lease, dead)]).await.unwrap();
    let (discarding, storing) = (inbox.store.clone(), inbox.store.clone());
    let discarding = async move { discarding.discard("evt_1", None).await.unwrap().len() };
    let storing = async move { storing.store(&[paid("evt_1")]).await.unwrap() };
    let discarded = Redelivery::Unchanged(DeliveryState::Discarded);
    let results = at_once(&inbox, discarding, storing).await;
    assert_eq!(results, (1, vec![Stored::Redelivered(vec![discarded])], true));
    assert_eq!(claim(&inbox.store).await, []);
}

/// Two connections store a thin event and its snapshot event. The handler of both gets one of them.
#[tokio::test]
async fn twins_stored_at_once_have_one_delivery() {
    for thin_first in [false, true] {
        let Some(inbox) = TestInbox::create().await else { return };
        let snapshot = SyntheticEvent::new("customer.created").id("evt_1").build().unwrap();
        let thin = SyntheticEvent::twin_of(&snapshot).id("evt_thin").build().unwrap();
        let mut twins = [snapshot, thin];
        if thin_first {
            twins.reverse();
        }
        let [first, second] = twins.map(|twin| {
            let new = NewEvent::new(twin.event().clone(), paid("evt_1").deliveries);
            let store = inbox.store.clone();
            async move { store.store(&[new]).await.unwrap() }
        });
        let results = at_once(&inbox, first, second).await;
        assert_eq!(results, (vec![Stored::New], vec![waiting_duplicate()], true));
        assert_eq!(claim(&inbox.store).await.len(), 1);
        for id in ["evt_1", "evt_thin"] {
            assert_eq!(inbox.store.deliveries(id).await.unwrap().len(), 1, "{id}");
        }
    }
}

#[tokio::test]
async fn event_stored_during_retry_or_discard_keeps_order() {
    for (change, first) in [("retry", "evt_1"), ("discard", "evt_2")] {
        let Some(inbox) = TestInbox::create().await else { return };
        inbox.store.store(&[updated("evt_1", 1)]).await.unwrap();
        if change == "retry" {
            let lease = claim(&inbox.store).await.remove(0);
            let dead = DeliveryOutcome::Dead { error: "no such order".into() };
            inbox.store.complete(&[(lease, dead)]).await.unwrap();
        }
        let (changing, storing) = (inbox.store.clone(), inbox.store.clone());
        let changing = async move {
            match change {
                "retry" => changing.retry("evt_1", None).await.unwrap(),
                _ => changing.discard("evt_1", None).await.unwrap(),
            }
        };
        let storing = async move { storing.store(&[updated("evt_2", 1)]).await.unwrap() };
        at_once(&inbox, changing, storing).await;
        let claims = inbox.store.claim(&wanted(9)).await.unwrap();
        let claimed: Vec<_> =
            claims.iter().map(|claim| claim.event.as_ref().unwrap().id()).collect();
        assert_eq!(claimed, [first], "{change}");
    }
}

/// After the retry the delivery is no longer finished.
#[tokio::test]
async fn purge_leaves_event_retried_meanwhile() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.store(&[paid("evt_1")]).await.unwrap();
    inbox.store.discard("evt_1", None).await.unwrap();
    inbox.pass(MIN_RETENTION * 2).await;
    let events = inbox.store.select(&EventSelector::default()).await.unwrap();
    let (retrying, purging) = (inbox.store.clone(), inbox.store.clone());
    let retrying = async move { retrying.retry("evt_1", None).await.unwrap().len() };
    let purging = async move { purging.purge(&events, MIN_RETENTION).await.unwrap() };
    assert_eq!(at_once(&inbox, retrying, purging).await, (1, 0, true));
    assert_eq!(claim(&inbox.store).await.len(), 1);
}

/// Stores an event whose delivery is a dead letter, and returns its number.
async fn store_dead(inbox: &TestInbox, event: &NewEvent) -> i64 {
    inbox.store.store(from_ref(event)).await.expect("the store is available");
    let lease = claim(&inbox.store).await.remove(0);
    let dead = DeliveryOutcome::Dead { error: "missing field".into() };
    inbox.store.complete(&[(lease, dead)]).await.expect("the store is available");
    let events = inbox.store.select(&EventSelector::default()).await;
    events.expect("the store is available")[0]
}

/// The erasure finds the delivery of the new generation.
#[tokio::test]
async fn erasure_during_replay_leaves_event() {
    let Some(inbox) = TestInbox::create().await else { return };
    let event = store_dead(&inbox, &paid("evt_1")).await;
    let (replaying, erasing) = (inbox.store.clone(), inbox.store.clone());
    let replaying = async move { replaying.replay(&[event], &[]).await.unwrap().len() };
    let erasing = async move { erasing.erase(&[event]).await.unwrap()[0].outcome };
    let results = at_once(&inbox, replaying, erasing).await;
    assert_eq!(results, (1, EraseOutcome::Unfinished, true));
    let claims = inbox.store.claim(&wanted(9)).await.unwrap();
    assert!(claims[0].event.is_ok(), "{claims:?}");
}

/// The redelivery waits for the erasure, and then finds an erased event: it neither restarts the
/// dead letter nor adds the other delivery.
#[tokio::test]
async fn redelivery_during_erasure_stores_nothing() {
    for form in [paid("evt_1"), updated("evt_1", 1)] {
        let Some(inbox) = TestInbox::create().await else { return };
        let event = store_dead(&inbox, &form).await;
        let (erasing, storing) = (inbox.store.clone(), inbox.store.clone());
        let erasing = async move { erasing.erase(&[event]).await.unwrap()[0].outcome };
        let mut again = form.clone();
        again.deliveries.push(NewDelivery::new("b"));
        let storing = async move { storing.store(&[again]).await.unwrap() };
        let discarded = Redelivery::Unchanged(DeliveryState::Discarded);
        let redelivered = Stored::Redelivered(vec![discarded, Redelivery::Erased]);
        let results = at_once(&inbox, erasing, storing).await;
        assert_eq!(results, (EraseOutcome::Erased, vec![redelivered], true));
        let shown = inbox.store.show("evt_1").await.unwrap();
        assert_eq!((shown[0].deliveries.len(), &shown[0].redelivered[..]), (1, &[][..]));
    }
}

/// Runs the first until it is about to commit, then the second, and then lets both commit. Also
/// returns whether the second had to wait for the first's commit.
async fn at_once<A: Send + 'static, B: Send + 'static>(
    inbox: &TestInbox,
    first: impl Future<Output = A> + Send + 'static,
    second: impl Future<Output = B> + Send + 'static,
) -> (A, B, bool) {
    let mut holding = PgConnection::connect(&inbox.url).await.expect("the server runs");
    let lock = format!("hashtextextended('{}', 0)", inbox.schema);
    let locked = format!("select pg_advisory_lock({lock})");
    sqlx::raw_sql(AssertSqlSafe(locked)).execute(&mut holding).await.expect("the lock is free");
    inbox
        .execute(&format!(
            "create function inbox.pause() returns trigger language plpgsql as $$ begin
                 perform pg_advisory_xact_lock_shared({lock});
                 return null;
             end $$;
             create constraint trigger pause after insert or update on inbox.deliveries
             deferrable initially deferred for each row execute function inbox.pause()"
        ))
        .await;
    let first = tokio::spawn(first);
    while waiting(inbox).await < 1 {
        assert!(!first.is_finished(), "the first has something to commit");
    }
    let second = tokio::spawn(second);
    while waiting(inbox).await < 2 && !second.is_finished() {}
    let has_waited = !second.is_finished();
    holding.close().await.expect("the connection closes cleanly");
    let results = (
        first.await.expect("the first does not panic"),
        second.await.expect("the second does not panic"),
        has_waited,
    );
    inbox.execute("drop trigger pause on inbox.deliveries; drop function inbox.pause").await;
    results
}

/// Returns the number of the inbox's sessions that wait for a lock.
async fn waiting(inbox: &TestInbox) -> i64 {
    let waiting = sqlx::query(
        "select count(*) from pg_stat_activity where application_name = $1 and wait_event_type = 'Lock'",
    );
    let waiting = waiting.bind(&inbox.schema).fetch_one(&inbox.database).await;
    waiting.expect("the server runs").get(0)
}

/// The result of a redelivery whose only handler has a waiting delivery.
fn waiting_duplicate() -> Stored {
    Stored::Redelivered(vec![Redelivery::Unchanged(DeliveryState::Waiting)])
}

async fn claim(store: &PostgresStore) -> Vec<Lease> {
    let claims = store.claim(&wanted(9)).await.expect("the store is available");
    claims.into_iter().map(|claim| claim.lease).collect()
}

async fn complete(store: &PostgresStore, lease: Lease) {
    let completed =
        store.complete(&[(lease, DeliveryOutcome::Done)]).await.expect("the store is available");
    assert_eq!(completed, [CompleteResult::Recorded]);
}
