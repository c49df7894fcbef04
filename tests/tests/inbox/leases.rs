//! Leases of crashed and suspended workers, and of workers that cannot reach the store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use router_core::{Event, Router, State, on_event, testing::ManualClock};
use router_inbox::{
    Store as _,
    store::{
        ClaimRequest, CompleteResult, DeliveryOutcome,
        DeliveryState::{Dead, Done, Running, Waiting},
        HandlerSlots,
    },
};
use router_tests::now;
use tokio::sync::Semaphore;

use crate::shop::{Shop, settle, wait_until};

#[derive(Clone)]
struct Runs {
    begun: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

#[on_event(
    "invoice.paid",
    name = "shop.twice",
    retry(max_attempts = 2, backoff = "10s"),
    timeout = "10m"
)]
async fn twice(_: Event, runs: State<Runs>) {
    runs.begun.fetch_add(1, Ordering::SeqCst);
    let gate = runs.gate.clone();
    gate.acquire().await.expect("semaphore is never closed").forget();
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

/// Claims the only delivery, as a process that crashes afterwards.
async fn claim(shop: &Shop) -> router_inbox::store::Claim {
    let request = ClaimRequest::new(vec![HandlerSlots::new("shop.twice", 9)], 9, LEASE);
    let mut claims = shop.store().claim(&request).await.expect("store is up");
    assert_eq!(claims.len(), 1, "{claims:?}");
    claims.remove(0)
}

#[tokio::test]
async fn crashed_attempt_counts_as_failed_and_is_retried() {
    let (shop, runs) = shop(9);
    shop.receive("evt_1").await.unwrap();
    let crashed = claim(&shop).await;
    let worker = shop.start_worker();
    shop.advance_and_poll(LEASE).await;
    shop.wait_for("evt_1", Waiting, 1).await;
    assert_eq!(begun(&runs), 0, "the claim after the crash runs no handler");
    let error = shop.deliveries("evt_1").await[0].error.clone().unwrap();
    assert!(error.contains("the process crashed"), "{error}");
    shop.advance_and_poll(Duration::from_secs(13)).await;
    shop.wait_for("evt_1", Done, 2).await;
    assert_eq!(begun(&runs), 1);
    let late = shop
        .store()
        .complete(&[(crashed.lease, DeliveryOutcome::Dead { error: "late".into() })])
        .await;
    assert_eq!(late.unwrap(), [CompleteResult::LeaseLost]);
    worker.stop().await;
}

#[tokio::test]
async fn repeated_crashes_end_in_a_dead_letter() {
    let (shop, runs) = shop(9);
    shop.receive("evt_1").await.unwrap();
    for attempt in 1..=2 {
        assert_eq!(claim(&shop).await.attempt, attempt);
        shop.clock.advance(LEASE);
        let worker = shop.start_worker();
        let state = if attempt == 2 { Dead } else { Waiting };
        shop.wait_for("evt_1", state, attempt).await;
        worker.stop().await;
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
async fn slow_handler_keeps_its_lease() {
    let (shop, runs) = shop(0);
    shop.receive("evt_1").await.unwrap();
    let workers =
        [(); 2].map(|()| shop.start_worker_with(|worker| worker.lease(Duration::from_secs(3))));
    wait_until(async || begun(&runs) == 1).await;
    // 18 s in total: six leases, and less than the handler's timeout.
    for _ in 0..18 {
        shop.advance_and_poll(Duration::from_secs(1)).await;
    }
    runs.gate.add_permits(9);
    shop.wait_for("evt_1", Done, 1).await;
    assert_eq!(begun(&runs), 1);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn worker_suspended_past_lease_cannot_complete() {
    let (shop, runs) = shop(0);
    let suspended_clock = ManualClock::at(now());
    shop.receive("evt_1").await.unwrap();
    let suspended = shop.start_worker_with_clock(&suspended_clock);
    wait_until(async || begun(&runs) == 1).await;
    shop.clock.advance(LEASE);
    let other = shop.start_worker();
    shop.wait_for("evt_1", Waiting, 1).await;
    // The suspended worker resumes, unaware that its lease expired.
    runs.gate.add_permits(1);
    suspended.stop().await;
    assert_eq!(shop.state("evt_1").await, (Waiting, 1));
    runs.gate.add_permits(1);
    shop.advance_and_poll(Duration::from_secs(13)).await;
    shop.wait_for("evt_1", Done, 2).await;
    assert_eq!(begun(&runs), 2, "delivery is at least once, and here twice");
    other.stop().await;
}

#[tokio::test]
async fn worker_that_lost_its_lease_stops_the_handler() {
    let (shop, runs) = shop(0);
    let suspended_clock = ManualClock::at(now());
    shop.receive("evt_1").await.unwrap();
    let suspended = shop.start_worker_with_clock(&suspended_clock);
    wait_until(async || begun(&runs) == 1).await;
    shop.clock.advance(LEASE);
    let takeover = claim(&shop).await;
    assert!(takeover.lease_expired);
    // An aborted handler drops its clone of the semaphore.
    let references = Arc::strong_count(&runs.gate);
    suspended_clock.advance(LEASE / 3);
    wait_until(async || Arc::strong_count(&runs.gate) < references).await;
    suspended.stop().await;
    assert_eq!(shop.state("evt_1").await, (Running, 1), "the delivery belongs to the new claim");
}

#[tokio::test]
async fn unrecorded_outcome_is_recorded_when_store_is_back() {
    let (shop, runs) = shop(0);
    shop.receive("evt_1").await.unwrap();
    let worker = shop.start_worker();
    wait_until(async || begun(&runs) == 1).await;
    shop.store().is_down.store(true, Ordering::SeqCst);
    runs.gate.add_permits(1);
    for time in [Duration::from_secs(5), LEASE * 2] {
        shop.clock.advance(time);
        settle().await;
    }
    assert_eq!(shop.state("evt_1").await, (Running, 1));
    shop.store().is_down.store(false, Ordering::SeqCst);
    shop.advance_and_poll(Duration::from_secs(1)).await;
    shop.wait_for("evt_1", Done, 1).await;
    assert_eq!(begun(&runs), 1);
    worker.stop().await;
}

#[tokio::test]
async fn unrecorded_outcomes_count_against_concurrency() {
    let (shop, runs) = shop(99);
    for id in 0..10 {
        shop.receive(&format!("evt_{id}")).await.unwrap();
    }
    shop.store().complete_fails.store(true, Ordering::SeqCst);
    let worker = shop.start_worker_with(|worker| worker.concurrency(3));
    wait_until(async || begun(&runs) == 3).await;
    shop.clock.advance(Duration::from_secs(30));
    settle().await;
    assert_eq!(begun(&runs), 3);
    shop.store().complete_fails.store(false, Ordering::SeqCst);
    shop.clock.advance(Duration::from_secs(1));
    wait_until(async || shop.store().backlog().await.unwrap().is_empty()).await;
    assert_eq!(begun(&runs), 10);
    worker.stop().await;
}

/// The store's clock, such as that of a database server, is set forward past all leases.
#[tokio::test]
async fn worker_that_claims_its_own_delivery_goes_on() {
    let (shop, runs) = shop(0);
    let worker_clock = ManualClock::at(now());
    shop.receive("evt_1").await.unwrap();
    let worker = shop.start_worker_with_clock(&worker_clock);
    wait_until(async || begun(&runs) == 1).await;
    shop.clock.advance(LEASE * 2);
    worker_clock.advance(Duration::from_secs(1));
    settle().await;
    assert_eq!(shop.state("evt_1").await, (Running, 1));
    runs.gate.add_permits(1);
    shop.wait_for("evt_1", Done, 1).await;
    assert_eq!(begun(&runs), 1);
    worker.stop().await;
}
