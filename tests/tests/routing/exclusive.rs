//! Handlers that must not run concurrently: `exclusive` handlers with events of the same object,
//! and `blocking` handlers, which continue after their timeout because a thread cannot be canceled.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use router_core::{
    Failure, Object, Router, State, handler::Report, on_event, routing::RouterError,
    testing::ManualClock,
};
use router_tests::{event, now, payload_with_id};
use serde::Deserialize;
use tokio::{sync::Semaphore, task::JoinHandle};
use tower::ServiceExt as _;

async fn deliver(router: &Router, body: String) -> Result<Report, RouterError> {
    router.clone().oneshot(event(body).expect("the payload is an event")).await
}

/// Delivers the event in a task of its own.
fn spawn_delivery(router: &Router, body: String) -> JoinHandle<Result<Report, RouterError>> {
    let router = router.clone();
    tokio::spawn(async move { deliver(&router, body).await })
}

/// The total amount of each subscription.
#[derive(Default)]
struct Totals {
    amounts: Mutex<HashMap<String, i64>>,
    /// If set, a handler of `sub_1` needs a permit between its read and its write.
    write_permits: Option<Semaphore>,
}

#[derive(Deserialize)]
struct Subscription {
    id: Option<String>,
    amount: i64,
}

async fn add(subscription: &Subscription, totals: &Totals) {
    let id = subscription.id.clone().unwrap_or_default();
    let read = |totals: &Totals| {
        totals
            .amounts
            .lock()
            .expect("the lock is not poisoned")
            .get(&id)
            .copied()
            .unwrap_or_default()
    };
    let before = read(totals);
    match &totals.write_permits {
        Some(permits) if id == "sub_1" => {
            permits.acquire().await.expect("the semaphore is open").forget();
        }
        _ => tokio::task::yield_now().await,
    }
    // Overwrites a concurrent update: the lost update that `exclusive` prevents.
    let mut amounts = totals.amounts.lock().expect("the lock is not poisoned");
    amounts.insert(id, before + subscription.amount);
}

#[on_event("customer.subscription.created", exclusive)]
async fn created(subscription: Object<Subscription>, totals: State<Totals>) {
    add(&subscription, &totals).await;
}

#[on_event("customer.subscription.updated", exclusive, timeout = "10s")]
async fn updated(subscription: Object<Subscription>, totals: State<Totals>) {
    add(&subscription, &totals).await;
}

/// Not `exclusive`, to show that concurrent handlers lose updates.
#[on_event("customer.subscription.paused")]
async fn paused_not_exclusive(subscription: Object<Subscription>, totals: State<Totals>) {
    add(&subscription, &totals).await;
}

fn body(number: u32, kind: &str, object: &str) -> String {
    payload_with_id(&format!("evt_{number}"), &format!("customer.subscription.{kind}"))
        .replace("obj_1", object)
}

fn router(totals: &Arc<Totals>, clock: &ManualClock) -> Router {
    Router::builder()
        .without_linked()
        .add::<created>()
        .add::<updated>()
        .add::<paused_not_exclusive>()
        .shared_state(totals.clone())
        .clock(clock.clone())
        .build()
        .expect("the router is valid")
}

#[tokio::test]
async fn exclusive_events_of_one_object_never_overlap() {
    let totals = Arc::new(Totals::default());
    let router = router(&totals, &ManualClock::at(now()));
    let deliver_all = async |kinds: [&str; 2]| {
        let all = (0..20).map(|number| {
            let kind = kinds[number as usize % 2];
            let number = number + if kind == "paused" { 100 } else { 0 };
            spawn_delivery(&router, body(number, kind, "sub_1"))
        });
        for delivery in all.collect::<Vec<_>>() {
            assert_eq!(delivery.await.unwrap().unwrap().outcome(), "done");
        }
        std::mem::take(&mut *totals.amounts.lock().unwrap())["sub_1"]
    };
    assert_eq!(deliver_all(["created", "updated"]).await, 20 * 2000);
    // Without `exclusive` updates are lost, so the assertion above is meaningful.
    assert!(deliver_all(["paused", "paused"]).await < 20 * 2000);
}

#[tokio::test]
async fn exclusive_events_of_other_objects_do_not_wait() {
    let totals = Arc::new(Totals { write_permits: Some(Semaphore::new(0)), ..Totals::default() });
    let clock = ManualClock::at(now());
    let router = router(&totals, &clock);
    let held = spawn_delivery(&router, body(1, "updated", "sub_1"));
    clock.wait_for_sleeper().await;
    let no_id = body(2, "updated", "x").replace(r#""id":"x","#, "");
    for body in [body(3, "updated", "sub_2"), no_id] {
        assert_eq!(deliver(&router, body).await.unwrap().outcome(), "done");
    }
    assert!(!held.is_finished());
    totals.write_permits.as_ref().unwrap().add_permits(1);
    assert_eq!(held.await.unwrap().unwrap().outcome(), "done");
    assert_eq!(totals.amounts.lock().unwrap().len(), 3);
}

/// A notice of an upcoming invoice, whose object has no id.
#[derive(Deserialize)]
struct UpcomingInvoice {
    customer: Option<String>,
}

/// The notice of `cus_1` needs a permit.
#[on_event("invoice.upcoming", exclusive)]
async fn announce(invoice: Object<UpcomingInvoice>, permits: State<Arc<Semaphore>>) {
    if invoice.customer.as_deref() == Some("cus_1") {
        permits.acquire().await.expect("the semaphore is open").forget();
    }
}

#[tokio::test]
async fn exclusive_upcoming_invoices_of_other_customers_do_not_wait() {
    let (permits, clock) = (Arc::new(Semaphore::new(0)), ManualClock::at(now()));
    let router = Router::builder().without_linked().add::<announce>().state(permits.clone());
    let router = router.clock(clock.clone()).build().expect("the router is valid");
    let notice = |number: u32, owner: &str| {
        let body = payload_with_id(&format!("evt_{number}"), "invoice.upcoming");
        body.replace(r#""id":"obj_1","object":"thing""#, &format!(r#""object":"invoice"{owner}"#))
    };
    let held = spawn_delivery(&router, notice(1, r#","customer":"cus_1""#));
    clock.wait_for_sleeper().await;
    for body in [notice(2, r#","customer":"cus_2""#), notice(3, ""), notice(4, "")] {
        assert_eq!(deliver(&router, body).await.unwrap().outcome(), "done");
    }
    let same_customer = spawn_delivery(&router, notice(5, r#","customer":"cus_1""#));
    clock.wait_for_sleepers(2).await;
    permits.add_permits(1);
    assert_eq!(held.await.unwrap().unwrap().outcome(), "done");
    assert!(!same_customer.is_finished());
    permits.add_permits(1);
    assert_eq!(same_customer.await.unwrap().unwrap().outcome(), "done");
}

#[tokio::test]
async fn exclusive_wait_beyond_timeout_requests_retry() {
    let totals = Arc::new(Totals { write_permits: Some(Semaphore::new(0)), ..Totals::default() });
    let clock = ManualClock::at(now());
    let router = router(&totals, &clock);
    let held = spawn_delivery(&router, body(1, "created", "sub_1"));
    clock.wait_for_sleeper().await;
    let (waited, ()) = tokio::join!(deliver(&router, body(2, "updated", "sub_1")), async {
        clock.wait_for_sleepers(2).await;
        clock.advance(Duration::from_secs(10));
    });
    let waited = waited.unwrap();
    let failure = waited.handlers()[0].result().unwrap_err();
    assert_eq!(
        failure.to_string(),
        "another event of the same object (sub_1) was still being handled after 10s, so the handler was not called"
    );
    assert!(waited.needs_retry());
    totals.write_permits.as_ref().unwrap().add_permits(1);
    assert_eq!(held.await.unwrap().unwrap().outcome(), "done");
    assert_eq!(totals.amounts.lock().unwrap()["sub_1"], 2000);
}

/// The channels by which a test controls a `blocking` handler.
struct Control {
    started: mpsc::Sender<()>,
    results: Mutex<mpsc::Receiver<Result<(), &'static str>>>,
}

#[on_event("charge.succeeded", name = "blocking_handler", blocking, timeout = "5s")]
fn blocking_handler(control: State<Control>) -> Result<(), Failure> {
    control.started.send(())?;
    control.results.lock().expect("the lock is not poisoned").recv()?.map_err(Failure::retry)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn blocking_handler_is_not_restarted_while_running() {
    for (result, final_outcome) in [(Ok(()), "duplicate"), (Err("not now"), "retry")] {
        let (started, starts) = mpsc::channel();
        let (results, handler_results) = mpsc::channel();
        let clock = ManualClock::at(now());
        let router = Router::builder()
            .only::<blocking_handler>()
            .state(Control { started, results: Mutex::new(handler_results) })
            .clock(clock.clone())
            .build()
            .unwrap();
        let body = || payload_with_id("evt_1", "charge.succeeded");
        let (timed_out, ()) = tokio::join!(deliver(&router, body()), async {
            clock.wait_for_sleeper().await;
            clock.advance(Duration::from_secs(5));
        });
        assert_eq!(timed_out.unwrap().outcome(), "retry");
        starts.recv().unwrap();

        // The thread still runs, so a duplicate neither starts it again nor is answered with done.
        assert_eq!(deliver(&router, body()).await.unwrap().outcome(), "retry");
        assert!(starts.try_recv().is_err(), "the handler was started again while it still ran");

        results.send(result).unwrap();
        // Once the thread has returned, its result decides whether a duplicate runs the handler
        // again. Each delivery provides a result for such a run.
        let report = loop {
            results.send(Err("not now")).unwrap();
            let report = deliver(&router, body()).await.unwrap();
            if report.handlers()[0].attempts() != 1 || report.outcome() == "duplicate" {
                break report;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(report.outcome(), final_outcome);
        let attempts = report.handlers()[0].attempts();
        assert_eq!(attempts, if final_outcome == "duplicate" { 1 } else { 2 });
        assert_eq!(starts.try_recv().is_ok(), final_outcome == "retry");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn drained_waits_for_blocking_handler_threads() {
    let (started, starts) = mpsc::channel();
    let (results, handler_results) = mpsc::channel();
    let clock = ManualClock::at(now());
    let router = Router::builder()
        .only::<blocking_handler>()
        .state(Control { started, results: Mutex::new(handler_results) })
        .clock(clock.clone())
        .build()
        .unwrap();
    let (timed_out, ()) =
        tokio::join!(deliver(&router, payload_with_id("evt_1", "charge.succeeded")), async {
            clock.wait_for_sleeper().await;
            clock.advance(Duration::from_secs(5));
        });
    assert_eq!(timed_out.unwrap().outcome(), "retry");
    starts.recv().unwrap();
    router.close();
    let drained = tokio::spawn({
        let router = router.clone();
        async move { router.drained().await }
    });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!drained.is_finished());
    results.send(Ok(())).unwrap();
    drained.await.unwrap();
}
