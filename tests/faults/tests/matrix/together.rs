//! Several processes that share a store.

use http::StatusCode;
use router_core::testing::Payload;
use router_inbox::store::DeliveryState::{Done, Running, Waiting};

use crate::{on_each_store, process::Process, shop::Shop, wait_until};

on_each_store!(
    two_processes_share_deliveries_without_repeats,
    duplicates_during_a_run_and_a_retry_add_nothing,
    suspended_process_records_nothing_after_its_lease,
    shutdown_releases_deliveries_in_flight,
);

/// A lease that does not expire during a test.
const LONG_LEASE: [&str; 2] = ["--lease", "10m"];

async fn two_processes_share_deliveries_without_repeats(shop: Shop) {
    let mut first = shop.serve(&LONG_LEASE).await.expect("process serves");
    shop.stripe.deliver_all(shop.stripe.events("invoice.paid", 30)).await;
    let mut second = shop.serve(&LONG_LEASE).await.expect("process serves");
    shop.stripe.deliver_all(shop.stripe.events("invoice.paid", 30)).await;
    shop.wait_until_idle().await;
    shop.check_guarantees().await;
    for (event, _) in shop.stripe.acknowledged() {
        for delivery in shop.deliveries(&event).await {
            assert_eq!(delivery.attempts, 1, "{event}: {delivery:?}");
        }
    }
    assert_eq!(shop.ledger().len(), 60, "without a fault nothing runs twice");
    let handlers = shop.expected_states("invoice.paid").len();
    assert_eq!(count_runs(&mut first) + count_runs(&mut second), 60 * handlers);
}

async fn duplicates_during_a_run_and_a_retry_add_nothing(shop: Shop) {
    let options = [&LONG_LEASE[..], &["--fail-first"]].concat();
    let mut first = shop.serve(&options).await.expect("process serves");
    let event = start_held_run(&shop, &mut first).await;
    let mut second = shop.serve(&LONG_LEASE).await.expect("process serves");
    for _ in 0..5 {
        assert_eq!(shop.stripe.send(&event).await, Some(StatusCode::OK));
    }
    // A process that handles these has also seen the duplicates.
    shop.stripe.deliver_all(shop.stripe.events("invoice.paid", 10)).await;
    wait_until("the other events", async || shop.ledger().len() == 10).await;
    assert_eq!(shop.state(&event).await, (Running, 1));
    shop.open_gate();
    wait_until("the end of the first run", async || shop.state(&event).await != (Running, 1)).await;
    assert_eq!(shop.stripe.send(&event).await, Some(StatusCode::OK));
    shop.wait_until_idle().await;
    assert_eq!(shop.state(&event).await, (Done, 2));
    shop.check_guarantees().await;
    let is_held_run = |line: &String| line.starts_with("began shop.held");
    let lines = [first.unread_lines(), second.unread_lines()].concat();
    let reruns = lines.into_iter().filter(is_held_run).count();
    assert_eq!(reruns, 1, "one retry; the line of the first run has been read before");
}

/// Tests both a process that notices the loss of its lease, and one without heartbeats, which
/// tries to record its outcome.
async fn suspended_process_records_nothing_after_its_lease(shop: Shop) {
    // With SQLite, a process could be suspended while its heartbeat holds the file's lock.
    let without_heartbeat: &[_] = if shop.database.is_sqlite() { &[true] } else { &[true, false] };
    for no_heartbeat in without_heartbeat {
        let _endpoint = shop.serve(&["--no-worker"]).await.expect("process serves");
        let options: &[_] =
            if *no_heartbeat { &["--no-serve", "--no-heartbeat"] } else { &["--no-serve"] };
        let mut first = shop.start(options);
        shop.close_gate();
        let event = start_held_run(&shop, &mut first).await;
        first.signal("STOP").await;
        let mut second = shop.start(&["--no-serve"]);
        second.wait_for_line("began shop.held").await.expect("second process takes over");
        shop.open_gate();
        shop.wait_until_idle().await;
        assert_eq!(shop.state(&event).await, (Done, 2));
        let lost = || shop.log().matches("lease lost: this process").count();
        let before = lost();
        first.signal("CONT").await;
        wait_until("the log line about the lost lease", async || lost() > before).await;
        assert!(first.is_alive());
        assert_eq!(shop.state(&event).await, (Done, 2));
        shop.check_guarantees().await;
    }
}

async fn shutdown_releases_deliveries_in_flight(shop: Shop) {
    let options = [&LONG_LEASE[..], &["--shutdown-grace", "100ms"]].concat();
    let mut first = shop.serve(&options).await.expect("process serves");
    let event = start_held_run(&shop, &mut first).await;
    first.signal("TERM").await;
    assert!(first.wait().await.success());
    assert_eq!(shop.state(&event).await, (Waiting, 0), "a release counts no attempt");
    let mut second = shop.serve(&LONG_LEASE).await.expect("process serves");
    second.wait_for_line("began shop.held").await.expect("released delivery is due at once");
    shop.open_gate();
    shop.wait_until_idle().await;
    assert_eq!(shop.state(&event).await, (Done, 1));
    shop.check_guarantees().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_skew_does_not_expire_leases() {
    for (first, second) in [("ahead", "behind"), ("behind", "ahead")] {
        let shops = [Shop::on_postgres().await, Shop::on_jetstream().await];
        for shop in shops.into_iter().flatten() {
            check_clock_skew(shop, first, second).await;
        }
    }
}

/// Checks that leases follow the server's time, and not the clocks of the processes' machines.
async fn check_clock_skew(shop: Shop, first: &str, second: &str) {
    let clock = |skew| [format!("--clock-{skew}"), "2h".to_owned()];
    let (first, second) = (clock(first), clock(second));
    let first = first.each_ref().map(|option| &**option);
    let options = [&["--lease", "10m", "--concurrency", "1"], &first[..]].concat();
    let mut first = shop.serve(&options).await.expect("process serves");
    let event = start_held_run(&shop, &mut first).await;
    let second = second.each_ref().map(|option| &**option);
    let _second = shop.serve(&second).await.expect("process serves");
    // The first process has no free slot. So the second handles these, and would also claim the
    // held delivery if it took the lease for expired.
    shop.stripe.deliver_all(shop.stripe.events("invoice.paid", 10)).await;
    wait_until("the other events", async || shop.ledger().len() == 10).await;
    assert_eq!(shop.state(&event).await, (Running, 1));
    shop.open_gate();
    shop.wait_until_idle().await;
    assert_eq!(shop.state(&event).await, (Done, 1));
    shop.check_guarantees().await;
}

/// With SQLite, leases follow the machine's clock. A jump expires leases early, but a process whose
/// lease was lost records nothing.
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_clock_jump_costs_an_attempt_only() {
    let shop = Shop::on_sqlite().await;
    let options = [&LONG_LEASE[..], &["--no-heartbeat"]].concat();
    let mut first = shop.serve(&options).await.expect("process serves");
    let event = start_held_run(&shop, &mut first).await;
    let mut second = shop.serve(&["--clock-ahead", "2h"]).await.expect("process serves");
    second.wait_for_line("began shop.held").await.expect("second process takes over");
    shop.open_gate();
    shop.wait_until_idle().await;
    wait_until("the log line about the lost lease", async || {
        shop.log().contains("lease lost: this process did not renew it in time")
    })
    .await;
    assert_eq!(shop.state(&event).await, (Done, 2));
    shop.check_guarantees().await;
}

/// Sends an event whose handler waits for the gate, and waits until this process runs it.
async fn start_held_run(shop: &Shop, process: &mut Process) -> Payload {
    let event = shop.stripe.events("invoice.updated", 1).remove(0);
    shop.stripe.deliver(&event).await;
    let started = process.wait_for_line("began shop.held").await;
    assert_eq!(started.as_deref(), Some(event.id()));
    event
}

/// Returns the number of runs that the process has started since its lines were last read.
fn count_runs(process: &mut Process) -> usize {
    process.unread_lines().iter().filter(|line| line.starts_with("began")).count()
}
