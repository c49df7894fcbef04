//! A store that stops answering, without an error.
//!
//! The system clock, which limits operations, uses tokio's timer. These tests pause that timer, and
//! tokio advances it when all tasks wait. All other times follow the shop's manual clock.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use router_core::{
    Event, Failure, Router,
    clock::{Clock as _, SystemClock},
    testing::SyntheticEvent,
};
use router_inbox::store::{
    DeliveryState::{Done, Running, Waiting},
    Stored,
};
use tokio::{sync::Semaphore, task::JoinSet, time::advance};
use tower::Service as _;
use tracing_subscriber::filter::LevelFilter;

use crate::shop::{FaultyStore, INBOX_SLEEPERS, Shop, event, settle, wait_until};
use router_tests::logged::{log, logged};

/// The time limit of an operation.
const LIMIT: Duration = Duration::from_secs(10);

fn shop(configure: impl FnOnce(&mut FaultyStore)) -> Shop {
    let handle = |_: Event| async {};
    let router = Router::builder().without_linked().handler("shop", ["invoice.paid"], handle);
    Shop::with_store(router, configure)
}

/// An event of about a million bytes.
fn large_event(id: &str) -> Event {
    let event =
        SyntheticEvent::new("invoice.paid").id(id).set("description", "x".repeat(1_000_000));
    event.build().expect("invoice.paid is in the catalog").event().clone()
}

#[tokio::test(start_paused = true)]
async fn events_are_stored_after_a_call_that_hangs() {
    let shop = shop(|_| {});
    shop.store().store_permits.forget_permits(usize::MAX);
    let hung: Vec<_> =
        (0..2).map(|_| tokio::spawn(shop.inbox.clone().call(event("evt_1")))).collect();
    shop.clock.wait_for_sleepers(INBOX_SLEEPERS + 2).await;
    settle().await;
    shop.clock.advance(Duration::from_secs(5));
    for hung in hung {
        assert!(hung.await.unwrap().is_err());
    }
    let later = tokio::spawn(shop.inbox.clone().call(event("evt_2")));
    settle().await;
    // The call that hangs is given up, so the next one has the permit.
    advance(LIMIT).await;
    settle().await;
    shop.store().store_permits.add_permits(1);
    assert_eq!(later.await.unwrap().unwrap().stored(), Some(&Stored::New));
    assert_eq!(shop.deliveries("evt_1").await, [], "its callers had stopped waiting");
}

/// After a failed batch, each event is stored alone. If each of 256 calls hung, that would take 43
/// minutes.
#[tokio::test(start_paused = true)]
async fn events_of_a_hanging_batch_fail_together() {
    let shop = shop(|_| {});
    shop.store().store_permits.forget_permits(usize::MAX);
    let mut requests: JoinSet<_> = ["evt_1", "evt_2", "evt_3", "evt_4"]
        .into_iter()
        .map(|id| shop.inbox.clone().call(event(id)))
        .collect();
    let began = SystemClock.monotonic();
    let mut errors = Vec::new();
    while let Some(result) = requests.join_next().await {
        errors.push(Failure::retry(result.unwrap().unwrap_err()).to_string());
    }
    assert_eq!(SystemClock.monotonic() - began, LIMIT);
    assert_eq!(errors.len(), 4);
    insta::assert_snapshot!(errors[3], @"the event could not be stored in the inbox: the store did not store the events within 10s: it does not answer, is overloaded, or is blocked by a long-running transaction");
}

#[tokio::test(start_paused = true)]
async fn full_queue_refuses_at_once_and_empties_with_its_callers() {
    let shop = shop(|_| {});
    shop.store().store_permits.forget_permits(usize::MAX);
    // The first event is in the batch that is being stored, and no longer in the queue.
    let mut requests = JoinSet::new();
    for number in 0..80 {
        requests.spawn(shop.inbox.clone().call(large_event(&format!("evt_{number}"))));
        settle().await;
    }
    let mut refused = Vec::new();
    while let Some(result) = requests.try_join_next() {
        refused.push(Failure::retry(result.unwrap().unwrap_err()).to_string());
    }
    assert_eq!(refused.len(), 80 - 1 - 66, "refused at once: the clock has not moved");
    insta::assert_snapshot!(refused[0], @"the event could not be stored in the inbox: events of 66351243 bytes are waiting to be stored, and with this one they would exceed the limit of 67108864 bytes: the store is too slow, or does not answer; check its load and its log");
    // The queued events leave with their callers.
    requests.shutdown().await;
    let next = tokio::spawn(shop.inbox.clone().call(large_event("evt_next")));
    settle().await;
    shop.store().store_permits.add_permits(1_000);
    assert_eq!(next.await.unwrap().unwrap().stored(), Some(&Stored::New));
    assert_eq!(*shop.store().batch_sizes.lock().unwrap(), [1, 1], "the first batch, and evt_next");
}

#[tokio::test(start_paused = true)]
async fn batches_are_limited_in_bytes() {
    let shop = shop(|_| {});
    shop.store().store_permits.forget_permits(usize::MAX);
    let mut requests: JoinSet<_> = (0..20)
        .map(|number| shop.inbox.clone().call(large_event(&format!("evt_{number}"))))
        .collect();
    shop.clock.wait_for_sleepers(INBOX_SLEEPERS + 20).await;
    settle().await;
    shop.store().store_permits.add_permits(1_000);
    while let Some(result) = requests.join_next().await {
        result.unwrap().unwrap();
    }
    let sizes = shop.store().batch_sizes.lock().unwrap().clone();
    assert!(sizes.iter().all(|size| *size <= 8), "8 MiB hold 8 of these events: {sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn worker_goes_on_after_calls_that_hang() {
    log(LevelFilter::WARN);
    let shop = shop(|_| {});
    let worker = shop.start_worker();
    shop.store().is_silent.store(true, Ordering::SeqCst);
    shop.receive("evt_1").await.unwrap();
    logged();
    for _ in 0..3 {
        settle().await;
        advance(LIMIT).await;
    }
    settle().await;
    // The worker records itself in a task beside its loop, so the lines have no order.
    let mut lines: Vec<String> =
        logged().replace("router_inbox::", "").lines().map(|line| line.trim().to_owned()).collect();
    lines.sort_unstable();
    insta::assert_snapshot!(lines.join("\n"), @"
    WARN telemetry: failed to read the inbox's backlog; until that succeeds, its metrics are not updated and missing workers are not noticed; retrying error=the store did not count the deliveries within 10s: it does not answer, is overloaded, or is blocked by a long-running transaction kind=busy
    WARN telemetry: failed to read the paused handlers; no delivery is claimed until that succeeds; retrying error=the store did not list the paused handlers within 10s: it does not answer, is overloaded, or is blocked by a long-running transaction kind=busy
    WARN telemetry: failed to read the paused handlers; no delivery is claimed until that succeeds; retrying error=the store did not list the paused handlers within 10s: it does not answer, is overloaded, or is blocked by a long-running transaction kind=busy
    WARN telemetry: failed to record in the store that this worker is running; other processes may report that it is missing; retrying error=the store did not record the worker within 10s: it does not answer, is overloaded, or is blocked by a long-running transaction kind=busy
    ");
    shop.store().is_silent.store(false, Ordering::SeqCst);
    wait_until(async || {
        shop.clock.advance(LIMIT / 10);
        shop.state("evt_1").await == (Done, 1)
    })
    .await;
    worker.stop().await;
}

/// The delivery is neither recorded nor renewed, because the store may still be committing.
#[tokio::test(start_paused = true)]
async fn commit_that_hangs_frees_its_slot_and_is_retried_after_the_lease() {
    log(LevelFilter::WARN);
    let permits = Arc::new(Semaphore::new(0));
    let shop = shop(|store| store.finish_permits = Some(permits.clone()));
    shop.store().finish_is_lost.store(true, Ordering::SeqCst);
    let worker = shop.start_worker_with(|worker| worker.concurrency(1));
    shop.receive("evt_1").await.unwrap();
    shop.wait_for("evt_1", Running, 1).await;
    settle().await;
    shop.receive("evt_2").await.unwrap();
    logged();
    advance(LIMIT).await;
    shop.wait_for("evt_2", Running, 1).await;
    insta::assert_snapshot!(logged().replace("router_inbox::", ""), @r#" WARN telemetry: outcome unknown: the handler's transaction may or may not have been committed; if it was not, the delivery is retried when its lease expires handler="shop" event.id="evt_1" error=the store did not end the handler's transaction within 10s: it does not answer, is overloaded, or is blocked by a long-running transaction"#);
    shop.store().finish_is_lost.store(false, Ordering::SeqCst);
    permits.add_permits(1_000);
    advance(LIMIT).await;
    shop.advance_and_poll(Duration::from_secs(60)).await;
    shop.wait_for("evt_1", Waiting, 1).await;
    insta::assert_snapshot!(shop.deliveries("evt_1").await[0].error.clone().unwrap(), @"the attempt was started but never finished: its lease expired, because the process crashed or was suspended, or because the store did not answer");
    wait_until(async || {
        shop.clock.advance(LIMIT);
        settle().await;
        shop.state("evt_1").await == (Done, 2) && shop.state("evt_2").await.0 == Done
    })
    .await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn claim_in_progress_at_the_signal_is_released() {
    let shop = shop(|_| {});
    shop.store().claim_permits.forget_permits(usize::MAX);
    shop.receive("evt_1").await.unwrap();
    let worker = shop.start_worker();
    wait_until(async || shop.store().claim_calls.load(Ordering::SeqCst) == 1).await;
    let stopping = worker.begin_shutdown();
    settle().await;
    shop.store().claim_permits.add_permits(9);
    stopping.await.unwrap();
    assert_eq!(shop.state("evt_1").await, (Waiting, 0));
    assert_eq!(shop.store().claim_calls.load(Ordering::SeqCst), 1, "no claim after the signal");
}

/// The handlers in flight have the grace period, and recording their outcomes has 5 s.
#[tokio::test(start_paused = true)]
async fn shutdown_ends_although_the_store_hangs() {
    log(LevelFilter::WARN);
    let permits = Arc::new(Semaphore::new(0));
    let shop = shop(|store| store.finish_permits = Some(permits));
    shop.store().finish_is_lost.store(true, Ordering::SeqCst);
    let grace = Duration::from_secs(2);
    let worker = shop.start_worker_with(|worker| worker.shutdown_grace(grace));
    shop.receive("evt_1").await.unwrap();
    shop.wait_for("evt_1", Running, 1).await;
    settle().await;
    shop.store().is_silent.store(true, Ordering::SeqCst);
    logged();
    let stopping = worker.begin_shutdown();
    settle().await;
    shop.clock.advance(grace);
    settle().await;
    assert!(!stopping.is_finished());
    shop.clock.advance(Duration::from_secs(5));
    stopping.await.unwrap();
    insta::assert_snapshot!(logged(), @"ERROR router_inbox::worker: could not record the outcomes of some deliveries before the worker stopped; when their leases expire, each counts as a failed attempt deliveries=1");
}

#[tokio::test(start_paused = true)]
async fn commit_that_hangs_at_shutdown_delays_no_release() {
    let handle = |event: Event| async move {
        if event.id() == "evt_2" {
            std::future::pending::<()>().await;
        }
    };
    let router = Router::builder().without_linked().handler("shop", ["invoice.paid"], handle);
    let permits = Arc::new(Semaphore::new(0));
    let shop = Shop::with_store(router, |store| store.finish_permits = Some(permits));
    shop.store().finish_is_lost.store(true, Ordering::SeqCst);
    let grace = Duration::from_secs(2);
    let worker = shop.start_worker_with(|worker| worker.shutdown_grace(grace));
    for id in ["evt_1", "evt_2"] {
        shop.receive(id).await.unwrap();
        shop.wait_for(id, Running, 1).await;
    }
    settle().await;
    let stopping = worker.begin_shutdown();
    settle().await;
    shop.clock.advance(grace);
    shop.wait_for("evt_2", Waiting, 0).await;
    shop.clock.advance(Duration::from_secs(5));
    stopping.await.unwrap();
    assert_eq!(shop.state("evt_1").await, (Running, 1));
}
