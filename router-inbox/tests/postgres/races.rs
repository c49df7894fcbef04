//! Two that do something at once: both have done all that they can before either commits.

use std::time::Duration;

use router_inbox::{
    Completed, DeliveryOutcome, Lease, Operations as _, PostgresStore, Store as _, Stored,
    conformance::Subject as _,
    operations::{EventSelector, MIN_RETENTION},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::{
    InPostgres,
    support::{created, paid, updated, wanted},
};

/// Each would be the first of its object, for all that it sees.
#[tokio::test]
async fn of_two_that_are_stored_at_once_one_is_out() {
    let Some(inbox) = InPostgres::made().await else { return };
    let store = |id: &'static str| {
        let store = inbox.store.clone();
        async move { store.store(&[updated(id, 1)]).await.unwrap() }
    };
    at_once(&inbox, store("evt_1"), store("evt_2")).await;
    let first = claim(&inbox.store).await;
    assert_eq!(first.len(), 1);
    done(&inbox.store, first[0].clone()).await;
    assert_eq!(claim(&inbox.store).await.len(), 1);
}

#[tokio::test]
async fn an_older_one_that_is_stored_while_another_is_claimed_waits() {
    let Some(inbox) = InPostgres::made().await else { return };
    inbox.store.store(&[updated("evt_2", 1)]).await.unwrap();
    let (claiming, storing) = (inbox.store.clone(), inbox.store.clone());
    let claiming = async move { claim(&claiming).await };
    let storing = async move { storing.store(&[created("evt_1", 1)]).await.unwrap() };
    let (claimed, ..) = at_once(&inbox, claiming, storing).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claim(&inbox.store).await, []);
    done(&inbox.store, claimed[0].clone()).await;
    assert_eq!(claim(&inbox.store).await.len(), 1);
}

#[tokio::test]
async fn one_that_is_claimed_while_an_older_one_is_stored_is_not_taken() {
    let Some(inbox) = InPostgres::made().await else { return };
    inbox.store.store(&[updated("evt_2", 1)]).await.unwrap();
    let (claiming, storing) = (inbox.store.clone(), inbox.store.clone());
    let storing = async move { storing.store(&[created("evt_1", 1)]).await.unwrap() };
    let claiming = async move { claim(&claiming).await };
    let (_, claimed, _) = at_once(&inbox, storing, claiming).await;
    assert_eq!(claimed, []);
    assert_eq!(claim(&inbox.store).await.len(), 1);
    assert_eq!(claim(&inbox.store).await, []);
}

/// Neither sees the other, and it would wait for ever.
#[tokio::test]
async fn one_that_is_stored_while_the_one_before_it_ends_goes() {
    for storing_first in [false, true] {
        let Some(inbox) = InPostgres::made().await else { return };
        inbox.store.store(&[updated("evt_1", 1)]).await.unwrap();
        let lease = claim(&inbox.store).await.remove(0);
        let (storing, ending) = (inbox.store.clone(), inbox.store.clone());
        let storing = async move { drop(storing.store(&[updated("evt_2", 1)]).await.unwrap()) };
        let ending = async move { done(&ending, lease).await };
        if storing_first {
            at_once(&inbox, storing, ending).await;
        } else {
            at_once(&inbox, ending, storing).await;
        }
        assert_eq!(claim(&inbox.store).await.len(), 1);
    }
}

/// The other is told at once that nothing is due.
#[tokio::test]
async fn what_two_claim_at_once_one_gets() {
    let Some(inbox) = InPostgres::made().await else { return };
    inbox.store.store(&[paid("evt_1"), paid("evt_2")]).await.unwrap();
    let claiming = || {
        let store = inbox.store.clone();
        async move { claim(&store).await.len() }
    };
    assert_eq!(at_once(&inbox, claiming(), claiming()).await, (2, 0, false));
}

#[tokio::test]
async fn a_late_end_loses_to_who_claims_at_once() {
    let Some(inbox) = InPostgres::made().await else { return };
    inbox.store.store(&[paid("evt_1")]).await.unwrap();
    let late = claim(&inbox.store).await.remove(0);
    inbox.pass(Duration::from_secs(60)).await;
    let (claiming, ending) = (inbox.store.clone(), inbox.store.clone());
    let claiming = async move { claim(&claiming).await.remove(0) };
    let ending = async move { ending.complete(&[(late, DeliveryOutcome::Done)]).await.unwrap() };
    let (lease, told, _) = at_once(&inbox, claiming, ending).await;
    assert_eq!(told, [Completed::LeaseLost]);
    done(&inbox.store, lease).await;
}

/// It is answered once the first is known to be there, and is new where that was not kept.
#[tokio::test]
async fn the_second_of_an_event_waits_for_the_first() {
    let Some(inbox) = InPostgres::made().await else { return };
    let store = || {
        let store = inbox.store.clone();
        async move { store.store(&[paid("evt_1")]).await.unwrap() }
    };
    let told = at_once(&inbox, store(), store()).await;
    assert_eq!(told, (vec![Stored::New], vec![Stored::Duplicate], true));
}

#[tokio::test]
async fn one_that_is_stored_while_another_is_retried_or_discarded_goes_in_its_turn() {
    for (change, out) in [("retry", "evt_1"), ("discard", "evt_2")] {
        let Some(inbox) = InPostgres::made().await else { return };
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
        let claimed: Vec<_> = claims.iter().map(|one| one.event.as_ref().unwrap().id()).collect();
        assert_eq!(claimed, [out], "{change}");
    }
}

/// What has ended is deleted, and this has not any more.
#[tokio::test]
async fn what_is_retried_while_it_is_purged_is_kept() {
    let Some(inbox) = InPostgres::made().await else { return };
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

/// Lets the first do all until it would commit, then the second, and then both commit; and whether the second had to
/// wait until then.
async fn at_once<A: Send + 'static, B: Send + 'static>(
    inbox: &InPostgres,
    first: impl Future<Output = A> + Send + 'static,
    second: impl Future<Output = B> + Send + 'static,
) -> (A, B, bool) {
    let mut holding = PgConnection::connect(&inbox.url).await.expect("it is there");
    let lock = format!("hashtextextended('{}', 0)", inbox.schema);
    let locked = format!("select pg_advisory_lock({lock})");
    sqlx::raw_sql(AssertSqlSafe(locked)).execute(&mut holding).await.expect("nobody else has it");
    inbox
        .run(&format!(
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
    holding.close().await.expect("it ends in good order");
    let told = (first.await.expect("no panic"), second.await.expect("no panic"), has_waited);
    inbox.run("drop trigger pause on inbox.deliveries; drop function inbox.pause").await;
    told
}

/// How many of the inbox's sessions wait for a lock.
async fn waiting(inbox: &InPostgres) -> i64 {
    let waiting = sqlx::query(
        "select count(*) from pg_stat_activity where application_name = $1 and wait_event_type = 'Lock'",
    );
    let waiting = waiting.bind(&inbox.schema).fetch_one(&inbox.database).await;
    waiting.expect("it is there").get(0)
}

async fn claim(store: &PostgresStore) -> Vec<Lease> {
    let claims = store.claim(&wanted(9)).await.expect("the store is there");
    claims.into_iter().map(|claim| claim.lease).collect()
}

async fn done(store: &PostgresStore, lease: Lease) {
    let told = store.complete(&[(lease, DeliveryOutcome::Done)]).await.expect("the store is there");
    assert_eq!(told, [Completed::Recorded]);
}
