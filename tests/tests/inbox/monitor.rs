//! The monitor of the backlog: deliveries that no worker claims, and a store that fails.

use std::{
    future::pending,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use router_core::{
    Event, Router,
    build::RouterBuilder,
    health::{ReadinessCheck as _, Reason},
    testing::ManualClock,
};
use router_inbox::{
    Inbox, Store as _,
    conformance::MemoryStore,
    store::{
        DeliveryState::{Done, Running},
        NewDelivery, NewEvent, WorkerInfo,
    },
};
use router_tests::{
    logged::{self, log},
    now,
};
use tokio::runtime;
use tower::Service as _;
use tracing_subscriber::filter::LevelFilter;

use crate::shop::{Shop, event, settle};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn router() -> RouterBuilder {
    Router::builder().without_linked().handler("shop", ["invoice.paid"], |_: Event| async {})
}

/// Starts to capture the log of an inbox.
fn logged_shop(router: RouterBuilder) -> Shop {
    log(LevelFilter::INFO);
    Shop::new(router)
}

/// Advances the clock in steps of a second, so that each timer fires at its time.
pub(crate) async fn pass(shop: &Shop, time: Duration) {
    settle().await;
    for _ in 0..time.as_secs() {
        shop.clock.advance(SECOND);
        settle().await;
    }
}

/// Returns the lines of the monitor that were logged since the last call.
pub(crate) fn monitor_lines() -> String {
    let lines = logged::logged().replace("router_inbox::", "");
    let lines =
        lines.lines().filter(|line| line.contains("monitor::") || line.contains("telemetry: f"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the reasons for which the inbox is not ready, and its warnings.
pub(crate) async fn health(shop: &Shop) -> (Vec<Reason>, Vec<Reason>) {
    let readiness = shop.inbox.health().check().await;
    (readiness.reasons, readiness.warnings)
}

pub(crate) fn codes(reasons: &[Reason]) -> Vec<(&str, String)> {
    reasons.iter().map(|reason| (reason.code, reason.handlers.join(" "))).collect()
}

async fn store_for(shop: &Shop, handler: &str, id: &str) {
    let new = NewEvent::new(event(id), vec![NewDelivery::new(handler)]);
    shop.store().store(&[new]).await.expect("memory store is writable");
}

async fn record_worker(shop: &Shop, handler: &'static str) {
    let worker = WorkerInfo::new("other-1", [handler.into()]);
    shop.store().report_worker(&worker, MINUTE * 1_000).await.expect("memory store is writable");
}

#[tokio::test]
async fn missing_worker_is_logged_until_deliveries_are_claimed() {
    let shop = logged_shop(router());
    assert_eq!(health(&shop).await, (vec![], vec![]));
    shop.receive("evt_1").await.unwrap();
    pass(&shop, MINUTE - SECOND).await;
    assert_eq!(monitor_lines(), "");
    assert_eq!(health(&shop).await, (vec![], vec![]));
    pass(&shop, SECOND).await;
    insta::assert_snapshot!(monitor_lines(), @r#" WARN monitor::unclaimed: due deliveries are not claimed, because no worker is running in any process; run one with `inbox.worker(router).run(shutdown)` handlers="shop" oldest_due=1m"#);
    insta::assert_debug_snapshot!(health(&shop).await, @r#"
    (
        [
            Reason {
                code: "no_worker",
                handlers: [
                    "shop",
                ],
                text: "due deliveries are not claimed, because no worker is running in any process; run one with `inbox.worker(router).run(shutdown)` (due for 1m)",
            },
        ],
        [],
    )
    "#);

    let worker = shop.start_worker();
    shop.wait_for("evt_1", Done, 1).await;
    pass(&shop, SECOND * 15).await;
    insta::assert_snapshot!(monitor_lines(), @r#" INFO monitor::log: no delivery of these handlers is overdue any more handlers="shop""#);
    assert_eq!(health(&shop).await, (vec![], vec![]));
    worker.stop().await;
}

/// After a start, workers first claim what became due while no process was running.
#[tokio::test]
async fn delivery_is_overdue_only_after_being_seen_for_the_limit() {
    log(LevelFilter::INFO);
    let clock = ManualClock::at(now());
    let store = MemoryStore::new(clock.clone());
    let new = NewEvent::new(event("evt_1"), vec![NewDelivery::new("shop")]);
    store.store(&[new]).await.expect("memory store is writable");
    clock.advance(MINUTE * 60);
    let router = router().clock(clock.clone()).delivered_by(&store).build().unwrap();
    let inbox = Inbox::new(store, router).clock(clock.clone());
    settle().await;
    clock.advance(MINUTE - SECOND);
    settle().await;
    assert_eq!(monitor_lines(), "");
    assert!(inbox.health().check().await.is_ready());
    clock.advance(SECOND);
    settle().await;
    let line = monitor_lines();
    assert!(line.contains("handlers=\"shop\" oldest_due=1h 1m"), "{line}");
}

/// A queue whose oldest delivery is due for about a minute must not fill the log.
#[tokio::test]
async fn warning_that_comes_and_goes_is_logged_once_a_minute_at_most() {
    let shop = logged_shop(router());
    let mut warnings = Vec::new();
    for round in 0..6 {
        let id = format!("evt_{round}");
        shop.receive(&id).await.unwrap();
        pass(&shop, MINUTE + SECOND).await;
        let worker = shop.start_worker();
        shop.wait_for(&id, Done, 1).await;
        worker.stop().await;
        pass(&shop, SECOND * 15).await;
        warnings.push(monitor_lines().matches("WARN").count());
    }
    assert!(warnings.iter().all(|count| *count <= 2) && warnings[0] == 1, "{warnings:?}");
}

#[tokio::test]
async fn store_that_can_only_be_read_is_not_ready() {
    let shop = logged_shop(router());
    shop.store().store_fails.store(true, Ordering::SeqCst);
    drop(shop.receive("evt_1").await.unwrap_err());
    let (reasons, _) = health(&shop).await;
    insta::assert_snapshot!(reasons[0].text, @"the store cannot be written: unavailable; the log has the error");
    // It gets events again, to find out whether it can store them.
    pass(&shop, MINUTE).await;
    assert_eq!(health(&shop).await, (vec![], vec![]));
    drop(shop.receive("evt_1").await.unwrap_err());
    assert_eq!(codes(&health(&shop).await.0), [("store_unavailable", String::new())]);
    shop.store().store_fails.store(false, Ordering::SeqCst);
    shop.receive("evt_1").await.unwrap();
    assert_eq!(health(&shop).await, (vec![], vec![]));
}

#[tokio::test]
async fn workers_that_cannot_be_read_do_not_affect_readiness() {
    let shop = logged_shop(router());
    shop.store().workers_fail.store(true, Ordering::SeqCst);
    shop.receive("evt_1").await.unwrap();
    pass(&shop, MINUTE * 2).await;
    assert_eq!(health(&shop).await, (vec![], vec![]));
    let lines = monitor_lines();
    assert!(lines.contains("failed to read the running workers"), "{lines}");
    assert!(!lines.contains("not claimed"), "{lines}");
    shop.store().workers_fail.store(false, Ordering::SeqCst);
    pass(&shop, SECOND * 15).await;
    let lines = monitor_lines();
    assert!(lines.contains("the running workers can be read again"), "{lines}");
    assert!(lines.contains("no worker is running in any process"), "{lines}");
}

/// Without the list, no worker claims anything.
#[tokio::test]
async fn paused_handlers_that_cannot_be_read_are_an_outage() {
    let shop = logged_shop(router());
    shop.store().paused_fails.store(true, Ordering::SeqCst);
    pass(&shop, SECOND).await;
    assert_eq!(codes(&health(&shop).await.0), [("store_unavailable", String::new())]);
    shop.store().paused_fails.store(false, Ordering::SeqCst);
    pass(&shop, SECOND * 5).await;
    assert_eq!(health(&shop).await, (vec![], vec![]));
}

#[tokio::test]
async fn warning_is_repeated_with_backoff() {
    let shop = logged_shop(router());
    shop.receive("evt_1").await.unwrap();
    let mut minutes = Vec::new();
    for minute in 1..=300 {
        for _ in 0..4 {
            settle().await;
            shop.clock.advance(SECOND * 15);
        }
        settle().await;
        if monitor_lines().contains("no worker is running") {
            minutes.push(minute);
        }
    }
    assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 64, 124, 184, 244]);
}

#[tokio::test]
async fn handlers_of_one_cause_share_a_warning() {
    let router = router().handler("shop.mail", ["invoice.paid"], |_: Event| async {});
    let shop = logged_shop(router);
    store_for(&shop, "shop", "evt_1").await;
    pass(&shop, SECOND * 20).await;
    store_for(&shop, "shop.mail", "evt_2").await;
    pass(&shop, SECOND * 40).await;
    assert!(monitor_lines().contains("handlers=\"shop\" oldest_due=1m"));
    pass(&shop, SECOND * 20).await;
    let line = monitor_lines();
    assert!(line.contains("handlers=\"shop, shop.mail\" oldest_due=1m 20s"), "{line}");
    assert_eq!(codes(&health(&shop).await.0), [("no_worker", "shop shop.mail".to_owned())]);
}

#[tokio::test]
async fn worker_without_the_handler_is_another_cause() {
    let shop = logged_shop(router());
    record_worker(&shop, "shop.other").await;
    shop.receive("evt_1").await.unwrap();
    pass(&shop, MINUTE).await;
    insta::assert_snapshot!(monitor_lines(), @r#" WARN monitor::unclaimed: due deliveries are not claimed, because no running worker has their handlers; run a worker of this program, which has them: `inbox.worker(router).run(shutdown)` handlers="shop" oldest_due=1m"#);
    let (reasons, warnings) = health(&shop).await;
    // The receivers of a new handler may be deployed before its workers.
    assert_eq!(reasons, []);
    assert_eq!(codes(&warnings), [("no_worker_with_handler", "shop".to_owned())]);
}

/// A process must not be taken out of service for a handler of another program.
#[tokio::test]
async fn unknown_handler_is_logged_but_does_not_affect_readiness() {
    let shop = logged_shop(router());
    store_for(&shop, "shop.removed", "evt_1").await;
    let worker = shop.start_worker();
    pass(&shop, MINUTE * 2 + SECOND).await;
    insta::assert_snapshot!(monitor_lines(), @r#"
    WARN monitor::log: deliveries wait for a handler that this program does not have. If another program has it, ignore this. If the handler was renamed, add `formerly = "shop.removed"` to it. If it was removed, `event-router inbox list --handler shop.removed` shows the deliveries to discard handler="shop.removed" deliveries=1 oldest=0s
    WARN monitor::unclaimed: due deliveries are not claimed, because neither a running worker nor this program has their handlers; start a worker of the program that has them; if a handler was renamed, add `formerly = "…"` with its former name; if it was removed, `event-router inbox list --handler NAME` shows the deliveries to discard handlers="shop.removed" oldest_due=1m
    WARN monitor::unclaimed: due deliveries are not claimed, because neither a running worker nor this program has their handlers; start a worker of the program that has them; if a handler was renamed, add `formerly = "…"` with its former name; if it was removed, `event-router inbox list --handler NAME` shows the deliveries to discard handlers="shop.removed" oldest_due=2m
    "#);
    let (reasons, warnings) = health(&shop).await;
    assert_eq!(reasons, []);
    assert_eq!(codes(&warnings), [("unknown_handler", "shop.removed".to_owned())]);
    worker.stop().await;
}

#[tokio::test]
async fn handler_of_another_programs_worker_is_not_unknown() {
    let shop = logged_shop(router());
    record_worker(&shop, "shop.other").await;
    store_for(&shop, "shop.other", "evt_1").await;
    pass(&shop, MINUTE - SECOND).await;
    assert_eq!(monitor_lines(), "");
}

#[tokio::test]
async fn workers_that_are_behind_do_not_affect_readiness() {
    let router = Router::builder().without_linked();
    let router = router.handler("shop", ["invoice.paid"], |_: Event| pending::<()>());
    let shop = logged_shop(router.handler_timeout(MINUTE * 60));
    let worker = shop.start_worker_with(|worker| worker.concurrency(1));
    for id in ["evt_1", "evt_2"] {
        shop.receive(id).await.unwrap();
    }
    shop.wait_for("evt_1", Running, 1).await;
    pass(&shop, MINUTE).await;
    insta::assert_snapshot!(monitor_lines(), @r#" WARN monitor::unclaimed: due deliveries are not claimed in time, although workers with their handlers are running: all slots are occupied, or a handler hangs; look for timeouts in the log, run more workers, or raise `Worker::concurrency` handlers="shop" oldest_due=1m"#);
    let (reasons, warnings) = health(&shop).await;
    assert_eq!(reasons, []);
    assert_eq!(codes(&warnings), [("backlog", "shop".to_owned())]);
    worker.begin_shutdown().abort();
}

#[tokio::test]
async fn cause_is_ambiguous_if_store_records_no_workers() {
    log(LevelFilter::INFO);
    let shop = Shop::with_store(router(), |store| store.workers_are_unknown = true);
    shop.receive("evt_1").await.unwrap();
    pass(&shop, MINUTE).await;
    insta::assert_snapshot!(monitor_lines(), @r#" WARN monitor::unclaimed: due deliveries are not claimed: no worker is running, or none has their handlers; this process runs none, and the store does not record those of other processes; run one with `inbox.worker(router).run(shutdown)` handlers="shop" oldest_due=1m"#);
    assert_eq!(codes(&health(&shop).await.0), [("no_known_worker", "shop".to_owned())]);
    // A worker of this process is known without the store.
    shop.store().claim_permits.forget_permits(usize::MAX);
    let worker = shop.start_worker();
    pass(&shop, SECOND * 15).await;
    let (reasons, warnings) = health(&shop).await;
    assert_eq!(reasons, []);
    assert_eq!(codes(&warnings), [("backlog", "shop".to_owned())]);
    worker.begin_shutdown().abort();
}

#[tokio::test]
async fn claim_warning_takes_effect_after_start() {
    let shop = logged_shop(router());
    settle().await;
    let inbox = shop.inbox.clone().claim_warning(SECOND * 5);
    shop.receive("evt_1").await.unwrap();
    pass(&shop, SECOND * 4).await;
    assert_eq!(monitor_lines(), "");
    pass(&shop, SECOND).await;
    assert!(monitor_lines().contains("oldest_due=5s"));
    drop(inbox);
}

#[tokio::test]
async fn store_outage_is_logged_until_it_ends() {
    let shop = logged_shop(router());
    pass(&shop, SECOND).await;
    shop.store().is_down.store(true, Ordering::SeqCst);
    let mut minutes = Vec::new();
    let mut first = String::new();
    for minute in 1..=9 {
        pass(&shop, MINUTE).await;
        let lines = monitor_lines();
        if !lines.is_empty() {
            minutes.push(minute);
        }
        if first.is_empty() {
            first = lines;
        }
    }
    insta::assert_snapshot!(first, @" WARN telemetry: failed to read the inbox's backlog; until that succeeds, its metrics are not updated and missing workers are not noticed; retrying error=the disk is gone kind=unavailable");
    assert_eq!(minutes, [1, 2, 4, 8]);
    insta::assert_debug_snapshot!(health(&shop).await, @r#"
    (
        [
            Reason {
                code: "store_unavailable",
                handlers: [],
                text: "the store cannot be read: unavailable; the log has the error",
            },
        ],
        [],
    )
    "#);
    shop.store().is_down.store(false, Ordering::SeqCst);
    pass(&shop, SECOND * 5).await;
    insta::assert_snapshot!(monitor_lines(), @" INFO monitor::log: the inbox's backlog can be read again outage=8m 50s");
    assert_eq!(health(&shop).await, (vec![], vec![]));
}

#[tokio::test]
async fn delivery_is_not_overdue_right_after_an_outage() {
    let shop = logged_shop(router());
    shop.receive("evt_1").await.unwrap();
    pass(&shop, SECOND * 30).await;
    shop.store().is_down.store(true, Ordering::SeqCst);
    pass(&shop, MINUTE * 2).await;
    shop.store().is_down.store(false, Ordering::SeqCst);
    pass(&shop, SECOND * 5).await;
    assert!(monitor_lines().contains("can be read again"));
    pass(&shop, MINUTE - SECOND * 10).await;
    assert_eq!(monitor_lines(), "");
    pass(&shop, SECOND * 10).await;
    assert!(monitor_lines().contains("no worker is running"));
}

#[tokio::test]
async fn panic_of_the_store_does_not_end_the_monitor() {
    let shop = logged_shop(router());
    shop.store().backlog_panics.store(true, Ordering::SeqCst);
    pass(&shop, SECOND).await;
    assert!(monitor_lines().contains("error=the store panicked: a bug in the store"));
    assert_eq!(codes(&health(&shop).await.0), [("store_unavailable", String::new())]);
    shop.store().backlog_panics.store(false, Ordering::SeqCst);
    pass(&shop, SECOND * 5).await;
    assert!(monitor_lines().contains("the inbox's backlog can be read again outage=5s"));
}

/// The paused clock of tokio ends the wait for a result at once.
#[tokio::test(start_paused = true)]
async fn store_without_an_answer_is_not_ready() {
    let shop = Shop::new(router());
    shop.store().is_silent.store(true, Ordering::SeqCst);
    assert_eq!(codes(&health(&shop).await.0), [("store_unknown", String::new())]);
}

#[tokio::test]
async fn monitor_ends_with_its_inbox() {
    let shop = Shop::new(router());
    let store = Arc::downgrade(shop.inbox.store());
    let worker = shop.inbox.worker(shop.inbox.router().clone());
    drop(shop);
    settle().await;
    assert!(store.upgrade().is_some(), "the worker is watched, too");
    drop(worker);
    settle().await;
    assert!(store.upgrade().is_none());
}

/// An inbox can be made before a runtime is started, and can outlive one.
#[test]
fn monitor_runs_in_each_runtime() {
    log(LevelFilter::INFO);
    let clock = ManualClock::at(now());
    let store = MemoryStore::new(clock.clone());
    let router = router().clock(clock.clone()).delivered_by(&store).build().unwrap();
    let inbox = Inbox::new(store, router).clock(clock.clone());
    for id in ["evt_1", "evt_2"] {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            inbox.clone().call(event(id)).await.unwrap();
            settle().await;
            clock.advance(MINUTE);
            settle().await;
        });
        assert!(monitor_lines().contains("no worker is running"), "{id}");
    }
}
