//! Inboxes of the first version, which this version migrates and continues.

use std::time::Duration;

use router_core::{
    Event,
    clock::{Clock as _, SystemClock},
    testing::SyntheticEvent,
};
use router_inbox::{
    PostgresStore, SqliteStore, Store,
    operations::AttemptOutcome,
    store::{
        ClaimRequest, CompleteResult, DeliveryOutcome, DeliveryState, HandlerSlots, Lease,
        NewDelivery, NewEvent, Operations, Redelivery, StoreErrorKind, Stored,
    },
};
use router_test_servers::postgres;
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};

const LEASE: Duration = Duration::from_secs(60 * 60);

/// The states of the stored deliveries, as the ids of their events.
const STATES: [DeliveryState; 6] = [
    DeliveryState::Done,
    DeliveryState::Ignored,
    DeliveryState::Dead,
    DeliveryState::Discarded,
    DeliveryState::Running,
    DeliveryState::Waiting,
];

fn id(state: DeliveryState) -> String {
    format!("evt_{}", state.name())
}

fn event(id: &str) -> Event {
    let event = SyntheticEvent::new("invoice.paid").id(id).build();
    event.expect("event is valid").event().clone()
}

fn request() -> ClaimRequest {
    ClaimRequest::new(vec![HandlerSlots::new("a", 1)], 1, LEASE)
}

/// Stores an event with a delivery in each state. The last one stays waiting. Returns the lease of
/// the one that is running.
async fn fill(store: &(impl Store + Operations)) -> Lease {
    let mut running = None;
    for state in STATES {
        let new = NewEvent::new(event(&id(state)), vec![NewDelivery::new("a")]);
        store.store(&[new]).await.expect("store is available");
        let outcome = match state {
            DeliveryState::Waiting => continue,
            DeliveryState::Discarded => {
                store.discard(&id(state), None).await.expect("store is available");
                continue;
            }
            DeliveryState::Running => None,
            DeliveryState::Done => Some(DeliveryOutcome::Done),
            DeliveryState::Ignored => Some(DeliveryOutcome::Ignored),
            DeliveryState::Dead => Some(DeliveryOutcome::Dead { error: "never".into() }),
        };
        let lease = store.claim(&request()).await.expect("store is available").remove(0).lease;
        match outcome {
            Some(outcome) => {
                store.complete(&[(lease, outcome)]).await.expect("store is available");
            }
            None => running = Some(lease),
        }
    }
    running.expect("one delivery is running")
}

/// Returns the outcomes in the history of the event's only delivery.
async fn history(store: &impl Operations, state: DeliveryState) -> Vec<AttemptOutcome> {
    let shown = store.show(&id(state)).await.expect("store is available");
    shown[0].deliveries[0].history.iter().map(|attempt| attempt.outcome).collect()
}

/// Asserts that each delivery has its former state, and that the store continues with all of them.
async fn assert_continues(store: &(impl Store + Operations), running: Lease) {
    for state in STATES {
        assert_eq!(history(store, state).await, [], "the first version had no history");
        let deliveries = store.deliveries(&id(state)).await.expect("store is available");
        assert_eq!(deliveries.len(), 1);
        assert_eq!(deliveries[0].state, state);
    }
    // The first version could not delay a delivery.
    let claim = store.claim(&request()).await.expect("store is available").remove(0);
    assert_eq!(&*claim.lease.event_id, id(DeliveryState::Waiting));
    assert_eq!((claim.attempt, claim.delayed), (1, Duration::ZERO));
    let wait = Duration::ZERO;
    let later = DeliveryOutcome::Later { wait, reason: None, out_of_order: true };
    let completed = store.complete(&[(claim.lease, later)]).await.expect("store is available");
    assert_eq!(completed, [CompleteResult::Recorded]);
    let claim = store.claim(&request()).await.expect("store is available").remove(0);
    assert_eq!(claim.attempt, 1);
    store.complete(&[(claim.lease, DeliveryOutcome::Done)]).await.expect("store is available");
    let attempts = history(store, DeliveryState::Waiting).await;
    assert_eq!(attempts, [AttemptOutcome::Later, AttemptOutcome::Done]);
    // The dead letter starts over if its event is received again.
    let again = NewEvent::new(event(&id(DeliveryState::Dead)), vec![NewDelivery::new("a")]);
    let stored = store.store(&[again]).await.expect("store is available");
    assert_eq!(stored, [Stored::Redelivered(vec![Redelivery::Restarted])]);
    assert_eq!(store.claim(&request()).await.expect("store is available")[0].attempt, 1);
    assert_eq!(history(store, DeliveryState::Dead).await, [AttemptOutcome::Running]);
    // The beginning of this attempt is unknown.
    let failed = DeliveryOutcome::Retry { wait: Duration::ZERO, error: "not now".into() };
    let completed = store.complete(&[(running, failed)]).await.expect("store is available");
    assert_eq!(completed, [CompleteResult::Recorded]);
    assert_eq!(history(store, DeliveryState::Running).await, []);
    store.claim(&request()).await.expect("store is available");
    assert_eq!(history(store, DeliveryState::Running).await, [AttemptOutcome::Running]);
    assert_stores_checkpoint(store).await;
}

async fn assert_stores_checkpoint(store: &impl Operations) {
    assert_eq!(store.checkpoint("a").await.expect("store is available"), None);
    store.set_checkpoint("a", "1").await.expect("store is available");
    let checkpoint = store.checkpoint("a").await.expect("store is available");
    assert_eq!(checkpoint.as_deref(), Some("1"));
}

/// Undoes all migrations but the first.
const DOWNGRADE: &str = "
    drop table PREFIXcheckpoints;
    alter table PREFIXdeliveries drop column delayed;
    alter table PREFIXdeliveries drop column claimed_at;
    alter table PREFIXdeliveries drop column claimed_by;
    alter table PREFIXdeliveries drop column history;
    alter table PREFIXevents drop column trace_parent;
    drop table PREFIXpaused;
    delete from PREFIXmigrations where step >= 2;";

#[tokio::test]
async fn sqlite_inbox_of_first_version_continues() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/inbox.db", folder.path().display());
    let running = fill(&SqliteStore::open(&url).await.unwrap()).await;
    let downgrade = DOWNGRADE.replace("PREFIX", "stripe_inbox_");
    let pool = SqlitePool::connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(downgrade)).execute(&pool).await.unwrap();
    pool.close().await;
    assert_continues(&SqliteStore::open(&url).await.unwrap(), running).await;
}

#[tokio::test]
async fn postgres_inbox_of_first_version_continues() {
    let Some(server) = postgres::shared() else { return };
    let schema = router_test_servers::unused_name();
    let connect = async || {
        let store = PostgresStore::options().schema(&schema).connect(&server.url()).await;
        store.unwrap()
    };
    let running = fill(&connect().await).await;
    let downgrade = DOWNGRADE.replace("PREFIX", &format!("{schema}."));
    let pool = PgPool::connect(&server.url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(downgrade)).execute(&pool).await.unwrap();
    assert_continues(&connect().await, running).await;
}

/// Undoes the third migration.
const DOWNGRADE_TO_SECOND: &str = "
    drop table PREFIXcheckpoints;
    delete from PREFIXmigrations where step >= 3;";

/// Also `event-router inbox` migrates the inbox that it opens.
#[tokio::test]
async fn sqlite_inbox_of_second_version_gets_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/inbox.db", folder.path().display());
    let running = SqliteStore::open(&url).await.unwrap();
    let downgrade = DOWNGRADE_TO_SECOND.replace("PREFIX", "stripe_inbox_");
    let pool = SqlitePool::connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(downgrade)).execute(&pool).await.unwrap();
    pool.close().await;
    let existing = SqliteStore::options().create_if_missing(false).open(&url).await;
    assert_stores_checkpoint(&existing.unwrap()).await;
    // A process of the second version goes on.
    let stored = running.store(&[NewEvent::new(event("evt_1"), Vec::new())]).await;
    assert_eq!(stored.unwrap(), [Stored::New]);
}

#[tokio::test]
async fn postgres_inbox_of_second_version_gets_checkpoints() {
    let Some(server) = postgres::shared() else { return };
    let schema = router_test_servers::unused_name();
    let options = || PostgresStore::options().schema(&schema);
    let running = options().connect(&server.url()).await.unwrap();
    let downgrade = DOWNGRADE_TO_SECOND.replace("PREFIX", &format!("{schema}."));
    let pool = PgPool::connect(&server.url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(downgrade)).execute(&pool).await.unwrap();
    let existing = options().create_if_missing(false).connect(&server.url()).await;
    assert_stores_checkpoint(&existing.unwrap()).await;
    // A process of the second version goes on.
    let stored = running.store(&[NewEvent::new(event("evt_1"), Vec::new())]).await;
    assert_eq!(stored.unwrap(), [Stored::New]);
}

/// While a migration waits for a table, every other statement on the table waits for the migration.
#[tokio::test]
async fn postgres_migration_gives_up_if_a_table_is_in_use() {
    let Some(server) = postgres::shared() else { return };
    let schema = router_test_servers::unused_name();
    let url = server.url();
    let connect = || PostgresStore::options().schema(&schema).connect(&url);
    drop(connect().await.unwrap());
    let pool = PgPool::connect(&server.url()).await.unwrap();
    let downgrade = DOWNGRADE.replace("PREFIX", &format!("{schema}."));
    sqlx::raw_sql(AssertSqlSafe(downgrade)).execute(&pool).await.unwrap();
    let mut reader = pool.begin().await.unwrap();
    let lock = format!("lock table {schema}.deliveries in access share mode");
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *reader).await.unwrap();
    let error = tokio::select! {
        connected = connect() => connected.unwrap_err(),
        () = SystemClock.sleep(Duration::from_secs(30)) => panic!("the migration still waits"),
    };
    assert_eq!(error.kind(), StoreErrorKind::Busy);
    assert!(error.to_string().contains("another transaction uses a table"), "{error}");
    // Programs that are running can write to the table.
    let write = format!("update {schema}.deliveries set attempts = attempts");
    sqlx::raw_sql(AssertSqlSafe(write)).execute(&pool).await.unwrap();
    reader.rollback().await.unwrap();
    connect().await.unwrap();
}
