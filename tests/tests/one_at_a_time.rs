//! Handlers that are not to run beside themselves: one event of an object at a time, and a thread that
//! nobody can stop.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use router_core::{
    Failure, Object, Report, Router, RouterError, State, on_event, testing::ManualClock,
};
use router_tests::{event, now, payload_of};
use serde::Deserialize;
use tokio::{sync::Semaphore, task::JoinHandle};
use tower::ServiceExt as _;

async fn deliver(router: &Router, body: String) -> Result<Report, RouterError> {
    router.clone().oneshot(event(body).expect("it is an event")).await
}

/// The same, beside what the test does.
fn spawned(router: &Router, body: String) -> JoinHandle<Result<Report, RouterError>> {
    let router = router.clone();
    tokio::spawn(async move { deliver(&router, body).await })
}

/// What a shop keeps of each subscription.
#[derive(Default)]
struct Store {
    amounts: Mutex<HashMap<String, i64>>,
    /// A permit lets one handler of `sub_1` go on between its read and its write.
    between: Option<Semaphore>,
}

#[derive(Deserialize)]
struct Subscription {
    id: Option<String>,
    amount: i64,
}

async fn add(subscription: &Subscription, store: &Store) {
    let id = subscription.id.clone().unwrap_or_default();
    let read = |store: &Store| {
        store.amounts.lock().expect("nobody panics").get(&id).copied().unwrap_or_default()
    };
    let before = read(store);
    match &store.between {
        Some(between) if id == "sub_1" => between.acquire().await.expect("it is open").forget(),
        _ => tokio::task::yield_now().await,
    }
    // Whoever has written in between is forgotten: the lost update.
    let mut amounts = store.amounts.lock().expect("nobody panics");
    amounts.insert(id, before + subscription.amount);
}

#[on_event("customer.subscription.created", exclusive)]
async fn created(subscription: Object<Subscription>, store: State<Store>) {
    add(&subscription, &store).await;
}

#[on_event("customer.subscription.updated", exclusive, timeout = "10s")]
async fn updated(subscription: Object<Subscription>, store: State<Store>) {
    add(&subscription, &store).await;
}

/// The same without the key.
#[on_event("customer.subscription.paused")]
async fn careless(subscription: Object<Subscription>, store: State<Store>) {
    add(&subscription, &store).await;
}

fn body(number: u32, kind: &str, object: &str) -> String {
    payload_of(&format!("evt_{number}"), &format!("customer.subscription.{kind}"))
        .replace("obj_1", object)
}

fn router(store: &Arc<Store>, clock: &ManualClock) -> Router {
    Router::builder()
        .without_linked()
        .add::<created>()
        .add::<updated>()
        .add::<careless>()
        .shared_state(store.clone())
        .clock(clock.clone())
        .build()
        .expect("it is correct")
}

#[tokio::test]
async fn two_events_of_one_object_never_run_at_once_whichever_handler_is_theirs() {
    let store = Arc::new(Store::default());
    let router = router(&store, &ManualClock::at(now()));
    let deliver_all = async |kinds: [&str; 2]| {
        let all = (0..20).map(|number| {
            let kind = kinds[number as usize % 2];
            let number = number + if kind == "paused" { 100 } else { 0 };
            spawned(&router, body(number, kind, "sub_1"))
        });
        for one in all.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap().unwrap().outcome(), "done");
        }
        std::mem::take(&mut *store.amounts.lock().unwrap())["sub_1"]
    };
    assert_eq!(deliver_all(["created", "updated"]).await, 20 * 2000);
    // The test would show a lost update.
    assert!(deliver_all(["paused", "paused"]).await < 20 * 2000);
}

#[tokio::test]
async fn other_objects_do_not_wait_and_one_without_an_id_is_an_object_too() {
    let store = Arc::new(Store { between: Some(Semaphore::new(0)), ..Store::default() });
    let clock = ManualClock::at(now());
    let router = router(&store, &clock);
    let held = spawned(&router, body(1, "updated", "sub_1"));
    clock.wait_for_sleeper().await;
    let no_id = body(2, "updated", "x").replace(r#""id":"x","#, "");
    for body in [body(3, "updated", "sub_2"), no_id] {
        assert_eq!(deliver(&router, body).await.unwrap().outcome(), "done");
    }
    assert!(!held.is_finished());
    store.between.as_ref().unwrap().add_permits(1);
    assert_eq!(held.await.unwrap().unwrap().outcome(), "done");
    assert_eq!(store.amounts.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn whoever_waits_too_long_for_the_object_is_tried_again_and_says_why() {
    let store = Arc::new(Store { between: Some(Semaphore::new(0)), ..Store::default() });
    let clock = ManualClock::at(now());
    let router = router(&store, &clock);
    let held = spawned(&router, body(1, "created", "sub_1"));
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
    store.between.as_ref().unwrap().add_permits(1);
    assert_eq!(held.await.unwrap().unwrap().outcome(), "done");
    assert_eq!(store.amounts.lock().unwrap()["sub_1"], 2000);
}

/// What a handler in a thread does: it says that it has begun, and ends as it is told.
struct Thread {
    begun: mpsc::Sender<()>,
    ends: Mutex<mpsc::Receiver<Result<(), &'static str>>>,
}

#[on_event("charge.succeeded", name = "in_a_thread", blocking, timeout = "5s")]
fn in_a_thread(thread: State<Thread>) -> Result<(), Failure> {
    thread.begun.send(())?;
    thread.ends.lock().expect("nobody panics").recv()?.map_err(Failure::retry)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_blocking_handler_that_is_out_of_time_keeps_its_place_until_it_returns() {
    for (ends, then) in [(Ok(()), "done"), (Err("not now"), "retry")] {
        let (begun, has_begun) = mpsc::channel();
        let (end, ending) = mpsc::channel();
        let clock = ManualClock::at(now());
        let router = Router::builder()
            .only::<in_a_thread>()
            .state(Thread { begun, ends: Mutex::new(ending) })
            .clock(clock.clone())
            .build()
            .unwrap();
        let body = || payload_of("evt_1", "charge.succeeded");
        let (late, ()) = tokio::join!(deliver(&router, body()), async {
            clock.wait_for_sleeper().await;
            clock.advance(Duration::from_secs(5));
        });
        assert_eq!(late.unwrap().outcome(), "retry");
        has_begun.recv().unwrap();

        // It still runs, so it is not started again, and nobody is told that it is done.
        assert_eq!(deliver(&router, body()).await.unwrap().outcome(), "retry");
        assert!(has_begun.try_recv().is_err(), "it was started again");

        end.send(ends).unwrap();
        // When it has returned the place is given up; what it did is known.
        let report = loop {
            end.send(Err("not now")).unwrap();
            let report = deliver(&router, body()).await.unwrap();
            if report.handlers()[0].attempts() != 1 || report.outcome() == "done" {
                break report;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(report.outcome(), then);
        let attempts = report.handlers()[0].attempts();
        assert_eq!(attempts, if then == "done" { 1 } else { 2 });
        assert_eq!(has_begun.try_recv().is_ok(), then == "retry");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_router_is_drained_only_when_its_threads_have_returned() {
    let (begun, has_begun) = mpsc::channel();
    let (end, ending) = mpsc::channel();
    let clock = ManualClock::at(now());
    let router = Router::builder()
        .only::<in_a_thread>()
        .state(Thread { begun, ends: Mutex::new(ending) })
        .clock(clock.clone())
        .build()
        .unwrap();
    let (late, ()) =
        tokio::join!(deliver(&router, payload_of("evt_1", "charge.succeeded")), async {
            clock.wait_for_sleeper().await;
            clock.advance(Duration::from_secs(5));
        });
    assert_eq!(late.unwrap().outcome(), "retry");
    has_begun.recv().unwrap();
    router.close();
    let drained = tokio::spawn({
        let router = router.clone();
        async move { router.drained().await }
    });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!drained.is_finished());
    end.send(Ok(())).unwrap();
    drained.await.unwrap();
}
