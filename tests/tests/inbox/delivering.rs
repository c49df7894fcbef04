//! Delivery: outcomes, retries, concurrency limits, shutdown and purge.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use router_core::{
    Event, Failure, Outcome, Router, State, build::RouterBuilder, handler::HandlerResult, on_event,
};
use router_inbox::{
    Store as _,
    operations::MIN_RETENTION,
    store::DeliveryState::{Dead, Done, Ignored, Waiting},
};
use router_tests::logged::{log, logged};
use tokio::sync::Semaphore;
use tracing_subscriber::filter::LevelFilter;

use crate::shop::{Shop, settle, wait_until};

/// The results of a handler's calls, in order; later calls return `Done`.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Vec<HandlerResult>>>);

impl Script {
    fn new<const N: usize>(results: [HandlerResult; N]) -> Self {
        Self(Arc::new(Mutex::new(Vec::from(results))))
    }

    fn next(&self) -> HandlerResult {
        let mut results = self.0.lock().expect("mutex is not poisoned");
        if results.is_empty() { Ok(Outcome::Done) } else { results.remove(0) }
    }
}

#[on_event(
    "invoice.paid",
    name = "shop.thrice",
    retry(max_attempts = 3, backoff = "10s", max_backoff = "1m")
)]
async fn thrice(_: Event, script: State<Script>) -> HandlerResult {
    script.next()
}

fn shop(script: &Script) -> Shop {
    Shop::new(Router::builder().without_linked().add::<thrice>().state(script.clone()))
}

fn transient_failure() -> HandlerResult {
    Err(Failure::retry("the warehouse is down"))
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn handler_result_decides_delivery_state() {
    let rows: [(HandlerResult, _, _); 4] = [
        (Ok(Outcome::Done), Done, None),
        (Ok(Outcome::ignored("not ours")), Ignored, None),
        (Err(Failure::permanent("no such order")), Dead, Some("no such order")),
        (transient_failure(), Waiting, Some("the warehouse is down")),
    ];
    for (result, state, error) in rows {
        let shop = shop(&Script::new([result]));
        let worker = shop.start_worker();
        shop.receive("evt_1").await.unwrap();
        shop.wait_for("evt_1", state, 1).await;
        assert_eq!(shop.deliveries("evt_1").await[0].error.as_deref(), error);
        worker.stop().await;
    }
}

#[tokio::test]
async fn failing_handler_is_retried_then_dead_lettered() {
    let shop = shop(&Script::new([transient_failure(), transient_failure(), transient_failure()]));
    let worker = shop.start_worker();
    shop.receive("evt_1").await.unwrap();
    shop.wait_for("evt_1", Waiting, 1).await;
    // The backoff is 10 s and then 40 s, with a jitter of ±25 %.
    for (attempt, backoff) in [(1, 10), (2, 40)] {
        let backoff = SECOND * backoff;
        shop.advance_and_poll(backoff * 3 / 4 - SECOND / 1_000).await;
        assert_eq!(
            shop.state("evt_1").await,
            (Waiting, attempt),
            "retried before its backoff ended"
        );
        shop.advance_and_poll(backoff / 2 + SECOND / 500).await;
        let state = if attempt == 2 { Dead } else { Waiting };
        shop.wait_for("evt_1", state, attempt + 1).await;
    }
    let error = shop.deliveries("evt_1").await[0].error.clone();
    assert_eq!(error.as_deref(), Some("attempt 3 of 3 failed: the warehouse is down"));
    shop.advance_and_poll(SECOND * 1_000_000).await;
    assert_eq!(shop.state("evt_1").await, (Dead, 3), "a dead letter is not retried");
    worker.stop().await;
}

#[tokio::test]
async fn requested_retry_delay_may_exceed_max_backoff() {
    let result = Err(Failure::retry_in("too many requests", SECOND * 3_600));
    let shop = shop(&Script::new([result]));
    let worker = shop.start_worker();
    shop.receive("evt_1").await.unwrap();
    shop.wait_for("evt_1", Waiting, 1).await;
    shop.advance_and_poll(SECOND * 3_599).await;
    assert_eq!(shop.state("evt_1").await, (Waiting, 1));
    shop.advance_and_poll(SECOND).await;
    shop.wait_for("evt_1", Done, 2).await;
    worker.stop().await;
}

#[tokio::test]
async fn failing_handler_does_not_affect_other_handlers() {
    let other_calls = Arc::new(AtomicUsize::new(0));
    let calls = other_calls.clone();
    let other = move |_: Event| {
        calls.fetch_add(1, Ordering::SeqCst);
        async {}
    };
    let router = Router::builder()
        .without_linked()
        .add::<thrice>()
        .state(Script::new([transient_failure()]));
    let shop = Shop::new(router.handler("shop.other", ["invoice.paid"], other));
    let worker = shop.start_worker();
    shop.receive("evt_1").await.unwrap();
    let states = async || {
        let deliveries = shop.deliveries("evt_1").await;
        deliveries
            .iter()
            .map(|delivery| (delivery.handler.to_string(), delivery.state, delivery.attempts))
            .collect::<Vec<_>>()
    };
    let (other, thrice) = ("shop.other".to_owned(), "shop.thrice".to_owned());
    wait_until(async || states().await == [(other.clone(), Done, 1), (thrice.clone(), Waiting, 1)])
        .await;
    shop.advance_and_poll(SECOND * 13).await;
    wait_until(async || states().await == [(other.clone(), Done, 1), (thrice.clone(), Done, 2)])
        .await;
    assert_eq!(other_calls.load(Ordering::SeqCst), 1);
    worker.stop().await;
}

/// Blocks handlers until each gets a permit, and counts those that are blocked.
#[derive(Clone)]
struct Gate {
    running: Arc<AtomicUsize>,
    permits: Arc<Semaphore>,
}

impl Gate {
    fn closed() -> Self {
        Self { running: Arc::default(), permits: Arc::new(Semaphore::new(0)) }
    }

    async fn wait(&self) {
        self.running.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.expect("semaphore is never closed").forget();
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }
}

#[on_event("invoice.paid", name = "shop.two_at_once", formerly = "shop.former", concurrency = 2)]
async fn two_at_once(_: Event, gate: State<Gate>) {
    gate.wait().await;
}

#[on_event("invoice.paid", name = "shop.any")]
async fn any(_: Event, gate: State<Gate>) {
    gate.wait().await;
}

async fn receive_all(shop: &Shop, ids: std::ops::Range<u32>) {
    for id in ids {
        shop.receive(&format!("evt_{id}")).await.expect("store accepts the event");
    }
}

async fn wait_for_empty_backlog(shop: &Shop) {
    wait_until(async || shop.store().backlog().await.expect("store is up").is_empty()).await;
}

fn shop_with_gate(router: RouterBuilder, gate: &Gate) -> Shop {
    Shop::new(router.state(gate.clone()))
}

#[tokio::test]
async fn worker_respects_its_concurrency_limit() {
    let gate = Gate::closed();
    let shop = shop_with_gate(Router::builder().without_linked().add::<any>(), &gate);
    receive_all(&shop, 0..10).await;
    let worker = shop.start_worker_with(|worker| worker.concurrency(3));
    wait_until(async || gate.running() == 3).await;
    shop.clock.advance(SECOND);
    settle().await;
    assert_eq!(gate.running(), 3);
    gate.permits.add_permits(100);
    wait_for_empty_backlog(&shop).await;
    worker.stop().await;
}

#[tokio::test]
async fn former_name_shares_the_concurrency_limit() {
    let former = |_: Event| async {};
    let gate = Gate::closed();
    let router = Router::builder().without_linked().add::<two_at_once>();
    let shop = shop_with_gate(router, &gate);
    // An older version of the program stored deliveries under the former name.
    let older = Router::builder().without_linked().handler("shop.former", ["invoice.paid"], former);
    let older = older.delivered_by(shop.store()).build().unwrap();
    let deliveries: Vec<_> =
        older.handlers().iter().map(router_inbox::store::NewDelivery::from_spec).collect();
    for id in 10..15 {
        let event = crate::shop::event(&format!("evt_{id}"));
        let new = router_inbox::store::NewEvent::new(event, deliveries.clone());
        shop.store().store(&[new]).await.unwrap();
    }
    receive_all(&shop, 0..5).await;
    let worker = shop.start_worker();
    wait_until(async || gate.running() == 2).await;
    shop.clock.advance(SECOND);
    settle().await;
    assert_eq!(gate.running(), 2);
    gate.permits.add_permits(100);
    wait_for_empty_backlog(&shop).await;
    for id in [0, 4, 10, 14] {
        assert_eq!(
            shop.state(&format!("evt_{id}")).await,
            (Done, 1),
            "a released delivery counts no attempt"
        );
    }
    worker.stop().await;
}

#[tokio::test]
async fn two_workers_share_pending_deliveries() {
    let gate = Gate::closed();
    let shop = shop_with_gate(Router::builder().without_linked().add::<any>(), &gate);
    let workers = [(); 2].map(|()| shop.start_worker_with(|worker| worker.concurrency(2)));
    receive_all(&shop, 0..6).await;
    wait_until(async || gate.running() == 4).await;
    gate.permits.add_permits(100);
    wait_for_empty_backlog(&shop).await;
    for worker in workers {
        worker.stop().await;
    }
    for id in 0..6 {
        assert_eq!(shop.state(&format!("evt_{id}")).await, (Done, 1));
    }
}

#[tokio::test]
async fn shutdown_finishes_in_flight_and_stops_claiming() {
    let gate = Gate::closed();
    let shop = shop_with_gate(Router::builder().without_linked().add::<any>(), &gate);
    receive_all(&shop, 0..1).await;
    let worker = shop.start_worker();
    wait_until(async || gate.running() == 1).await;
    let stopping = worker.begin_shutdown();
    settle().await;
    receive_all(&shop, 1..2).await;
    gate.permits.add_permits(100);
    stopping.await.unwrap();
    assert_eq!(shop.state("evt_0").await, (Done, 1));
    assert_eq!(shop.state("evt_1").await, (Waiting, 0));
}

#[tokio::test]
async fn shutdown_after_grace_counts_no_attempt() {
    let gate = Gate::closed();
    let shop = shop_with_gate(Router::builder().without_linked().add::<any>(), &gate);
    receive_all(&shop, 0..3).await;
    let worker = shop.start_worker_with(|worker| worker.shutdown_grace(SECOND * 15));
    wait_until(async || gate.running() == 3).await;
    let stopping = worker.begin_shutdown();
    settle().await;
    shop.clock.advance(SECOND * 14);
    settle().await;
    assert!(!stopping.is_finished());
    shop.clock.advance(SECOND);
    stopping.await.unwrap();
    for id in 0..3 {
        assert_eq!(shop.state(&format!("evt_{id}")).await, (Waiting, 0));
    }
}

#[tokio::test]
async fn purge_after_30_days_spares_dead_letters() {
    log(LevelFilter::INFO);
    let shop = shop(&Script::new([Ok(Outcome::Done), Err(Failure::permanent("no such order"))]));
    let worker = shop.start_worker();
    for (id, state) in [("evt_1", Done), ("evt_2", Dead)] {
        shop.receive(id).await.unwrap();
        shop.wait_for(id, state, 1).await;
    }
    let (hour, day) = (SECOND * 3_600, SECOND * 86_400);
    for _ in 0..29 {
        shop.advance_and_poll(day).await;
    }
    settle().await;
    assert_eq!(shop.state("evt_1").await, (Done, 1));
    shop.advance_and_poll(day + hour).await;
    wait_until(async || shop.deliveries("evt_1").await.is_empty()).await;
    shop.advance_and_poll(day * 1_000).await;
    settle().await;
    assert_eq!(shop.state("evt_2").await, (Dead, 1));
    let log = logged();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("worker::retention")).collect();
    insta::assert_snapshot!(lines.join("\n"), @" INFO router_inbox::worker::retention: purged events past their retention purged=1");
    worker.stop().await;
}

#[tokio::test]
#[should_panic(expected = "the retention 345599s given to `Worker::retention` is shorter")]
async fn retention_below_minimum_is_refused_at_start() {
    let shop = shop(&Script::default());
    let worker = || shop.inbox.worker(shop.inbox.router().clone());
    drop(worker().retention(MIN_RETENTION));
    drop(worker().retention(MIN_RETENTION - SECOND));
}
