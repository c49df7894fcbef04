//! The application's own tables are in the file of the inbox.

use std::time::Duration;

use router_core::{BoxError, Event, Failure, Router, build::RouterBuilder, on_event};
use router_inbox::{
    Inbox, SqliteStore, Store as _, Tx,
    sqlx::{
        Row as _, Sqlite, SqlitePool, query, raw_sql,
        sqlite::{SqliteConnectOptions, SqliteJournalMode},
    },
    store::{
        DeliveryState::{Dead, Done},
        Stored, StoredDelivery,
    },
};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tower::Service as _;

use crate::shop::{event, wait_for_disk};

/// Has the names of the inbox's tables, without their prefix, and the version of another tool.
const SHOP_MIGRATION: &str = "
    create table events (id text primary key, place text not null);
    create table deliveries (event text not null references events (id), parcel text not null);
    create table handlers (name text);
    create table unhandled (event text);
    create table migrations (version integer);
    create index events_by_id on events (id);
    pragma user_version = 7";

/// Writes to the shop's tables, one of which refers to the other.
#[on_event("invoice.paid", name = "shop.ship")]
async fn ship(event: Event, mut tx: Tx<Sqlite>) -> Result<(), BoxError> {
    let db = tx.begin().await?;
    query("insert into events values (?, 'Bremen')").bind(event.id()).execute(&mut *db).await?;
    let ship = query("insert into deliveries values (?, 'parcel')").bind(event.id());
    ship.execute(db).await?;
    Ok(())
}

/// Violates a foreign key of the shop's tables.
#[on_event("invoice.paid", name = "shop.ship_unknown")]
async fn ship_unknown(mut tx: Tx<Sqlite>) -> Result<(), Failure> {
    let ship = query("insert into deliveries values ('evt_unknown', 'parcel')");
    ship.execute(tx.begin().await?).await.map_err(Failure::permanent)?;
    Ok(())
}

/// The pool of the shop's own routes.
async fn pool(folder: &TempDir) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("shop.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(15))
        .foreign_keys(true);
    SqlitePool::connect_with(options).await.expect("folder is writable")
}

async fn number(pool: &SqlitePool, statement: &'static str) -> i64 {
    query(statement).fetch_one(pool).await.expect("table exists").get(0)
}

/// Receives an event, runs a worker until its only delivery has ended, and returns the delivery.
async fn deliver(store: &SqliteStore, id: &str, router: RouterBuilder) -> StoredDelivery {
    let router = router.delivered_by(store).build().expect("router is valid");
    let mut inbox = Inbox::new(store.clone(), router.clone());
    let receipt = inbox.call(event(id)).await.expect("inbox is writable");
    assert_eq!(receipt.stored(), Some(&Stored::New));
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = inbox.worker(router).run(async { drop(stopped.await) });
    let ended = async {
        wait_for_disk(async || [Done, Dead].contains(&delivery(store, id).await.state)).await;
        drop(stop);
    };
    tokio::join!(worker, ended);
    delivery(store, id).await
}

async fn delivery(store: &SqliteStore, id: &str) -> StoredDelivery {
    store.deliveries(id).await.expect("inbox is readable").remove(0)
}

/// Checks that a `Tx` writes to the tables of the shop and to those of the inbox.
async fn check(store: &SqliteStore, shop: &SqlitePool) {
    let shipped = deliver(store, "evt_1", Router::builder().without_linked().add::<ship>()).await;
    assert_eq!(shipped.state, Done);
    assert_eq!(number(shop, "select count(*) from deliveries join events on event = id").await, 1);
    let refused =
        deliver(store, "evt_2", Router::builder().without_linked().add::<ship_unknown>()).await;
    let error = refused.error.unwrap_or_default();
    assert_eq!((refused.state, error.contains("FOREIGN KEY")), (Dead, true), "{error}");
    assert_eq!(number(shop, "select count(*) from deliveries").await, 1);
    assert_eq!(number(shop, "pragma user_version").await, 7);
}

#[tokio::test]
async fn inbox_is_added_to_file_of_shop() {
    let folder = tempfile::tempdir().unwrap();
    let shop = pool(&folder).await;
    raw_sql(SHOP_MIGRATION).execute(&shop).await.unwrap();
    let store = SqliteStore::from_pool(&shop).await.unwrap();
    check(&store, &shop).await;
}

#[tokio::test]
async fn shop_is_added_to_file_of_inbox() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/shop.db", folder.path().display());
    let store = SqliteStore::open(&url).await.unwrap();
    let shop = pool(&folder).await;
    assert_eq!(number(&shop, "pragma user_version").await, 0);
    raw_sql(SHOP_MIGRATION).execute(&shop).await.unwrap();
    check(&store, &shop).await;
    // Both open the file again.
    drop(store);
    shop.close().await;
    let shop = pool(&folder).await;
    raw_sql("alter table deliveries add column token text").execute(&shop).await.unwrap();
    let store = SqliteStore::options().create_if_missing(false).open(&url).await.unwrap();
    assert_eq!(delivery(&store, "evt_1").await.state, Done);
    assert_eq!(number(&shop, "pragma user_version").await, 7);
}

#[tokio::test]
async fn names_of_inbox_begin_with_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let shop = pool(&folder).await;
    SqliteStore::from_pool(&shop).await.unwrap();
    let others = "select count(*) from sqlite_schema
         where name not like 'stripe\\_inbox\\_%' escape '\\' and name not like 'sqlite\\_%' escape '\\'";
    assert_eq!(number(&shop, others).await, 0);
}
