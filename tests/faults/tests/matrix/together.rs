//! Several processes at one store.

use http::StatusCode;
use router_core::testing::Payload;
use router_inbox::DeliveryState::{Done, Running, Waiting};

use crate::{on_each_store, process::Process, shop::Shop, until};

on_each_store!(
    two_processes_share_the_work,
    duplicates_come_while_the_first_runs_and_fails,
    one_that_stood_still_past_its_lease_writes_nothing,
    one_that_is_told_to_stop_gives_back_what_runs,
);

/// Leases that do not run out.
const LONG: [&str; 2] = ["--lease", "10m"];

async fn two_processes_share_the_work(shop: Shop) {
    let mut one = shop.serve(&LONG).await.expect("it serves");
    shop.stripe.deliver_all(shop.stripe.events("invoice.paid", 30)).await;
    let mut other = shop.serve(&LONG).await.expect("it serves");
    shop.stripe.deliver_all(shop.stripe.events("invoice.paid", 30)).await;
    shop.all_ended().await;
    shop.check().await;
    for (event, _) in shop.stripe.acknowledged() {
        for kept in shop.deliveries(&event).await {
            assert_eq!(kept.attempts, 1, "{event}: {kept:?}");
        }
    }
    assert_eq!(shop.ledger().len(), 60, "without a fault nothing is done twice");
    let handlers = shop.ends("invoice.paid").len();
    assert_eq!(begun(&mut one) + begun(&mut other), 60 * handlers);
}

async fn duplicates_come_while_the_first_runs_and_fails(shop: Shop) {
    let mut one = shop.serve(&[&LONG[..], &["--fail-first"]].concat()).await.expect("it serves");
    let event = held(&shop, &mut one).await;
    let mut other = shop.serve(&LONG).await.expect("it serves");
    for _ in 0..5 {
        assert_eq!(shop.stripe.send(&event).await, Some(StatusCode::OK));
    }
    // Whoever is done with this has looked at that too.
    shop.stripe.deliver_all(shop.stripe.events("invoice.paid", 10)).await;
    until("the others", async || shop.ledger().len() == 10).await;
    assert_eq!(shop.state(&event).await, (Running, 1));
    shop.open_gate();
    until("its first end", async || shop.state(&event).await != (Running, 1)).await;
    assert_eq!(shop.stripe.send(&event).await, Some(StatusCode::OK));
    shop.all_ended().await;
    assert_eq!(shop.state(&event).await, (Done, 2));
    shop.check().await;
    let held = |line: &String| line.starts_with("began shop.held");
    let again = [one.said(), other.said()].concat().into_iter().filter(held).count();
    assert_eq!(again, 1, "the first was heard before");
}

/// Whether it then notices that its lease is gone, or believes that it has it still.
async fn one_that_stood_still_past_its_lease_writes_nothing(shop: Shop) {
    // In SQLite it could stand still with the file locked, while it writes that it is alive.
    let believes: &[_] = if shop.database.is_a_file() { &[true] } else { &[true, false] };
    for believes in believes {
        let _front = shop.serve(&["--no-worker"]).await.expect("it serves");
        let signs: &[_] = if *believes { &["--no-serve", "--no-signs"] } else { &["--no-serve"] };
        let mut one = shop.start(signs);
        shop.shut_gate();
        let event = held(&shop, &mut one).await;
        one.signal("STOP").await;
        let mut other = shop.start(&["--no-serve"]);
        other.says("began shop.held").await.expect("it takes over");
        shop.open_gate();
        shop.all_ended().await;
        assert_eq!(shop.state(&event).await, (Done, 2));
        let lost = || shop.log().matches("lease lost: this process").count();
        let before = lost();
        one.signal("CONT").await;
        until("that it notices", async || lost() > before).await;
        assert!(one.is_alive());
        assert_eq!(shop.state(&event).await, (Done, 2));
        shop.check().await;
    }
}

async fn one_that_is_told_to_stop_gives_back_what_runs(shop: Shop) {
    let mut one =
        shop.serve(&[&LONG[..], &["--grace", "100ms"]].concat()).await.expect("it serves");
    let event = held(&shop, &mut one).await;
    one.signal("TERM").await;
    assert!(one.ended().await.success());
    assert_eq!(shop.state(&event).await, (Waiting, 0), "it costs nobody an attempt");
    let mut other = shop.serve(&LONG).await.expect("it serves");
    other.says("began shop.held").await.expect("it goes on at once");
    shop.open_gate();
    shop.all_ended().await;
    assert_eq!(shop.state(&event).await, (Done, 1));
    shop.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_whose_clocks_differ_take_nothing_from_each_other() {
    for (one, other) in [("ahead", "behind"), ("behind", "ahead")] {
        let shops = [Shop::on_postgres().await, Shop::on_jetstream().await];
        for shop in shops.into_iter().flatten() {
            clocks_differ(shop, one, other).await;
        }
    }
}

/// The time is the server's: no clock of a machine makes a difference.
async fn clocks_differ(shop: Shop, one: &str, other: &str) {
    let clock = |differs| [format!("--clock-{differs}"), "2h".to_owned()];
    let (one, other) = (clock(one), clock(other));
    let one = [&["--lease", "10m", "--concurrency", "1"], &one.each_ref().map(|one| &**one)[..]];
    let mut one = shop.serve(&one.concat()).await.expect("it serves");
    let event = held(&shop, &mut one).await;
    let _other = shop.serve(&other.each_ref().map(|other| &**other)).await.expect("it serves");
    // The first has no room, so it is the other that does these, and could take that one.
    shop.stripe.deliver_all(shop.stripe.events("invoice.paid", 10)).await;
    until("the others", async || shop.ledger().len() == 10).await;
    assert_eq!(shop.state(&event).await, (Running, 1));
    shop.open_gate();
    shop.all_ended().await;
    assert_eq!(shop.state(&event).await, (Done, 1));
    shop.check().await;
}

/// In SQLite it is the machine's. A clock that jumps ends leases early, and who lost its lease writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_costs_an_attempt_and_doubles_nothing() {
    let shop = Shop::on_sqlite().await;
    let mut one = shop.serve(&[&LONG[..], &["--no-signs"]].concat()).await.expect("it serves");
    let event = held(&shop, &mut one).await;
    let mut other = shop.serve(&["--clock-ahead", "2h"]).await.expect("it serves");
    other.says("began shop.held").await.expect("it takes over");
    shop.open_gate();
    shop.all_ended().await;
    until("that it notices", async || shop.log().contains("lease lost: this process")).await;
    assert_eq!(shop.state(&event).await, (Done, 2));
    shop.check().await;
}

/// An event whose handler has begun in this process, and waits for the gate.
async fn held(shop: &Shop, process: &mut Process) -> Payload {
    let event = shop.stripe.events("invoice.updated", 1).remove(0);
    shop.stripe.deliver(&event).await;
    let begun = process.says("began shop.held").await;
    assert_eq!(begun.as_deref(), Some(event.id()));
    event
}

fn begun(process: &mut Process) -> usize {
    process.said().iter().filter(|line| line.starts_with("began")).count()
}
