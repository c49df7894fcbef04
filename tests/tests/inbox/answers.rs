//! Answers that wait for handlers with `answer_after`.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use metrics_util::debugging::DebuggingRecorder;
use router_core::{
    BoxError, Endpoint, Event, Failure, Outcome, Router, State, build::RouterBuilder,
    handler::HandlerResult, on_event, testing::SyntheticEvent,
};
use router_inbox::{
    InboxError, Receipt, Store as _, Tx,
    sqlx::{self, Sqlite},
    store::{
        ClaimRequest, DeliveryOutcome,
        DeliveryState::{Dead, Discarded, Done, Ignored, Running, Waiting},
        HandlerSlots, NewDelivery, NewEvent, Stored,
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
async fn answer_follows_the_handler() {
    let warehouse = Warehouse::new(0);
    let shop = Shop::new(router(&warehouse));
    let worker = shop.start_worker();
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
    insta::assert_snapshot!(answer.body(), @r#"{"event":"evt_1","outcome":"stored","handlers":[{"name":"shop.audit","outcome":"stored"},{"name":"shop.order","outcome":"done"}]}"#);
    drop(worker.begin_shutdown());
}

/// The outcome of a handler with a transaction is recorded in the run, and not by the worker's loop.
#[tokio::test]
async fn handler_with_a_transaction_wakes_the_answer() {
    let router = router(&Warehouse::new(9));
    let permits = Arc::new(Semaphore::new(0));
    let shop = Shop::with_store(router, |store| store.finish_permits = Some(permits.clone()));
    let worker = shop.start_worker();
    let call = send(&shop, "evt_1").await;
    permits.add_permits(9);
    assert_eq!(answered(call).await.finished("shop.order"), Some(Done));
    drop(worker.begin_shutdown());
}

#[tokio::test]
async fn hanging_handler_is_answered_in_time_and_done_later() {
    log(LevelFilter::WARN);
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let warehouse = Warehouse::new(0);
    let shop = Shop::new(Router::builder().only::<order>().state(warehouse.clone()));
    let worker = shop.start_worker();
    // The commit takes 3 s, which are part of the 8 s.
    shop.store().store_permits.forget_permits(usize::MAX);
    let call = send(&shop, "evt_1").await;
    shop.clock.advance(SECOND * 3);
    shop.store().store_permits.add_permits(1);
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
    send(&shop, "evt_2").await.abort();
    let waits = inbox_metrics(&snapshotter).into_iter();
    let waits: Vec<_> = waits.filter(|(name, _)| name.contains("answer_waits")).collect();
    let name = "inbox_answer_waits_total handler=shop.order outcome=timeout";
    assert_eq!(waits, [(name.to_owned(), 1)]);
    drop(worker.begin_shutdown());
}

#[tokio::test]
async fn failed_attempt_that_is_retried_keeps_the_answer_waiting() {
    let warehouse = Warehouse::new(9).then(Err(Failure::retry("no stock")));
    let shop = Shop::new(router(&warehouse));
    let worker = shop.start_worker();
    let call = send(&shop, "evt_1").await;
    assert!(!call.is_finished());
    // The backoff is 1 s, ±25 %.
    shop.clock.advance(SECOND * 2);
    assert_eq!(answered(call).await.finished("shop.order"), Some(Done));
    drop(worker.begin_shutdown());
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
        let worker = shop.start_worker();
        let call = send(&shop, "evt_1").await;
        assert_eq!(answered(call).await.finished("shop.order"), Some(state));
        drop(worker.begin_shutdown());
    }
}

#[tokio::test]
async fn each_handler_has_its_own_time() {
    let warehouse = Warehouse::new(0);
    let shop = Shop::new(router(&warehouse).add::<quick>());
    let worker = shop.start_worker();
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
    drop(worker.begin_shutdown());
}

#[tokio::test]
async fn paused_handler_is_answered_at_once() {
    let shop = Shop::new(router(&Warehouse::new(9)));
    let operations = shop.store().operations().unwrap();
    // A pause of the former name applies too.
    operations.pause("shop.fulfil", None).await.unwrap();
    let worker = shop.start_worker();
    let call = send(&shop, "evt_1").await;
    assert_eq!(answered(call).await.finished("shop.order"), None);
    drop(worker.begin_shutdown());
}

#[tokio::test]
async fn shutdown_ends_the_wait_unless_the_handler_runs() {
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
    drop(worker.begin_shutdown());
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
    drop(worker.begin_shutdown());
    settle().await;
    assert!(!call.is_finished());
    shop.clock.advance(SECOND);
    assert_eq!(answered(call).await.finished("shop.order"), None);
}

#[tokio::test]
async fn event_received_again_waits_only_until_its_delivery_is_done() {
    let warehouse = Warehouse::new(0);
    let shop = Shop::new(router(&warehouse));
    let worker = shop.start_worker();
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
    drop(worker.begin_shutdown());
}

/// The worker is in another process, so nothing wakes the answer.
#[tokio::test]
async fn delivery_finished_by_another_process_is_polled() {
    let shop = Shop::new(Router::builder().only::<order>().state(Warehouse::new(9)));
    let (call, discarded) = (send(&shop, "evt_1").await, send(&shop, "evt_2").await);
    let request = ClaimRequest::new(vec![HandlerSlots::new("shop.order", 1)], 1, SECOND * 60);
    let claims = shop.store().claim(&request).await.unwrap();
    shop.store().complete(&[(claims[0].lease.clone(), DeliveryOutcome::Done)]).await.unwrap();
    shop.store().operations().unwrap().discard("evt_2", None).await.unwrap();
    settle().await;
    assert!(!call.is_finished());
    shop.clock.advance(MILLISECOND * 100);
    assert_eq!(answered(call).await.finished("shop.order"), Some(Done));
    assert_eq!(answered(discarded).await.finished("shop.order"), Some(Discarded));
}

/// Polls become rarer, so that a handler that hangs does not load the store.
#[tokio::test]
async fn store_is_polled_about_ten_times_in_eight_seconds() {
    let shop = Shop::new(router(&Warehouse::new(9)));
    let call = send(&shop, "evt_1").await;
    for _ in 0..80 {
        assert!(!call.is_finished());
        shop.clock.advance(MILLISECOND * 100);
        settle().await;
    }
    assert_eq!(answered(call).await.finished("shop.order"), None);
    assert_eq!(shop.store().deliveries_calls.load(Ordering::SeqCst), 11);
}

#[tokio::test]
async fn unreadable_delivery_is_answered_with_200_in_time() {
    log(LevelFilter::WARN);
    let shop = Shop::new(router(&Warehouse::new(9)));
    shop.store().deliveries_fail.store(true, Ordering::SeqCst);
    let call = send(&shop, "evt_1").await;
    assert!(!call.is_finished());
    shop.clock.advance(SECOND * 8);
    let receipt = answered(call).await;
    assert_eq!((receipt.outcome(), receipt.finished("shop.order")), ("stored", None));
    let lines = logged();
    assert!(lines.contains("failed to read the deliveries for which an answer waits"), "{lines}");
}

/// Deliveries of the same event id at another endpoint, and those of earlier generations, do not
/// count. A delivery under the former name does.
#[tokio::test]
async fn answer_waits_for_the_latest_delivery_of_its_own_event() {
    let warehouse = Warehouse::new(0);
    let shop = Shop::new(Router::builder().only::<order>().state(warehouse.clone()));
    let elsewhere = SyntheticEvent::new("invoice.paid").id("evt_1").account("acct_1");
    let elsewhere = elsewhere.build().unwrap().event().clone();
    for (event, handler) in [(elsewhere, "shop.order"), (event("evt_1"), "shop.fulfil")] {
        let new = NewEvent::new(event, vec![NewDelivery::new(handler)]);
        shop.store().store(&[new]).await.unwrap();
    }
    let complete_next = async |handler| {
        let request = ClaimRequest::new(vec![HandlerSlots::new(handler, 1)], 1, SECOND * 60);
        let claims = shop.store().claim(&request).await.unwrap();
        let outcome = (claims[0].lease.clone(), DeliveryOutcome::Done);
        shop.store().complete(&[outcome]).await.unwrap();
        shop.clock.advance(SECOND);
        settle().await;
    };
    let call = send(&shop, "evt_1").await;
    complete_next("shop.order").await;
    assert!(!call.is_finished());
    complete_next("shop.fulfil").await;
    assert_eq!(answered(call).await.finished("shop.order"), Some(Done));
    // An operator replays the event, and it is received again before the replay has run.
    let operations = shop.store().operations().unwrap();
    let events = operations.select(&Default::default()).await.unwrap();
    operations.replay(&events, &["shop.order".into()]).await.unwrap();
    let call = send(&shop, "evt_1").await;
    assert!(!call.is_finished());
    drop(warehouse);
    for _ in 0..events.len() {
        complete_next("shop.order").await;
    }
    assert_eq!(answered(call).await.finished("shop.order"), Some(Done));
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
    let worker = shop.start_worker();
    let call = send(&shop, "evt_1").await;
    shop.clock.advance(SECOND * 8);
    let receipt = answered(call).await;
    let states = ["shop.order", "shop.slip"].map(|handler| receipt.finished(handler));
    assert_eq!(states, [None, Some(Done)]);
    let warnings = logged();
    assert!(warnings.contains("shop.order") && !warnings.contains("shop.slip"), "{warnings}");
    drop(worker.begin_shutdown());
}
