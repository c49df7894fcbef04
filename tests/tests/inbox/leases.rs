//! Whose a delivery is, when processes die, stand still, or cannot reach the store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use router_core::{Event, Router, State, on_event, testing::ManualClock};
use router_inbox::{
    ClaimRequest, Completed, DeliveryOutcome,
    DeliveryState::{Dead, Done, Running, Waiting},
    Store as _,
};
use router_tests::now;
use tokio::sync::Semaphore;

use crate::shop::{Shop, settle, until};

#[derive(Clone)]
struct Runs {
    begun: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

#[on_event("invoice.paid", name = "shop.twice", attempts = 2, backoff = "10s", timeout = "10m")]
async fn twice(_: Event, runs: State<Runs>) {
    runs.begun.fetch_add(1, Ordering::SeqCst);
    let gate = runs.gate.clone();
    gate.acquire().await.expect("it is never closed").forget();
}

const LEASE: Duration = Duration::from_secs(60);

fn shop(permits: usize) -> (Shop, Runs) {
    let runs = Runs { begun: Arc::default(), gate: Arc::new(Semaphore::new(permits)) };
    let shop = Shop::new(Router::builder().without_linked().add::<twice>().state(runs.clone()));
    (shop, runs)
}

fn begun(runs: &Runs) -> usize {
    runs.begun.load(Ordering::SeqCst)
}

/// As a process that dies then.
async fn claim(shop: &Shop) -> router_inbox::Claim {
    let wanted = ClaimRequest { handlers: vec![("shop.twice".into(), 9)], limit: 9, lease: LEASE };
    let mut claims = shop.store().claim(&wanted).await.expect("it is there");
    assert_eq!(claims.len(), 1, "{claims:?}");
    claims.remove(0)
}

#[tokio::test]
async fn an_attempt_whose_process_died_has_failed_and_is_followed_by_another() {
    let (shop, runs) = shop(9);
    shop.receive("evt_1").await.unwrap();
    let dead = claim(&shop).await;
    let worker = shop.work();
    shop.pass(LEASE).await;
    shop.is("evt_1", Waiting, 1).await;
    assert_eq!(begun(&runs), 0, "not beside whatever was lease_expired with it");
    let error = shop.deliveries("evt_1").await[0].error.clone().unwrap();
    assert!(error.contains("the process crashed"), "{error}");
    shop.pass(Duration::from_secs(13)).await;
    shop.is("evt_1", Done, 2).await;
    assert_eq!(begun(&runs), 1);
    let late = shop
        .store()
        .complete(&[(dead.lease, DeliveryOutcome::Dead { error: "late".into() })])
        .await;
    assert_eq!(late.unwrap(), [Completed::LeaseLost]);
    worker.stop().await;
}

#[tokio::test]
async fn a_handler_that_ends_its_process_each_time_is_a_dead_letter_in_the_end() {
    let (shop, runs) = shop(9);
    shop.receive("evt_1").await.unwrap();
    for attempt in 1..=2 {
        assert_eq!(claim(&shop).await.attempt, attempt);
        shop.clock.advance(LEASE);
        let next = shop.work();
        let state = if attempt == 2 { Dead } else { Waiting };
        shop.is("evt_1", state, attempt).await;
        next.stop().await;
        shop.clock.advance(Duration::from_secs(13));
    }
    let error = shop.deliveries("evt_1").await[0].error.clone().unwrap();
    assert!(
        error.starts_with("attempt 2 of 2 failed: the attempt was started but never finished"),
        "{error}"
    );
    assert_eq!(begun(&runs), 0);
}

#[tokio::test]
async fn a_handler_that_takes_longer_than_a_lease_keeps_it() {
    let (shop, runs) = shop(0);
    shop.receive("evt_1").await.unwrap();
    let workers = [(); 2].map(|()| shop.work_as(|one| one.lease(Duration::from_secs(3))));
    until(async || begun(&runs) == 1).await;
    // Less than the handler's own time in all.
    for _ in 0..18 {
        shop.pass(Duration::from_secs(1)).await;
    }
    runs.gate.add_permits(9);
    shop.is("evt_1", Done, 1).await;
    assert_eq!(begun(&runs), 1);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn who_stood_still_for_longer_than_a_lease_can_write_nothing() {
    let (shop, runs) = shop(0);
    let stands_still = ManualClock::at(now());
    shop.receive("evt_1").await.unwrap();
    let still = shop.work_by(&stands_still);
    until(async || begun(&runs) == 1).await;
    shop.clock.advance(LEASE);
    let other = shop.work();
    shop.is("evt_1", Waiting, 1).await;
    // It goes on, as if nothing had happened.
    runs.gate.add_permits(1);
    still.stop().await;
    assert_eq!(shop.state("evt_1").await, (Waiting, 1));
    runs.gate.add_permits(1);
    shop.pass(Duration::from_secs(13)).await;
    shop.is("evt_1", Done, 2).await;
    assert_eq!(begun(&runs), 2, "at least once, and here twice");
    other.stop().await;
}

#[tokio::test]
async fn who_finds_its_lease_lost_stops_the_handler_where_it_waits() {
    let (shop, runs) = shop(0);
    let stands_still = ManualClock::at(now());
    shop.receive("evt_1").await.unwrap();
    let still = shop.work_by(&stands_still);
    until(async || begun(&runs) == 1).await;
    shop.clock.advance(LEASE);
    let dead = claim(&shop).await;
    assert!(dead.lease_expired);
    let states = Arc::strong_count(&runs.gate);
    stands_still.advance(LEASE / 3);
    until(async || Arc::strong_count(&runs.gate) < states).await;
    still.stop().await;
    assert_eq!(shop.state("evt_1").await, (Running, 1), "it is the other's");
}

#[tokio::test]
async fn an_end_that_could_not_be_recorded_is_recorded_once_the_store_is_back() {
    let (shop, runs) = shop(0);
    shop.receive("evt_1").await.unwrap();
    let worker = shop.work();
    until(async || begun(&runs) == 1).await;
    shop.store().is_down.store(true, Ordering::SeqCst);
    runs.gate.add_permits(1);
    shop.pass(Duration::from_secs(5)).await;
    shop.pass(LEASE * 2).await;
    assert_eq!(shop.state("evt_1").await, (Running, 1));
    shop.store().is_down.store(false, Ordering::SeqCst);
    shop.pass(Duration::from_secs(1)).await;
    shop.is("evt_1", Done, 1).await;
    assert_eq!(begun(&runs), 1);
    worker.stop().await;
}

#[tokio::test]
async fn while_ends_cannot_be_recorded_no_more_is_begun_than_may_run_at_once() {
    let (shop, runs) = shop(99);
    for id in 0..10 {
        shop.receive(&format!("evt_{id}")).await.unwrap();
    }
    shop.store().forgets.store(true, Ordering::SeqCst);
    let worker = shop.work_as(|worker| worker.concurrency(3));
    until(async || begun(&runs) == 3).await;
    shop.clock.advance(Duration::from_secs(30));
    settle().await;
    assert_eq!(begun(&runs), 3);
    shop.store().forgets.store(false, Ordering::SeqCst);
    shop.clock.advance(Duration::from_secs(1));
    until(async || shop.store().backlog().await.unwrap().is_empty()).await;
    assert_eq!(begun(&runs), 10);
    worker.stop().await;
}
