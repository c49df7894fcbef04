//! Stores that cannot be written for a while: events are answered with 503 meanwhile, and the same
//! process handles all of them once the store can be written again.

use http::StatusCode;
use router_core::testing::{Payload, SyntheticEvent};
use router_test_servers::postgres::Server;
use tokio::task::JoinSet;

use crate::{database::Database, process::Process, shop::Shop};

/// The answer while the store is unavailable.
pub(crate) const UNAVAILABLE: Option<StatusCode> = Some(StatusCode::SERVICE_UNAVAILABLE);

/// A short store timeout, so that events are refused soon.
pub(crate) const SHORT_TIMEOUT: [&str; 2] = ["--store-timeout", "300ms"];

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_recovers_after_another_program_locks_it() {
    let shop = Shop::on_sqlite().await;
    let mut process = start_working(&shop, &SHORT_TIMEOUT).await;
    let lock = shop.database.lock_sqlite().await;
    let refused = send_refused(&shop).await;
    lock.rollback().await.unwrap();
    check_recovery(&shop, &mut process, refused).await;
}

/// Events that were answered with 503 leave the memory, although the store has not answered yet.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_while_the_store_hangs() {
    let shop = Shop::on_sqlite().await;
    let process = start_working(&shop, &SHORT_TIMEOUT).await;
    let lock = shop.database.lock_sqlite().await;
    let before = process.peak_memory();
    let mut sending = JoinSet::new();
    for _ in 0..64 {
        let stripe = shop.stripe.clone();
        sending.spawn(async move {
            for _ in 0..8 {
                let event =
                    SyntheticEvent::new("invoice.paid").set("description", "x".repeat(200_000));
                assert_eq!(stripe.send(&stripe.event(event)).await, UNAVAILABLE);
            }
        });
    }
    sending.join_all().await;
    let growth = (process.peak_memory() - before) / 1_000_000;
    println!("memory grew by {growth} MB during 102 MB of refused events");
    assert!(growth < 60, "{growth} MB");
    lock.rollback().await.unwrap();
    shop.stripe.deliver_all(shop.stripe.events("invoice.paid", 8)).await;
}

/// Simulates the full disk by a file size limit: writes fail with `EFBIG` instead of `ENOSPC`.
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_recovers_from_a_full_disk() {
    let shop = Shop::on_sqlite().await;
    let mut process = start_working(&shop, &SHORT_TIMEOUT).await;
    process.set_limit("--fsize=1:unlimited").await.unwrap();
    let refused = send_refused(&shop).await;
    process.set_limit("--fsize=unlimited:unlimited").await.unwrap();
    check_recovery(&shop, &mut process, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_recovers_from_a_shutdown() {
    let Some(mut server) = Server::start() else { return };
    let shop = Shop::on_postgres_server(&server).await;
    let mut process = start_working(&shop, &SHORT_TIMEOUT).await;
    server.stop();
    let refused = send_refused(&shop).await;
    server.restart();
    check_recovery(&shop, &mut process, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_recovers_from_kills_under_load() {
    let Some(mut server) = Server::start() else { return };
    let shop = Shop::on_postgres_server(&server).await;
    let mut process = start_working(&shop, &SHORT_TIMEOUT).await;
    for _ in 0..2 {
        let (stripe, events) = (shop.stripe.clone(), shop.stripe.events("invoice.paid", 30));
        let delivered = tokio::spawn(async move { stripe.deliver_all(events).await });
        process.wait_for_line("began shop.effect").await.unwrap();
        server.kill();
        server.restart();
        delivered.await.unwrap();
    }
    check_recovery(&shop, &mut process, Vec::new()).await;
}

/// Simulates a failover to a read-only standby, and back. Existing sessions keep their setting.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_recovers_from_a_read_only_database() {
    let Some(shop) = Shop::on_postgres().await else { return };
    let mut process = start_working(&shop, &[]).await;
    set_read_only(&shop.database, "= on").await;
    end_sessions(&shop.database).await;
    let refused = send_refused(&shop).await;
    set_read_only(&shop.database, "= off").await;
    // The first attempt must succeed: the pool's sessions are still read-only, so this must not
    // depend on a session that was opened later.
    for event in &refused {
        assert_eq!(shop.stripe.send(event).await, Some(StatusCode::OK), "{}", shop.log());
    }
    check_recovery(&shop, &mut process, refused).await;
}

/// A store timeout that is longer than any outage of these tests, so that each event's outcome is
/// known.
pub(crate) const LONG_TIMEOUT: [&str; 2] = ["--store-timeout", "15s"];

/// Starts a process that serves, and sends it some events.
pub(crate) async fn start_working(shop: &Shop, options: &[&str]) -> Process {
    let process = shop.serve(options).await.expect("process serves");
    shop.stripe.deliver_all(shop.stripe.events("invoice.paid", 8)).await;
    process
}

/// Sends events that must be answered with 503, and returns them.
pub(crate) async fn send_refused(shop: &Shop) -> Vec<Payload> {
    let events = shop.stripe.events("invoice.paid", 3);
    for event in &events {
        assert_eq!(shop.stripe.send(event).await, UNAVAILABLE, "{}", shop.log());
    }
    events
}

/// Sends the refused events again, and more, and checks that this process handles all.
pub(crate) async fn check_recovery(shop: &Shop, process: &mut Process, refused: Vec<Payload>) {
    shop.stripe.deliver_all(refused).await;
    shop.stripe.deliver_all(shop.stripe.events("invoice.paid", 8)).await;
    shop.wait_until_idle().await;
    shop.check_guarantees().await;
    assert!(process.is_alive(), "the process has survived");
}

async fn set_read_only(database: &Database, value: &str) {
    let alter = "alter database %I set default_transaction_read_only";
    let alter = format!("execute format('{alter} {value}', current_database())");
    database.run_sql(&format!("begin read write; do $$ begin {alter}; end $$; commit")).await;
}

async fn end_sessions(database: &Database) {
    let others = "datname = current_database() and pid <> pg_backend_pid()";
    let end = format!("select pg_terminate_backend(pid) from pg_stat_activity where {others}");
    database.run_sql(&end).await;
}
