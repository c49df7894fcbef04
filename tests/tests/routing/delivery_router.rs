//! `DeliveryRouter`, the router for a service that stores events and delivers each to one handler
//! at a time: the plan of an event, single deliveries, and errors and warnings of `build()`.

use std::{
    pin::pin,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Waker},
    time::Duration,
};

use router_core::{
    Event, IdempotencyKey, Object, Router, State,
    build::{RouterBuilder, Warning},
    completions::{Completion, CompletionStore as _, HandlerProgress, InMemoryCompletions},
    delivery::{
        Delivery, DeliveryOrder, DeliveryRouter, DeliveryService, ProvidedType, RetryPolicy,
    },
    event::StoredEvent,
    extract::PerDelivery,
    on_event, on_unhandled,
    routing::RouterError,
    testing::ManualClock,
};
use router_tests::{event, now, payload, payload_with_id};
use tower::{Service as _, ServiceExt as _};

/// A delivery service that provides a `Transaction` with each delivery.
pub(crate) struct Queue;

#[derive(Debug, PartialEq)]
pub(crate) struct Transaction(pub(crate) u32);

impl DeliveryService for Queue {
    fn provides(&self) -> Vec<ProvidedType> {
        vec![ProvidedType::of::<Transaction>()]
    }
}

#[derive(Default)]
pub(crate) struct CallLog(Mutex<Vec<String>>);

impl CallLog {
    pub(crate) fn push(&self, line: impl Into<String>) {
        self.0.lock().expect("no handler panics while logging").push(line.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no handler panics while logging"))
    }
}

#[on_event(
    "invoice.paid",
    name = "orders.fulfil",
    formerly = "shop::fulfil",
    retry(max_attempts = 3, backoff = "10s", max_backoff = "1m"),
    concurrency = 2,
    order = -1,
    ordered
)]
async fn fulfil(tx: PerDelivery<Transaction>, key: IdempotencyKey, log: State<CallLog>) {
    log.push(format!("fulfil in {} under {key}", tx.0.0));
}

#[on_event("invoice.*", name = "audit", endpoint = "default")]
async fn audit(tx: Option<PerDelivery<Transaction>>, log: State<CallLog>) {
    log.push(format!("audit in {:?}", tx.map(|tx| tx.0.0)));
}

#[on_event("invoice.paid")]
pub(crate) async fn unnamed(_: Event) {}

#[on_event("invoice.paid", name = "greedy")]
async fn greedy(_: PerDelivery<Transaction>, _: PerDelivery<Transaction>) {}

#[on_unhandled(name = "rest")]
async fn rest(_: Event) {}

#[derive(serde::Deserialize)]
struct Invoice {
    amount: i64,
}

#[on_event("invoice.paid", name = "fails")]
async fn fails(invoice: Object<Invoice>) -> Result<(), String> {
    match invoice.amount {
        0 => panic!("nothing was paid"),
        amount => Err(format!("{amount} is not enough")),
    }
}

fn shop() -> (DeliveryRouter, Arc<CallLog>) {
    let log = Arc::new(CallLog::default());
    let builder = Router::builder().only::<fulfil>().only::<audit>().shared_state(log.clone());
    (builder.delivered_by(&Queue).build().expect("the router is valid"), log)
}

pub(crate) fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

async fn deliver(router: &DeliveryRouter, delivery: Delivery) -> Result<String, RouterError> {
    let report = router.clone().ready().await?.call(delivery).await?;
    Ok(match report.result() {
        Ok(_) => format!("{} {}", report.name(), report.outcome()),
        Err(failure) => format!("{} {}: {failure}", report.name(), report.outcome()),
    })
}

#[test]
fn plan_lists_handlers_in_order_with_their_settings() {
    let (router, _) = shop();
    let event = event(payload("invoice.paid")).unwrap();
    let planned: Vec<_> = router.plan(&event).collect();
    assert_eq!(
        planned.iter().map(|handler| &*handler.name).collect::<Vec<_>>(),
        ["orders.fulfil", "audit"]
    );
    let fulfil = planned[0];
    assert_eq!(fulfil.formerly, Some("shop::fulfil"));
    assert_eq!(fulfil.order, Some(DeliveryOrder::OldestFirst));
    assert_eq!((fulfil.concurrency, fulfil.timeout), (Some(2), Duration::from_secs(20)));
    let waits = [1, 2, 3].map(|attempt| fulfil.retry.wait_after(attempt, None, 0.5));
    assert_eq!(waits, [Some(Duration::from_secs(10)), Some(Duration::from_secs(40)), None]);
    assert_eq!(planned[1].retry, RetryPolicy::default());
    assert_eq!(planned[1].order, None);
    let unhandled = router_tests::event(payload("charge.failed")).unwrap();
    assert_eq!(router.plan(&unhandled).count(), 0, "an unhandled event has no plan");
}

#[tokio::test]
async fn delivery_runs_its_handler_with_provided_value() {
    let (router, log) = shop();
    let event = event(payload("invoice.paid")).unwrap();
    let delivery = || Delivery::new(event.clone(), "audit", 2).provide(Transaction(7));
    assert_eq!(delivery().attempt(), 2);
    assert_eq!(deliver(&router, delivery()).await.unwrap(), "audit done");
    assert_eq!(log.take(), ["audit in Some(7)"]);
    // The router keeps no completions; the service decides which handlers run.
    assert_eq!(deliver(&router, delivery()).await.unwrap(), "audit done");
    assert_eq!(log.take().len(), 1);
}

#[tokio::test]
async fn idempotency_key_covers_event_handler_generation() {
    let (router, log) = shop();
    let key = async |event: &Event, handler: &str| {
        let delivery = Delivery::new(event.clone(), handler, 1).provide(Transaction(1));
        deliver(&router, delivery).await.unwrap();
        log.take().remove(0)
    };
    let first_event = event(payload("invoice.paid")).unwrap();
    let first_key = key(&first_event, "orders.fulfil").await;
    // The key is the same in every version.
    assert_eq!(first_key, "fulfil in 1 under b6ffd43a67ffcb4d5d8ce903a15ebff9");
    assert_eq!(key(&first_event, "orders.fulfil").await, first_key);
    // A delivery that was stored under the former name keeps that name's key.
    assert_ne!(key(&first_event, "shop::fulfil").await, first_key);
    let second_event = event(payload_with_id("evt_2", "invoice.paid")).unwrap();
    assert_ne!(key(&second_event, "orders.fulfil").await, first_key);
    let replayed = StoredEvent { generation: 1, ..StoredEvent::from_event(&first_event) };
    assert_ne!(key(&Event::from_store(replayed).unwrap(), "orders.fulfil").await, first_key);
    let connect =
        StoredEvent { endpoint: "connect".into(), ..StoredEvent::from_event(&first_event) };
    assert_ne!(key(&Event::from_store(connect).unwrap(), "orders.fulfil").await, first_key);
}

#[test]
fn stored_event_round_trips_with_its_generation() {
    let original = event(payload("invoice.paid")).unwrap();
    let restored = Event::from_store(StoredEvent::from_event(&original)).unwrap();
    assert_eq!(restored.payload(), original.payload());
    assert_eq!(restored.key(), original.key());
    assert_eq!(restored.signed_at(), Some(now()));
    let stored = StoredEvent { generation: 3, ..StoredEvent::from_event(&original) };
    let debug = format!("{stored:?}");
    assert!(!debug.contains("amount") && debug.contains("generation: 3"), "{debug}");
    let replayed = Event::from_store(stored).unwrap();
    assert_eq!(replayed.key().to_string(), "default/evt_1/invoice.paid#3");
    // A replayed event that is stored again keeps its generation.
    assert_eq!(StoredEvent::from_event(&replayed).generation, 3);
    let damaged = StoredEvent { payload: "{".into(), ..StoredEvent::from_event(&original) };
    Event::from_store(damaged).unwrap_err();
}

#[tokio::test]
async fn invalid_delivery_fails_and_runs_no_handler() {
    let (router, log) = shop();
    let event = event(payload("invoice.paid")).unwrap();
    let without_transaction = Delivery::new(event.clone(), "audit", 1);
    let error = deliver(&router, without_transaction).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the delivery has no `routing::delivery_router::Transaction`"),
        "{error}"
    );
    let to = |handler: &str| Delivery::new(event.clone(), handler, 1).provide(Transaction(1));
    let error = deliver(&router, to("orders.fulfill")).await.unwrap_err();
    let expected = "no handler of this router has or had the stable name `orders.fulfill`";
    assert_eq!(error.to_string(), expected);
    router.close();
    let error = deliver(&router, to("audit")).await.unwrap_err();
    assert!(matches!(error, RouterError::Closed), "{error}");
    assert!(log.take().is_empty());
}

#[tokio::test]
async fn delivery_is_ignored_if_handler_no_longer_matches() {
    let (router, log) = shop();
    let other_type = event(payload("charge.failed")).unwrap();
    let connect =
        StoredEvent { endpoint: "connect".into(), ..StoredEvent::from_event(&other_type) };
    let paid = event(payload("invoice.paid")).unwrap();
    let other_endpoint = StoredEvent { payload: paid.payload().clone(), ..connect };
    for event in [other_type, Event::from_store(other_endpoint).unwrap()] {
        let delivery = Delivery::new(event, "audit", 1).provide(Transaction(1));
        assert_eq!(deliver(&router, delivery).await.unwrap(), "audit ignored");
    }
    assert!(log.take().is_empty());
}

#[tokio::test]
async fn handler_failure_is_reported_to_the_service() {
    let router = Router::builder().only::<fails>().delivered_by(&Queue).build().unwrap();
    let delivery = |amount: &str| {
        let body = payload("invoice.paid").replace("2000", amount);
        Delivery::new(event(body).unwrap(), "fails", 1).provide(Transaction(1))
    };
    for (amount, expected) in [
        ("7", "fails retry: 7 is not enough"),
        ("0", "fails retry: the handler panicked: nothing was paid"),
    ] {
        assert_eq!(deliver(&router, delivery(amount)).await.unwrap(), expected);
    }
    let result = deliver(&router, delivery("\"a lot\"")).await.unwrap();
    let expected = ": `data.object` does not decode at `amount`";
    assert!(result.starts_with("fails dead: ") && result.contains(expected), "{result}");
}

/// The channels between a test and its blocking handler, which signals its start and returns the
/// result that the test sends.
struct BlockingCall {
    started: mpsc::Sender<()>,
    result: mpsc::Receiver<Result<(), String>>,
}

#[on_event("invoice.paid", name = "slow", timeout = "5s", blocking)]
fn slow(call: State<Mutex<BlockingCall>>) -> Result<(), String> {
    let call = call.lock().expect("only one call takes the lock");
    call.started.send(()).expect("the test waits for the start");
    call.result.recv().expect("the test sends the result")
}

#[tokio::test]
async fn timed_out_thread_is_awaited_and_can_still_succeed() {
    for (result, expected) in [
        (Ok(()), "slow done"),
        (Err("too late anyway".into()), "slow retry: the handler did not finish within 5s"),
    ] {
        let clock = ManualClock::at(now());
        let (started, is_started) = mpsc::channel();
        let (result_sender, result_receiver) = mpsc::channel();
        let router = Router::builder().only::<slow>().clock(clock.clone());
        let call = BlockingCall { started, result: result_receiver };
        let router = router.state(Mutex::new(call));
        let router = router.delivered_by(&Queue).build().unwrap();
        let delivery = Delivery::new(event(payload("invoice.paid")).unwrap(), "slow", 1);
        let delivery = delivery.provide(Transaction(1));
        let mut delivered = pin!(deliver(&router, delivery));
        assert!(poll(delivered.as_mut()).is_pending());
        is_started.recv().unwrap();
        clock.advance(Duration::from_secs(6));
        // The thread still runs, so another attempt would do the work twice concurrently.
        assert!(poll(delivered.as_mut()).is_pending());
        result_sender.send(result).unwrap();
        assert_eq!(delivered.await.unwrap(), expected);
    }
}

/// The service enforces the order. A delivery that waited in the router would waste an attempt.
#[tokio::test]
async fn ordered_delivery_does_not_wait_for_another() {
    let router = Router::builder().only::<in_order>().only::<held>().delivered_by(&Queue);
    let router = router.build().unwrap();
    let event = event(payload("customer.updated")).unwrap();
    let to = |handler: &str| Delivery::new(event.clone(), handler, 1).provide(Transaction(1));
    let mut pending = pin!(deliver(&router, to("held")));
    assert!(poll(pending.as_mut()).is_pending());
    let mut concurrent = pin!(deliver(&router, to("in_order")));
    assert!(poll(concurrent.as_mut()).is_ready());
}

#[test]
fn build_fails_if_handlers_cannot_be_delivered() {
    let builder = Router::builder().only::<greedy>().only::<rest>();
    let builder =
        builder.dead_letters(router_core::dead_letters::DeadLetterFile::open("/dev/null").unwrap());
    let error = builder.delivered_by(&Queue).build().unwrap_err();
    insta::assert_snapshot!(error, @r#"
    the router cannot be built: 3 problems
      1. this handler takes a `routing::delivery_router::Transaction` twice, but each call is provided with only one
           tests/tests/routing/delivery_router.rs:73  `greedy`  on invoice.paid
         help: take it once; the second use may be inside a custom extractor
      2. these `#[on_unhandled]` handlers would never be called: with `.delivered_by(...)` unhandled events are stored, but not delivered
           tests/tests/routing/delivery_router.rs:76  `rest`  on (unhandled)
         help: use `#[on_event("*")]`, or leave them out here: `.without::<the_handler>()`
      3. `.dead_letters(...)` cannot be combined with `.delivered_by(...)`: the delivery service stores completions and dead letters itself
         help: remove `.dead_letters(...)`
    "#);
}

#[test]
fn build_fails_if_service_does_not_provide_type() {
    struct ProvidesNothing;
    impl DeliveryService for ProvidesNothing {
        fn provides(&self) -> Vec<ProvidedType> {
            Vec::new()
        }
    }
    struct ProvidesU8;
    impl DeliveryService for ProvidesU8 {
        fn provides(&self) -> Vec<ProvidedType> {
            vec![ProvidedType::of::<u8>()]
        }
    }
    let builder = || Router::builder().only::<fulfil>().state(CallLog::default());
    insta::assert_snapshot!(builder().build().unwrap_err(), @r#"
    the router cannot be built: 1 problem
      1. these handlers take a `routing::delivery_router::Transaction`, which this router does not provide
           tests/tests/routing/delivery_router.rs:52  `orders.fulfil`  on invoice.paid
         help: a service such as an inbox provides it with each delivery: call `.delivered_by(&store)` before `.build()`; in a test, replace `TestRouter` by `router_inbox::testing::TestInbox` (feature `testing`)
    "#);
    insta::assert_snapshot!(builder().delivered_by(&ProvidesNothing).build().unwrap_err(), @r#"
    the router cannot be built: 1 problem
      1. these handlers take a `routing::delivery_router::Transaction`, which this router does not provide
           tests/tests/routing/delivery_router.rs:52  `orders.fulfil`  on invoice.paid
         help: the service passed to `.delivered_by(...)` provides nothing: pass one that provides it, or take another type
    "#);
    insta::assert_snapshot!(builder().delivered_by(&ProvidesU8).build().unwrap_err(), @r#"
    the router cannot be built: 1 problem
      1. these handlers take a `routing::delivery_router::Transaction`, which this router does not provide
           tests/tests/routing/delivery_router.rs:52  `orders.fulfil`  on invoice.paid
         provided: `u8`
         help: take one of the provided types, or pass another service to `.delivered_by(...)`
    "#);
}

#[test]
fn build_fails_if_name_is_anothers_former_name() {
    let builder = Router::builder().only::<fulfil>().state(CallLog::default());
    let builder = builder.handler("shop::fulfil", ["invoice.paid"], async |_: Event| {});
    let error = builder.delivered_by(&Queue).build().unwrap_err().to_string();
    assert!(error.contains("these handlers share a stable name"), "{error}");
}

#[test]
fn build_warns_of_unstable_name_and_inline_ordered() {
    let render = |warnings: &[Warning]| {
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let unnamed = Router::builder().only::<unnamed>();
    let router = unnamed.delivered_by(&Queue).build().unwrap();
    insta::assert_snapshot!(render(&router.startup_report().warnings), @r#"
    tests/tests/routing/delivery_router.rs:70  `routing::delivery_router::unnamed`  on invoice.paid: deliveries are stored under the handler's module path, so pending ones are no longer found after the function is moved or renamed; give the handler a stable name: `#[on_event("...", name = "orders.fulfil", formerly = "routing::delivery_router::unnamed")]`
    "#);
    let named = || -> RouterBuilder {
        Router::builder().only::<audit>().state(CallLog::default()).endpoints(["default"])
    };
    assert_eq!(named().build().unwrap().startup_report().warnings, []);
    let inline = Router::builder().only::<in_order>().build().unwrap();
    insta::assert_snapshot!(render(&inline.startup_report().warnings), @r#"
    tests/tests/routing/delivery_router.rs:377  `in_order`  on customer.updated: `ordered` needs an inbox (`.delivered_by(...)`), and a handler that does not reply; otherwise the events of an object are handled one at a time, in order of arrival
    "#);
}

#[on_event("customer.updated", name = "in_order", ordered)]
async fn in_order(_: Event) {}

#[on_event("customer.updated", name = "mirror", ordered = "newest")]
async fn mirror(_: Event) {}

/// Without a delivery service, a handler of either order is only `exclusive`.
#[test]
fn newest_order_is_planned_and_needs_a_service() {
    let builder = || Router::builder().only::<mirror>();
    let router = builder().delivered_by(&Queue).build().unwrap();
    assert_eq!(router.handler("mirror").unwrap().order, Some(DeliveryOrder::NewestOnly));
    let inline = builder().build().unwrap();
    assert!(matches!(inline.startup_report().warnings[..], [Warning::NotOrdered { .. }]));
}

#[on_event("invoice.paid", name = "orders.renamed", formerly = "shop::renamed")]
async fn renamed(log: State<CallLog>) {
    log.push("renamed");
}

/// Former names also apply in a router without a delivery service.
#[tokio::test]
async fn handler_finished_under_former_name_is_skipped() {
    for (name, runs, outcome) in [
        ("shop::renamed", 0, "duplicate"),
        ("orders.renamed", 0, "duplicate"),
        ("shop::other", 1, "done"),
    ] {
        let completions = InMemoryCompletions::new();
        let log = Arc::new(CallLog::default());
        let event = event(payload("invoice.paid")).unwrap();
        let completion = Some(Completion::Done);
        let progress = HandlerProgress { handler: name.into(), attempts: 1, completion };
        completions.record(&event.key(), progress).await.unwrap();
        let router = Router::builder().only::<renamed>().shared_state(log.clone());
        let mut router = router.completions(completions).build().unwrap();
        assert_eq!(router.call(event).await.unwrap().outcome(), outcome, "{name}");
        assert_eq!(log.take().len(), runs, "{name}");
    }
}

#[on_event("customer.updated", name = "held", ordered)]
async fn held(_: Event) {
    std::future::pending::<()>().await;
}
