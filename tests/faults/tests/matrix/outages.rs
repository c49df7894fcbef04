//! Stores that cannot be written to for a while: Stripe is told to come again, and once they can be, all is done by
//! the same process.

use http::StatusCode;
use router_core::testing::Payload;

use crate::{database::Database, postgres::Server, process::Process, shop::Shop};

pub(crate) const REFUSED: Option<StatusCode> = Some(StatusCode::SERVICE_UNAVAILABLE);

/// Stripe does not wait for long.
pub(crate) const IMPATIENT: [&str; 2] = ["--store-timeout", "300ms"];

#[tokio::test(flavor = "multi_thread")]
async fn another_program_holds_the_file() {
    let shop = Shop::on_sqlite().await;
    let mut process = at_work(&shop, &IMPATIENT).await;
    let lock = shop.database.locked().await;
    let refused = refused(&shop).await;
    lock.rollback().await.unwrap();
    recovers(&shop, &mut process, refused).await;
}

/// A file may not be made longer: `EFBIG`, where a full disk says `ENOSPC`.
#[tokio::test(flavor = "multi_thread")]
async fn the_disk_is_full() {
    let shop = Shop::on_sqlite().await;
    let mut process = at_work(&shop, &IMPATIENT).await;
    process.limit("--fsize=1:unlimited").await.unwrap();
    let refused = refused(&shop).await;
    process.limit("--fsize=unlimited:unlimited").await.unwrap();
    recovers(&shop, &mut process, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_stopped() {
    let Some(mut server) = Server::start() else { return };
    let shop = Shop::on(&server).await;
    let mut process = at_work(&shop, &IMPATIENT).await;
    server.stop();
    let refused = refused(&shop).await;
    server.restart();
    recovers(&shop, &mut process, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_killed_in_the_midst_of_work() {
    let Some(mut server) = Server::start() else { return };
    let shop = Shop::on(&server).await;
    let mut process = at_work(&shop, &IMPATIENT).await;
    for _ in 0..2 {
        let (stripe, events) = (shop.stripe.clone(), shop.stripe.events("invoice.paid", 30));
        let delivered = tokio::spawn(async move { stripe.deliver_all(events).await });
        process.says("began shop.effect").await.unwrap();
        server.kill();
        server.restart();
        delivered.await.unwrap();
    }
    recovers(&shop, &mut process, Vec::new()).await;
}

/// As after a failover: connections that are open stay as they are.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_read_only() {
    let Some(shop) = Shop::on_postgres().await else { return };
    let mut process = at_work(&shop, &[]).await;
    read_only(&shop.database, "= on").await;
    end_sessions(&shop.database).await;
    let refused = refused(&shop).await;
    read_only(&shop.database, "= off").await;
    // At once: it is luck whether a pool has another connection, which began later.
    for event in &refused {
        assert_eq!(shop.stripe.send(event).await, Some(StatusCode::OK), "{}", shop.log());
    }
    recovers(&shop, &mut process, refused).await;
}

/// Long enough that it is the store which says whether an event is there, and not that nobody has said so in time.
pub(crate) const PATIENT: [&str; 2] = ["--store-timeout", "15s"];

/// A process that has done something, and has something to do.
pub(crate) async fn at_work(shop: &Shop, options: &[&str]) -> Process {
    let process = shop.serve(options).await.expect("it serves");
    shop.stripe.deliver_all(shop.stripe.events("invoice.paid", 8)).await;
    process
}

/// Events that are not taken.
pub(crate) async fn refused(shop: &Shop) -> Vec<Payload> {
    let events = shop.stripe.events("invoice.paid", 3);
    for event in &events {
        assert_eq!(shop.stripe.send(event).await, REFUSED, "{}", shop.log());
    }
    events
}

pub(crate) async fn recovers(shop: &Shop, process: &mut Process, refused: Vec<Payload>) {
    shop.stripe.deliver_all(refused).await;
    shop.stripe.deliver_all(shop.stripe.events("invoice.paid", 8)).await;
    shop.all_ended().await;
    shop.check().await;
    assert!(process.is_alive(), "it is the same process");
}

async fn read_only(database: &Database, set: &str) {
    let alter = "alter database %I set default_transaction_read_only";
    let alter = format!("execute format('{alter} {set}', current_database())");
    database.run(&format!("begin read write; do $$ begin {alter}; end $$; commit")).await;
}

async fn end_sessions(database: &Database) {
    let others = "datname = current_database() and pid <> pg_backend_pid()";
    let end = format!("select pg_terminate_backend(pid) from pg_stat_activity where {others}");
    database.run(&end).await;
}
