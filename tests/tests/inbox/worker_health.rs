//! The health of a worker, and its record in the store.

use std::{future::pending, sync::atomic::Ordering, time::Duration};

use router_core::{
    Event, Router,
    build::RouterBuilder,
    health::{HealthEndpoint, ReadinessCheck as _},
    on_event,
};
use router_inbox::{
    Store as _,
    health::WorkerHealth,
    store::DeliveryState::{Done, Running},
};
use router_tests::logged::{self, log};
use tracing_subscriber::filter::LevelFilter;

use crate::shop::{Shop, settle, wait_until};

const SECOND: Duration = Duration::from_secs(1);

const LEASE: Duration = Duration::from_secs(60);

fn router() -> RouterBuilder {
    Router::builder().without_linked().handler("shop", ["invoice.paid"], |_: Event| async {})
}

/// Returns an inbox whose deliveries run until they are aborted.
fn hanging_shop() -> Shop {
    let router = Router::builder().without_linked().handler_timeout(LEASE * 60);
    Shop::new(router.handler("shop", ["invoice.paid"], |_: Event| pending::<()>()))
}

async fn code(health: &WorkerHealth) -> Option<&'static str> {
    let readiness = HealthEndpoint::new().check(health.clone()).readiness().await;
    assert!(readiness.reasons.len() <= 1 && readiness.warnings.is_empty(), "{readiness:?}");
    readiness.reasons.first().map(|reason| reason.code)
}

fn logged() -> String {
    logged::logged().replace("router_inbox::", "")
}

/// Returns the names of the running workers and their handlers, as the store has them.
async fn recorded(shop: &Shop) -> Vec<(String, String)> {
    let workers = shop.store().workers().await.expect("memory store is readable");
    let workers = workers.expect("memory store records workers").into_iter();
    // Without the process id and the random number.
    let name = |name: &str| name.rsplitn(3, '-').last().map(str::to_owned);
    let workers = workers.map(|worker| Some((name(&worker.name)?, worker.handlers.join(" "))));
    workers.collect::<Option<_>>().expect("each name has three parts")
}

async fn pass(shop: &Shop, time: Duration) {
    settle().await;
    for _ in 0..time.as_secs() {
        shop.clock.advance(SECOND);
        settle().await;
    }
}

#[tokio::test]
async fn worker_is_ready_only_while_it_runs() {
    log(LevelFilter::INFO);
    let shop = hanging_shop();
    let worker = shop.inbox.worker(shop.inbox.router().clone());
    let health = worker.health();
    assert_eq!(code(&health).await, Some("worker_not_started"));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(worker.run(async { drop(stopped.await) }));
    shop.receive("evt_1").await.unwrap();
    shop.wait_for("evt_1", Running, 1).await;
    assert_eq!(code(&health).await, None);
    drop(stop);
    settle().await;
    assert_eq!(code(&health).await, Some("worker_shutting_down"));
    shop.clock.advance(SECOND * 20);
    task.await.unwrap();
    assert_eq!(code(&health).await, Some("worker_stopped"));
    assert!(!logged().contains("ended without a shutdown"));
}

#[tokio::test]
async fn aborted_worker_is_logged_and_not_ready() {
    log(LevelFilter::INFO);
    let shop = Shop::new(router());
    let worker = shop.inbox.worker(shop.inbox.router().clone());
    let health = worker.health();
    let task = tokio::spawn(worker.run(pending()));
    let lost = tokio::spawn(health.lost());
    pass(&shop, LEASE).await;
    assert!(!lost.is_finished());
    logged();
    task.abort();
    lost.await.unwrap();
    insta::assert_snapshot!(logged(), @"ERROR worker::health: the inbox's worker ended without a shutdown: its task was aborted, or its future was dropped; events are stored, but this worker runs no handler until the process is restarted");
    assert_eq!(code(&health).await, Some("worker_lost"));
    health.lost().await;
    // Its record in the store expires.
    pass(&shop, LEASE).await;
    assert_eq!(recorded(&shop).await, []);
}

#[tokio::test]
async fn panic_in_the_workers_loop_is_logged() {
    log(LevelFilter::WARN);
    let shop = Shop::new(router());
    shop.store().claim_permits.close();
    let worker = shop.inbox.worker(shop.inbox.router().clone());
    let health = worker.health();
    assert!(tokio::spawn(worker.run(pending())).await.unwrap_err().is_panic());
    insta::assert_snapshot!(logged(), @"ERROR worker::health: the inbox's worker ended without a shutdown: its task panicked; events are stored, but this worker runs no handler until the process is restarted");
    assert_eq!(code(&health).await, Some("worker_lost"));
}

#[tokio::test]
async fn worker_whose_shutdown_is_cut_off_is_not_lost() {
    log(LevelFilter::INFO);
    let shop = hanging_shop();
    shop.receive("evt_1").await.unwrap();
    let worker = shop.inbox.worker(shop.inbox.router().clone());
    let health = worker.health();
    let task = tokio::spawn(worker.run(std::future::ready(())));
    settle().await;
    assert_eq!(code(&health).await, Some("worker_stopped"), "nothing was claimed");
    task.await.unwrap();

    let worker = shop.inbox.worker(shop.inbox.router().clone());
    let health = worker.health();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(worker.run(async { drop(stopped.await) }));
    shop.wait_for("evt_1", Running, 1).await;
    drop(stop);
    settle().await;
    task.abort();
    task.await.unwrap_err();
    assert_eq!(code(&health).await, Some("worker_stopped"));
    assert!(!logged().contains("ERROR"));
}

#[tokio::test]
async fn stalled_loop_is_not_ready() {
    let shop = Shop::new(router());
    shop.store().claim_permits.forget_permits(usize::MAX);
    let worker = shop.inbox.worker(shop.inbox.router().clone());
    let health = worker.health();
    let task = tokio::spawn(worker.run(pending()));
    // The poll interval, the time limit of an operation, and a margin.
    pass(&shop, SECOND * (1 + 10 + 5)).await;
    assert_eq!(code(&health).await, None);
    shop.clock.advance(SECOND);
    assert_eq!(code(&health).await, Some("worker_stalled"));
    pass(&shop, LEASE).await;
    assert_eq!(recorded(&shop).await, [], "no record is renewed while the loop is stalled");
    shop.store().claim_permits.add_permits(1_000);
    settle().await;
    assert_eq!(code(&health).await, None);
    task.abort();
}

#[tokio::test]
async fn worker_that_cannot_renew_leases_is_not_ready() {
    let shop = hanging_shop();
    shop.receive("evt_1").await.unwrap();
    let worker = shop.inbox.worker(shop.inbox.router().clone());
    let health = worker.health();
    let task = tokio::spawn(worker.run(pending()));
    pass(&shop, LEASE * 2).await;
    shop.wait_for("evt_1", Running, 1).await;
    assert_eq!(code(&health).await, None);
    shop.store().is_down.store(true, Ordering::SeqCst);
    pass(&shop, LEASE / 3).await;
    assert_eq!(code(&health).await, None, "one renewal has failed");
    pass(&shop, LEASE / 3).await;
    assert_eq!(code(&health).await, Some("leases_not_renewed"));
    let readiness = health.check().await;
    insta::assert_snapshot!(readiness.reasons[0].text, @"the leases of the deliveries in flight have not been renewed for 40 s; after 60 s they expire, and other workers run the handlers again");
    shop.store().is_down.store(false, Ordering::SeqCst);
    pass(&shop, LEASE / 3).await;
    assert_eq!(code(&health).await, None);
    task.abort();
}

#[on_event("invoice.paid", name = "shop.ledger", formerly = "shop.book")]
async fn ledger(_: Event) {}

#[tokio::test]
async fn worker_is_recorded_from_start_to_end() {
    let shop = Shop::new(router().add::<ledger>());
    let record = [("web-1".to_owned(), "shop shop.book shop.ledger".to_owned())];
    let worker = shop.start_worker_with(|worker| worker.name("web-1"));
    settle().await;
    assert_eq!(recorded(&shop).await, record);
    pass(&shop, LEASE * 3).await;
    assert_eq!(recorded(&shop).await, record);
    worker.stop().await;
    assert_eq!(recorded(&shop).await, []);

    shop.receive("evt_1").await.unwrap();
    shop.inbox.worker(shop.inbox.router().clone()).run_until_idle().await;
    assert_eq!(recorded(&shop).await, []);
}

#[tokio::test]
async fn default_names_of_workers_differ() {
    let shop = Shop::new(router());
    let workers = [(); 2].map(|()| shop.start_worker());
    settle().await;
    let recorded = shop.store().workers().await.unwrap().expect("memory store records workers");
    let process = format!("-{}-", std::process::id());
    assert!(recorded.iter().all(|worker| worker.name.contains(&process)), "{recorded:?}");
    assert!(recorded.len() == 2 && recorded[0].name != recorded[1].name, "{recorded:?}");
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn slow_record_delays_no_claim() {
    let shop = Shop::new(router());
    shop.store().report_permits.forget_permits(usize::MAX);
    let worker = shop.start_worker();
    for number in 0..5 {
        let id = format!("evt_{number}");
        shop.receive(&id).await.unwrap();
        shop.wait_for(&id, Done, 1).await;
    }
    shop.store().report_permits.add_permits(1);
    settle().await;
    assert_eq!(recorded(&shop).await.len(), 1);
    // The removal at the end hangs, and has the time that the release of deliveries has.
    let stopping = worker.begin_shutdown();
    settle().await;
    assert!(!stopping.is_finished());
    shop.clock.advance(SECOND * 5);
    stopping.await.unwrap();
}

#[tokio::test]
async fn failure_to_record_is_logged_once_per_outage() {
    log(LevelFilter::WARN);
    let shop = Shop::new(router());
    shop.store().report_fails.store(true, Ordering::SeqCst);
    let worker = shop.start_worker();
    pass(&shop, LEASE * 2).await;
    insta::assert_snapshot!(logged(), @" WARN telemetry: failed to record in the store that this worker is running; other processes may report that it is missing; retrying error=the store is read-only kind=unavailable");
    shop.store().report_fails.store(false, Ordering::SeqCst);
    pass(&shop, LEASE).await;
    assert_eq!(recorded(&shop).await.len(), 1);
    shop.store().report_fails.store(true, Ordering::SeqCst);
    pass(&shop, LEASE).await;
    assert_eq!(logged().lines().count(), 1);
    worker.stop().await;
}

/// A suspended process is seen as running again once it has continued.
#[tokio::test]
async fn expired_record_is_written_again() {
    let shop = Shop::new(router());
    let worker = shop.start_worker();
    settle().await;
    shop.clock.advance(LEASE * 10);
    wait_until(async || recorded(&shop).await.len() == 1).await;
    worker.stop().await;
}
