//! Handlers that an operator has paused: workers leave them out of their claims.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use metrics_util::debugging::DebuggingRecorder;
use router_core::{
    Event, Failure, Outcome, Router, State, build::RouterBuilder, handler::HandlerResult, on_event,
};
use router_inbox::{
    Inbox, SqliteStore, Store,
    store::{
        DeliveryState::{self, Done, Running, Waiting},
        NewDelivery, NewEvent, Operations as _,
    },
};
use router_tests::logged::{self, log};
use tokio::sync::Semaphore;
use tower::Service as _;
use tracing_subscriber::filter::LevelFilter;

use crate::{
    metrics::{inbox_metrics, pass_check},
    monitor::{codes, health, monitor_lines, pass},
    shop::{Shop, event, settle, wait_until},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// The mail server: each call takes a permit.
#[derive(Clone)]
struct Mail {
    permits: Arc<Semaphore>,
    is_down: Arc<AtomicBool>,
}

impl Mail {
    fn new(permits: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(permits)), is_down: Arc::default() }
    }
}

#[on_event(
    "invoice.paid",
    name = "shop.mail",
    formerly = "shop.post",
    timeout = "10h",
    retry(max_attempts = 3, backoff = "1s")
)]
async fn mail(_: Event, mail: State<Mail>) -> HandlerResult {
    mail.permits.acquire().await?.forget();
    match mail.is_down.load(Ordering::SeqCst) {
        true => Err(Failure::retry("the mail server is down")),
        false => Ok(Outcome::Done),
    }
}

#[on_event("invoice.paid", name = "shop.audit")]
async fn audit(_: Event) {}

fn router(mail_server: &Mail) -> RouterBuilder {
    Router::builder().only::<mail>().only::<audit>().state(mail_server.clone())
}

async fn pause(shop: &Shop, handler: &str, note: Option<&str>) {
    let operations = shop.store().operations().expect("memory store has operations");
    operations.pause(handler, note).await.expect("memory store is writable");
}

async fn resume(shop: &Shop, handler: &str) {
    let operations = shop.store().operations().expect("memory store has operations");
    let resumed = operations.resume(handler).await.expect("memory store is writable");
    assert!(resumed.is_some(), "{handler} was not paused");
}

/// Returns the state and the attempts of a handler's delivery of an event.
async fn state_in(store: &impl Store, id: &str, handler: &str) -> (DeliveryState, u32) {
    let deliveries = store.deliveries(id).await.expect("store is readable");
    let delivery = deliveries.iter().find(|delivery| &*delivery.handler == handler);
    let delivery = delivery.expect("event is stored for the handler");
    (delivery.state, delivery.attempts)
}

async fn state(shop: &Shop, id: &str, handler: &str) -> (DeliveryState, u32) {
    state_in(shop.store(), id, handler).await
}

async fn wait_for(shop: &Shop, id: &str, handler: &str, expected: (DeliveryState, u32)) {
    wait_until(async || state(shop, id, handler).await == expected).await;
}

#[tokio::test]
async fn paused_handler_does_not_run_but_the_others_do() {
    let shop = Shop::new(router(&Mail::new(99)));
    pause(&shop, "shop.mail", None).await;
    shop.receive("evt_1").await.unwrap();
    let worker = shop.start_worker();
    wait_for(&shop, "evt_1", "shop.audit", (Done, 1)).await;
    for _ in 0..5 {
        shop.advance_and_poll(SECOND).await;
    }
    assert_eq!(state(&shop, "evt_1", "shop.mail").await, (Waiting, 0));
    // A restart does not end the pause.
    worker.stop().await;
    let worker = shop.start_worker();
    shop.receive("evt_2").await.unwrap();
    wait_for(&shop, "evt_2", "shop.audit", (Done, 1)).await;
    settle().await;
    for id in ["evt_1", "evt_2"] {
        assert_eq!(state(&shop, id, "shop.mail").await, (Waiting, 0), "{id}");
    }
    resume(&shop, "shop.mail").await;
    shop.clock.advance(SECOND);
    for id in ["evt_1", "evt_2"] {
        wait_for(&shop, id, "shop.mail", (Done, 1)).await;
    }
    worker.stop().await;
}

/// An operator may pause a handler before the program that has its new name is started, or after.
#[tokio::test]
async fn pause_of_one_name_applies_to_the_former_name_too() {
    for name in ["shop.post", "shop.mail"] {
        let shop = Shop::new(router(&Mail::new(99)));
        pause(&shop, name, None).await;
        let former = NewEvent::new(event("evt_old"), vec![NewDelivery::new("shop.post")]);
        shop.store().store(&[former]).await.unwrap();
        shop.receive("evt_new").await.unwrap();
        let worker = shop.start_worker();
        wait_for(&shop, "evt_new", "shop.audit", (Done, 1)).await;
        settle().await;
        assert_eq!(state(&shop, "evt_old", "shop.post").await, (Waiting, 0), "{name}");
        assert_eq!(state(&shop, "evt_new", "shop.mail").await, (Waiting, 0), "{name}");
        resume(&shop, name).await;
        shop.clock.advance(SECOND);
        wait_for(&shop, "evt_old", "shop.post", (Done, 1)).await;
        wait_for(&shop, "evt_new", "shop.mail", (Done, 1)).await;
        worker.stop().await;
    }
}

#[tokio::test]
async fn delivery_in_flight_finishes_and_its_retry_waits() {
    let mail = Mail::new(0);
    mail.is_down.store(true, Ordering::SeqCst);
    let shop = Shop::new(router(&mail));
    shop.receive("evt_1").await.unwrap();
    let worker = shop.start_worker();
    wait_for(&shop, "evt_1", "shop.mail", (Running, 1)).await;
    pause(&shop, "shop.mail", None).await;
    // This is longer than the lease, which the worker renews.
    for _ in 0..10 {
        shop.advance_and_poll(SECOND * 10).await;
    }
    assert_eq!(state(&shop, "evt_1", "shop.mail").await, (Running, 1));
    mail.permits.add_permits(9);
    wait_for(&shop, "evt_1", "shop.mail", (Waiting, 1)).await;
    // The retry is due after a second.
    for _ in 0..5 {
        shop.advance_and_poll(SECOND).await;
    }
    assert_eq!(state(&shop, "evt_1", "shop.mail").await, (Waiting, 1));
    mail.is_down.store(false, Ordering::SeqCst);
    resume(&shop, "shop.mail").await;
    shop.clock.advance(SECOND);
    wait_for(&shop, "evt_1", "shop.mail", (Done, 2)).await;
    worker.stop().await;
}

/// A worker notices a pause and its end even if its poll interval is long and the store cannot notify.
#[tokio::test]
async fn pause_and_resume_are_noticed_within_a_second() {
    let shop = Shop::new(router(&Mail::new(99)));
    let worker = shop.start_worker_with(|worker| worker.poll_interval(HOUR));
    shop.receive("evt_0").await.unwrap();
    wait_for(&shop, "evt_0", "shop.mail", (Done, 1)).await;
    pause(&shop, "shop.mail", None).await;
    shop.clock.advance(SECOND);
    for id in ["evt_1", "evt_2", "evt_3"] {
        shop.receive(id).await.unwrap();
        wait_for(&shop, id, "shop.audit", (Done, 1)).await;
        settle().await;
        assert_eq!(state(&shop, id, "shop.mail").await, (Waiting, 0));
    }
    resume(&shop, "shop.mail").await;
    shop.clock.advance(SECOND);
    for id in ["evt_1", "evt_2", "evt_3"] {
        wait_for(&shop, id, "shop.mail", (Done, 1)).await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn list_is_read_at_most_once_a_second() {
    let shop = Shop::new(router(&Mail::new(99)));
    pause(&shop, "shop.mail", None).await;
    let worker = shop.start_worker();
    settle().await;
    let calls = || shop.store().paused_calls.load(Ordering::SeqCst);
    let before = calls();
    for id in 0..20 {
        let id = format!("evt_{id}");
        shop.receive(&id).await.unwrap();
        wait_for(&shop, &id, "shop.audit", (Done, 1)).await;
    }
    assert_eq!(calls(), before);
    shop.clock.advance(SECOND);
    settle().await;
    assert_eq!(calls(), before + 1);
    worker.stop().await;
}

#[tokio::test]
async fn nothing_is_claimed_while_the_list_cannot_be_read() {
    log(LevelFilter::WARN);
    let shop = Shop::new(router(&Mail::new(99)));
    shop.store().paused_fails.store(true, Ordering::SeqCst);
    shop.receive("evt_1").await.unwrap();
    let worker = shop.start_worker();
    settle().await;
    assert_eq!(shop.store().claim_calls.load(Ordering::SeqCst), 0);
    let lines = logged::logged();
    assert!(
        lines.contains("failed to read the paused handlers; no delivery is claimed"),
        "{lines}"
    );
    shop.store().paused_fails.store(false, Ordering::SeqCst);
    shop.clock.advance(SECOND);
    wait_for(&shop, "evt_1", "shop.mail", (Done, 1)).await;
    worker.stop().await;
}

#[tokio::test]
async fn pause_and_resume_are_logged_with_the_note() {
    log(LevelFilter::INFO);
    let shop = Shop::new(router(&Mail::new(99)));
    pause(&shop, "shop.post", Some("the mail server\nis down")).await;
    pause(&shop, "other.handler", None).await;
    let worker = shop.start_worker();
    settle().await;
    resume(&shop, "shop.post").await;
    for _ in 0..3 {
        shop.advance_and_poll(SECOND).await;
        settle().await;
    }
    let lines = logged::logged().replace("router_inbox::", "");
    let lines: Vec<_> = lines.lines().filter(|line| line.contains("worker::pauses")).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    INFO worker::pauses: an operator has paused the handler; its deliveries wait until `event-router inbox resume shop.post` handler="shop.mail" note="the mail server\nis down"
    INFO worker::pauses: an operator has resumed the handler handler="shop.mail"
    "#);
    worker.stop().await;
}

#[tokio::test]
async fn pause_survives_reopen_and_is_idle_for_a_job() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/inbox.db", folder.path().display());
    let store = SqliteStore::open(&url).await.unwrap();
    store.pause("shop.mail", Some("why")).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&url).await.unwrap();
    let router = router(&Mail::new(99)).delivered_by(&store).build().unwrap();
    let mut inbox = Inbox::new(store.clone(), router.clone());
    inbox.call(event("evt_1")).await.unwrap();
    inbox.worker(router.clone()).run_until_idle().await;
    assert_eq!(state_in(&store, "evt_1", "shop.audit").await, (Done, 1));
    assert_eq!(state_in(&store, "evt_1", "shop.mail").await, (Waiting, 0));
    assert_eq!(store.resume("shop.mail").await.unwrap().unwrap().note.as_deref(), Some("why"));
    inbox.worker(router).run_until_idle().await;
    assert_eq!(state_in(&store, "evt_1", "shop.mail").await, (Done, 1));
}

/// After a pause, workers first have to claim the deliveries that became due during the pause.
#[tokio::test]
async fn delivery_of_paused_handler_is_not_overdue() {
    log(LevelFilter::INFO);
    let shop = Shop::new(router(&Mail::new(99)));
    pause(&shop, "shop.post", None).await;
    let new = NewEvent::new(event("evt_1"), vec![NewDelivery::new("shop.mail")]);
    shop.store().store(&[new]).await.unwrap();
    pass(&shop, MINUTE * 2).await;
    assert_eq!(monitor_lines(), "");
    let (reasons, warnings) = health(&shop).await;
    assert_eq!(reasons, []);
    assert_eq!(codes(&warnings), [("paused", "shop.post".to_owned())]);
    resume(&shop, "shop.post").await;
    pass(&shop, MINUTE - SECOND).await;
    assert_eq!(monitor_lines(), "");
    assert_eq!(health(&shop).await, (vec![], vec![]));
    pass(&shop, SECOND).await;
    let lines = monitor_lines();
    assert!(lines.contains("no worker is running in any process"), "{lines}");
    assert_eq!(codes(&health(&shop).await.0), [("no_worker", "shop.mail".to_owned())]);
}

#[tokio::test]
async fn overdue_delivery_is_not_reported_as_claimed_while_paused() {
    log(LevelFilter::INFO);
    let shop = Shop::new(router(&Mail::new(99)));
    let new = NewEvent::new(event("evt_1"), vec![NewDelivery::new("shop.mail")]);
    shop.store().store(&[new]).await.unwrap();
    pass(&shop, MINUTE).await;
    assert!(monitor_lines().contains("no worker is running in any process"));
    pause(&shop, "shop.mail", None).await;
    pass(&shop, MINUTE * 5).await;
    assert_eq!(monitor_lines(), "");
    let worker = shop.start_worker();
    resume(&shop, "shop.mail").await;
    pass(&shop, SECOND).await;
    shop.wait_for("evt_1", Done, 1).await;
    pass(&shop, MINUTE * 2).await;
    let lines = monitor_lines();
    assert!(lines.contains("no delivery of these handlers is overdue any more"), "{lines}");
    assert!(!lines.contains("WARN"), "{lines}");
    worker.stop().await;
}

#[tokio::test]
async fn paused_handlers_have_a_gauge() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let shop = Shop::new(router(&Mail::new(99)));
    let gauges = || {
        let metrics = inbox_metrics(&snapshotter).into_iter();
        let gauges = metrics.filter(|(name, _)| name.starts_with("inbox_paused"));
        gauges.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
    };
    for name in ["shop.post", "other.handler"] {
        pause(&shop, name, None).await;
    }
    pass_check(&shop).await;
    insta::assert_snapshot!(gauges(), @"inbox_paused handler=other.handler 1, inbox_paused handler=shop.audit 0, inbox_paused handler=shop.mail 1, inbox_paused handler=shop.post 1");
    for name in ["shop.post", "other.handler"] {
        resume(&shop, name).await;
    }
    pass_check(&shop).await;
    insta::assert_snapshot!(gauges(), @"inbox_paused handler=other.handler 0, inbox_paused handler=shop.audit 0, inbox_paused handler=shop.mail 0, inbox_paused handler=shop.post 0");
}
