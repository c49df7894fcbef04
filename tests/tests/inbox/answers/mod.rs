//! Answers that wait for handlers with `answer_after`.

mod reads;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use metrics_util::debugging::{DebuggingRecorder, Snapshotter};
use router_core::{
    BoxError, Endpoint, Event, Failure, Outcome, Router, State, build::RouterBuilder,
    handler::HandlerResult, on_event, testing::SyntheticEvent,
};
use router_inbox::{
    InboxError, Receipt, Store as _, Tx,
    sqlx::{self, Sqlite},
    store::{
        DeliveryState::{Dead, Done, Ignored, Running, Waiting},
        Stored,
    },
    testing::TestInbox,
};
use router_tests::{
    event as event_of,
    exchange::{self, post},
    logged::{log, logged},
    payload, payload_with_id, secret,
};
use tokio::{sync::Semaphore, task::JoinHandle};
use tower::Service as _;
use tracing_subscriber::filter::LevelFilter;

use crate::{
    metrics::inbox_metrics,
    shop::{Shop, event, settle},
};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// The warehouse: each call takes a permit, and then the next result, which is `Done` by default.
#[derive(Clone)]
struct Warehouse {
    permits: Arc<Semaphore>,
    results: Arc<Mutex<Vec<HandlerResult>>>,
}

impl Warehouse {
    fn new(permits: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(permits)), results: Arc::default() }
    }

    fn then(self, result: HandlerResult) -> Self {
        self.results.lock().expect("lock is not poisoned").push(result);
        self
    }
}

#[on_event(
    "invoice.paid",
    name = "shop.order",
    formerly = "shop.fulfil",
    timeout = "10h",
    retry(max_attempts = 3, backoff = "1s"),
    answer_after = "8s"
)]
async fn order(_: Event, warehouse: State<Warehouse>) -> HandlerResult {
    warehouse.permits.acquire().await?.forget();
    let result = warehouse.results.lock().expect("lock is not poisoned").pop();
    result.unwrap_or(Ok(Outcome::Done))
}

/// Hangs.
#[on_event("invoice.paid", name = "shop.quick", timeout = "10h", answer_after = "2s")]
async fn quick(_: Event) {
    std::future::pending::<()>().await;
}

/// Hangs, and no answer waits for it.
#[on_event("invoice.paid", "charge.failed", name = "shop.audit", timeout = "10h")]
async fn audit(_: Event) {
    std::future::pending::<()>().await;
}

fn router(warehouse: &Warehouse) -> RouterBuilder {
    Router::builder().only::<order>().add::<audit>().state(warehouse.clone())
}

/// Returns the number of the waits that have ended since the last call, by handler and outcome.
fn waits(snapshotter: &Snapshotter) -> Vec<(String, i64)> {
    let metrics = inbox_metrics(snapshotter).into_iter().filter(|(_, count)| *count > 0);
    let waits = metrics.filter_map(|(name, count)| {
        Some((name.strip_prefix("inbox_answer_waits_total handler=")?.to_owned(), count))
    });
    waits.collect()
}

type Call = JoinHandle<Result<Receipt, InboxError>>;

/// Sends an event, and lets all tasks run until each of them waits for something.
async fn send(shop: &Shop, id: &str) -> Call {
    let call = tokio::spawn(shop.inbox.clone().call(event(id)));
    settle().await;
    call
}

/// Returns the receipt of a call that has been answered.
async fn answered(call: Call) -> Receipt {
    settle().await;
    assert!(call.is_finished(), "the answer still waits");
    call.await.expect("inbox does not panic").expect("event is stored")
}

#[tokio::test]
async fn answer_is_sent_once_the_handler_has_finished() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let warehouse = Warehouse::new(0);
    let shop = Shop::new(router(&warehouse));
    let _worker = shop.start_worker();
    let endpoint = Endpoint::new(secret(), shop.inbox.clone()).clock(shop.clock.clone());
    let request = post(payload_with_id("evt_1", "invoice.paid"));
    let answer = tokio::spawn(exchange::send(endpoint, request));
    settle().await;
    assert!(!answer.is_finished());
    // Other events and other answers do not wait.
    let other = event_of(payload("charge.failed").replace("evt_1", "evt_2")).unwrap();
    assert_eq!(shop.inbox.clone().call(other).await.unwrap().stored(), Some(&Stored::New));
    warehouse.permits.add_permits(1);
    settle().await;
    assert!(answer.is_finished());
    let answer = answer.await.unwrap();
    let receipt = answer.extensions().get::<Receipt>().unwrap();
    assert_eq!((receipt.outcome(), receipt.finished("shop.order")), ("stored", Some(Done)));
    assert_eq!(receipt.finished("shop.audit"), None);
    assert_eq!(waits(&snapshotter), [("shop.order outcome=finished".to_owned(), 1)]);
    insta::assert_snapshot!(answer.body(), @r#"{"event":"evt_1","outcome":"stored","handlers":[{"name":"shop.audit","outcome":"stored"},{"name":"shop.order","outcome":"done"}]}"#);
}

#[tokio::test]
async fn handler_that_hangs_is_answered_in_time_and_finishes_later() {
    log(LevelFilter::WARN);
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let warehouse = Warehouse::new(0);
    let shop = Shop::new(Router::builder().only::<order>().state(warehouse.clone()));
    let _worker = shop.start_worker();
    // The commit takes 3 s, which are part of the 8 s.
    shop.store().store_permits.forget_permits(usize::MAX);
    let call = send(&shop, "evt_1").await;
    shop.clock.advance(SECOND * 3);
    shop.store().store_permits.add_permits(2);
    settle().await;
    shop.clock.advance(SECOND * 5 - MILLISECOND);
    settle().await;
    assert!(!call.is_finished());
    shop.clock.advance(MILLISECOND);
    assert_eq!(answered(call).await.finished("shop.order"), None);
    assert_eq!(shop.state("evt_1").await, (Running, 1));
    let lines = logged();
    assert!(lines.contains("within its `answer_after`; Stripe is answered"), "{lines}");
    warehouse.permits.add_permits(1);
    shop.wait_for("evt_1", Done, 1).await;
    assert_eq!(waits(&snapshotter), [("shop.order outcome=timeout".to_owned(), 1)]);
    // A wait that is canceled with its request has no outcome.
    let canceled = send(&shop, "evt_2").await;
    assert!(!canceled.is_finished());
    canceled.abort();
    assert!(canceled.await.unwrap_err().is_cancelled());
    warehouse.permits.add_permits(1);
    shop.wait_for("evt_2", Done, 1).await;
    assert_eq!(waits(&snapshotter), []);
}

#[tokio::test]
async fn answer_waits_for_the_retry_of_a_failed_attempt() {
    let warehouse = Warehouse::new(9).then(Err(Failure::retry("no stock")));
    let shop = Shop::new(router(&warehouse));
    let _worker = shop.start_worker();
    let call = send(&shop, "evt_1").await;
    assert!(!call.is_finished());
    // The backoff is 1 s, ±25 %.
    shop.clock.advance(SECOND * 2);
    assert_eq!(answered(call).await.finished("shop.order"), Some(Done));
}

#[tokio::test]
async fn dead_letter_and_ignored_event_end_the_wait() {
    let permanent = || Err(Failure::permanent("no such product"));
    for (result, state) in [
        (permanent(), Dead),
        (Ok(Outcome::ignored("not ours")), Ignored),
        (Ok(Outcome::Done), Done),
    ] {
        let shop = Shop::new(router(&Warehouse::new(9).then(result)));
        let _worker = shop.start_worker();
        let call = send(&shop, "evt_1").await;
        assert_eq!(answered(call).await.finished("shop.order"), Some(state));
    }
}

#[tokio::test]
async fn each_handler_has_its_own_time_limit() {
    let warehouse = Warehouse::new(0);
    let shop = Shop::new(router(&warehouse).add::<quick>());
    let _worker = shop.start_worker();
    // `shop.quick` hangs for more than its 2 s, and `shop.order` finishes after 5 s.
    let first = send(&shop, "evt_1").await;
    shop.clock.advance(SECOND * 5);
    settle().await;
    assert!(!first.is_finished());
    warehouse.permits.add_permits(1);
    let receipt = answered(first).await;
    let states = ["shop.order", "shop.quick"].map(|handler| receipt.finished(handler));
    assert_eq!(states, [Some(Done), None]);
    // `shop.order` finishes at once, and `shop.quick` hangs.
    warehouse.permits.add_permits(1);
    let second = send(&shop, "evt_2").await;
    shop.clock.advance(SECOND * 2 - MILLISECOND);
    settle().await;
    assert!(!second.is_finished());
    shop.clock.advance(MILLISECOND);
    assert_eq!(answered(second).await.finished("shop.order"), Some(Done));
}

#[tokio::test]
async fn answer_does_not_wait_for_a_paused_handler() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let shop = Shop::new(router(&Warehouse::new(9)));
    let operations = shop.store().operations().unwrap();
    // A pause of the former name applies too.
    operations.pause("shop.fulfil", None).await.unwrap();
    let _worker = shop.start_worker();
    let call = send(&shop, "evt_1").await;
    assert_eq!(answered(call).await.finished("shop.order"), None);
    assert_eq!(waits(&snapshotter), [("shop.order outcome=skipped".to_owned(), 1)]);
}

#[tokio::test]
async fn shutdown_ends_the_wait_unless_the_handler_is_running() {
    // A retry is scheduled, which no worker of this process will run.
    let warehouse = Warehouse::new(9).then(Err(Failure::retry("no stock")));
    let shop = Shop::new(router(&warehouse));
    let worker = shop.start_worker();
    let call = send(&shop, "evt_1").await;
    let stopping = worker.begin_shutdown();
    assert_eq!(answered(call).await.finished("shop.order"), None);
    // So is an event that arrives during the shutdown, or after it.
    assert_eq!(answered(send(&shop, "evt_2").await).await.finished("shop.order"), None);
    stopping.abort();
    assert_eq!(answered(send(&shop, "evt_3").await).await.finished("shop.order"), None);

    // The handler runs, and is done within the worker's grace period.
    let warehouse = Warehouse::new(0);
    let shop = Shop::new(router(&warehouse));
    let worker = shop.start_worker();
    let call = send(&shop, "evt_1").await;
    let _stopping = worker.begin_shutdown();
    settle().await;
    assert!(!call.is_finished());
    warehouse.permits.add_permits(1);
    assert_eq!(answered(call).await.finished("shop.order"), Some(Done));
}

#[tokio::test]
async fn released_delivery_ends_the_wait() {
    let shop = Shop::new(router(&Warehouse::new(0)));
    let worker = shop.start_worker_with(|worker| worker.shutdown_grace(SECOND));
    let call = send(&shop, "evt_1").await;
    let _stopping = worker.begin_shutdown();
    settle().await;
    assert!(!call.is_finished());
    shop.clock.advance(SECOND);
    assert_eq!(answered(call).await.finished("shop.order"), None);
}

#[tokio::test]
async fn duplicate_waits_only_until_the_handler_has_finished() {
    let warehouse = Warehouse::new(0);
    let shop = Shop::new(router(&warehouse));
    let _worker = shop.start_worker();
    let calls = [send(&shop, "evt_1").await, send(&shop, "evt_1").await];
    assert!(!calls.iter().any(JoinHandle::is_finished));
    warehouse.permits.add_permits(1);
    for (call, outcome) in calls.into_iter().zip(["stored", "duplicate"]) {
        let receipt = answered(call).await;
        assert_eq!((receipt.outcome(), receipt.finished("shop.order")), (outcome, Some(Done)));
    }
    let reads = shop.store().deliveries_calls.load(Ordering::SeqCst);
    let receipt = answered(send(&shop, "evt_1").await).await;
    assert_eq!((receipt.outcome(), receipt.finished("shop.order")), ("duplicate", None));
    assert_eq!(shop.store().deliveries_calls.load(Ordering::SeqCst), reads);
}

/// Enters an order, and then fails as often as the state says.
#[on_event("checkout.session.completed", name = "shop.checkout", answer_after = "8s")]
async fn checkout(
    event: Event,
    mut tx: Tx<Sqlite>,
    failures: State<AtomicUsize>,
) -> Result<(), BoxError> {
    let insert = sqlx::query("insert into orders values (?)").bind(event.id());
    insert.execute(tx.begin().await?).await?;
    let decrement = |failures: usize| failures.checked_sub(1);
    match failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, decrement) {
        Ok(_) => Err("no stock".into()),
        Err(_) => Ok(()),
    }
}

#[tokio::test]
async fn test_inbox_runs_the_handler_while_the_answer_waits() {
    for failures in [0, 1] {
        let router = Router::builder().only::<checkout>().state(AtomicUsize::new(failures));
        let shop = TestInbox::new(router).await.unwrap();
        sqlx::query("create table orders (event text)").execute(shop.pool()).await.unwrap();
        let orders = async || {
            let count = sqlx::query_scalar("select count(*) from orders");
            count.fetch_one(shop.pool()).await.unwrap()
        };
        let completed = || SyntheticEvent::new("checkout.session.completed");
        let answer = shop.deliver(completed().id("evt_1")).await;
        let finished = answer.receipt().finished("shop.checkout");
        match failures {
            0 => assert_eq!((finished, orders().await), (Some(Done), 1)),
            // The retry is due later, and the clock has not moved.
            _ => {
                assert_eq!((finished, orders().await), (None, 0));
                assert_eq!(shop.delivery("evt_1", "shop.checkout").await.state, Waiting);
            }
        }
        let answer = shop.deliver(completed().id("evt_2")).await;
        assert_eq!(answer.receipt().finished("shop.checkout"), Some(Done));
        shop.run_for(SECOND * 60).await;
        assert_eq!(orders().await, 2);
    }
}

/// Succeeds at once.
#[on_event("invoice.paid", name = "shop.slip", answer_after = "8s")]
async fn slip(_: Event) {}

/// The handlers are waited for at the same time: one that hangs does not hide that another has
/// finished.
#[tokio::test]
async fn handler_that_hangs_does_not_hide_another_that_has_finished() {
    log(LevelFilter::WARN);
    let shop = Shop::new(router(&Warehouse::new(0)).add::<slip>());
    let _worker = shop.start_worker();
    let call = send(&shop, "evt_1").await;
    shop.clock.advance(SECOND * 8);
    let receipt = answered(call).await;
    let states = ["shop.order", "shop.slip"].map(|handler| receipt.finished(handler));
    assert_eq!(states, [None, Some(Done)]);
    let warnings = logged();
    assert!(warnings.contains("shop.order") && !warnings.contains("shop.slip"), "{warnings}");
}
