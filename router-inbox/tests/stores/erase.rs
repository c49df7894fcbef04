//! Erased data is gone from the files of the database, after the vacuum that an operator runs.

use std::{fs, path::Path, time::Duration};

use router_core::testing::SyntheticEvent;
use router_inbox::{
    PostgresStore, SqliteStore, Store,
    operations::{EraseOutcome, EventSelector, Operations},
    sqlx::{self, AssertSqlSafe, Connection as _, PgConnection, Row as _, SqliteConnection},
    store::{DeliveryOutcome, NewDelivery, NewEvent, Redelivery, Stored},
};
use router_test_servers::postgres;

use crate::support::{paid, wanted};

/// The data to erase.
const NAME: &str = "Adalbert-Lindqvist-4f7a91";

/// The events with the name in their errors.
const SMALL: [&str; 2] = ["evt_small", "evt_other"];

/// Returns an event whose payload has the name this many times.
fn naming(id: &str, times: usize) -> NewEvent {
    let event = SyntheticEvent::new("invoice.paid").id(id).set("customer_name", NAME.repeat(times));
    let event = event.build().expect("the event type is in the catalog").event().clone();
    NewEvent::new(event, vec![NewDelivery::new("a")])
}

/// Claims the only due delivery, and completes it.
async fn run(store: &impl Store, outcome: DeliveryOutcome) {
    let mut claims = store.claim(&wanted(9)).await.expect("store is available");
    let [claim] = &mut claims[..] else { panic!("expected one claim: {claims:?}") };
    let outcomes = [(claim.lease.clone(), outcome)];
    store.complete(&outcomes).await.expect("store is available");
}

fn retry(error: String) -> DeliveryOutcome {
    DeliveryOutcome::Retry { wait: Duration::ZERO, error }
}

/// Stores the name everywhere: in payloads of one and of many pages, in a replay and a redelivered
/// payload, in errors, and in errors that a later one has replaced. All deliveries finish.
async fn store_name(store: &(impl Store + Operations)) {
    store.store(&[naming("evt_large", 2_000)]).await.expect("store is available");
    run(store, DeliveryOutcome::Done).await;
    for id in SMALL {
        store.store(&[naming(id, 1)]).await.expect("store is available");
        run(store, retry(format!("{NAME} is unknown"))).await;
        run(store, retry(format!("no order of {NAME}"))).await;
        run(store, DeliveryOutcome::Dead { error: format!("{NAME} has left") }).await;
        let restarted = store.store(&[naming(id, 2)]).await.expect("store is available");
        assert_eq!(restarted, [Stored::Redelivered(vec![Redelivery::Restarted])]);
        run(store, DeliveryOutcome::Dead { error: format!("{NAME} is not {id}") }).await;
    }
    let events = selected(store).await;
    store.replay(&events, &[]).await.expect("store is available");
    store.discard("evt_large", None).await.expect("store is available");
    for id in SMALL {
        store.discard(id, None).await.expect("store is available");
    }
}

async fn selected(store: &impl Operations) -> Vec<i64> {
    let mentions = EventSelector { mentions: Some(NAME.to_owned()), ..EventSelector::default() };
    let small = store.select(&mentions).await.expect("store is available");
    let large = EventSelector { event_id: Some("evt_large".into()), ..EventSelector::default() };
    let large = store.select(&large).await.expect("store is available");
    [large, small].concat()
}

async fn erase(store: &impl Operations) {
    let results = store.erase(&selected(store).await).await.expect("store is available");
    let outcomes: Vec<_> = results.iter().map(|result| result.outcome).collect();
    assert_eq!(outcomes, [EraseOutcome::Erased; 3]);
}

/// Executes statements, each in a transaction of its own.
async fn execute(database: &mut PgConnection, statements: &str) {
    for statement in statements.split(';') {
        let statement = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        statement.execute(&mut *database).await.expect("statement is valid");
    }
}

/// Returns the files below a folder that contain the name, except those in `pg_wal`.
fn files_with_name(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("folder is readable") {
        let path = entry.expect("folder is readable").path();
        if path.is_dir() && !path.ends_with("pg_wal") {
            found.extend(files_with_name(&path));
        } else if path.is_file() {
            let content = fs::read(&path).unwrap_or_default();
            if content.windows(NAME.len()).any(|window| window == NAME.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// The store is open and in use while another connection vacuums. The vacuum does not look to it
/// like a replacement of its file.
#[tokio::test(flavor = "multi_thread")]
async fn erased_data_is_in_no_file_of_sqlite_after_vacuum() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/inbox.db", folder.path().display());
    let store = SqliteStore::open(&url).await.unwrap();
    store_name(&store).await;
    let mut operator = SqliteConnection::connect(&url).await.unwrap();
    let damage = format!(
        "update stripe_inbox_deliveries set history = '{NAME}' where history is null;
         pragma wal_checkpoint"
    );
    sqlx::raw_sql(AssertSqlSafe(damage)).execute(&mut operator).await.unwrap();
    let before = files_with_name(folder.path());
    assert_eq!(before.len(), 2, "the database and the WAL: {before:?}");

    erase(&store).await;
    let vacuuming = async {
        sqlx::raw_sql("vacuum").execute(&mut operator).await.unwrap();
        let checkpoint = sqlx::query("pragma wal_checkpoint(truncate)");
        let is_busy: i64 = checkpoint.fetch_one(&mut operator).await.unwrap().get(0);
        assert_eq!(is_busy, 0);
    };
    let storing = async {
        for number in 0..20 {
            store.store(&[paid(&format!("evt_{number}"))]).await.unwrap();
            run(&store, DeliveryOutcome::Done).await;
        }
    };
    tokio::join!(vacuuming, storing);
    assert_eq!(files_with_name(folder.path()), [""; 0]);
    store.store(&[paid("evt_later")]).await.unwrap();
    run(&store, DeliveryOutcome::Done).await;
    assert_eq!(files_with_name(folder.path()), [""; 0]);
    let shown = store.show("evt_small").await.unwrap();
    assert_eq!(shown[0].deliveries[0].history.len(), 4);
}

/// PostgreSQL's statistics have samples of the columns, so they are made again. The write-ahead log
/// has the data until the server reuses its files.
#[tokio::test]
async fn erased_data_is_in_no_file_of_postgres_after_vacuum() {
    let Some(server) = postgres::Server::start() else { return };
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    let mut operator = PgConnection::connect(&server.url()).await.unwrap();
    // Compressed data cannot be searched for.
    execute(
        &mut operator,
        "alter table stripe_inbox.events alter payload set storage external;
         alter table stripe_inbox.redelivered alter payload set storage external;
         alter table stripe_inbox.deliveries alter error set storage external, alter history set storage external",
    )
    .await;
    store_name(&store).await;
    let damaged = format!(r#"'["{NAME}", {{"error":"{NAME}"}}]'"#);
    let damage =
        format!("update stripe_inbox.deliveries set history = {damaged} where history is null");
    execute(&mut operator, &damage).await;
    execute(&mut operator, "analyze; checkpoint").await;
    let directory = sqlx::query_scalar("show data_directory").fetch_one(&mut operator).await;
    let directory: String = directory.unwrap();
    let before = files_with_name(directory.as_ref());
    let statistics = sqlx::query_scalar("select pg_relation_filepath('pg_statistic')");
    let statistics: String = statistics.fetch_one(&mut operator).await.unwrap();
    assert!(before.iter().any(|file| file.ends_with(&statistics)), "{before:?}");
    assert!(before.len() >= 4, "{before:?}");

    erase(&store).await;
    execute(
        &mut operator,
        "vacuum (full, analyze) stripe_inbox.events, stripe_inbox.redelivered, stripe_inbox.deliveries;
         vacuum full pg_statistic; checkpoint",
    )
    .await;
    assert_eq!(files_with_name(directory.as_ref()), [""; 0]);
}
