//! A router for a service that keeps events and delivers each to one handler at a time: what it plans, what
//! a delivery brings, and what cannot be built for one.

use std::{
    pin::pin,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Waker},
    time::Duration,
};

use router_core::{
    Completion, CompletionStore as _, DeliveringService, Delivery, DeliveryRouter, Event,
    HandlerProgress, IdempotencyKey, InMemoryCompletions, Object, PerDelivery, ProvidedType, Reply,
    RetryPolicy, Router, RouterBuilder, RouterError, State, Warning, event::StoredEvent, on_event,
    on_unhandled, testing::ManualClock,
};
use router_tests::{event, now, payload, payload_with_id};
use tower::{Service as _, ServiceExt as _};

/// Gives each call its transaction, here a number.
struct Queue;

#[derive(Debug, PartialEq)]
struct Transaction(u32);

impl DeliveringService for Queue {
    fn provides(&self) -> Vec<ProvidedType> {
        vec![ProvidedType::of::<Transaction>()]
    }
}

#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl Seen {
    fn push(&self, line: impl Into<String>) {
        self.0.lock().expect("nobody panics with it").push(line.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("nobody panics with it"))
    }
}

#[on_event(
    "invoice.paid",
    name = "orders.fulfil",
    formerly = "shop::fulfil",
    attempts = 3,
    backoff = "10s",
    max_backoff = "1m",
    concurrency = 2,
    order = -1,
    ordered
)]
async fn fulfil(tx: PerDelivery<Transaction>, key: IdempotencyKey, seen: State<Seen>) {
    seen.push(format!("fulfil in {} under {key}", tx.0.0));
}

#[on_event("invoice.*", name = "audit", endpoint = "default")]
async fn audit(tx: Option<PerDelivery<Transaction>>, seen: State<Seen>) {
    seen.push(format!("audit in {:?}", tx.map(|tx| tx.0.0)));
}

#[on_event("invoice.paid")]
async fn unnamed(_: Event) {}

#[on_event("invoice.paid", name = "greedy")]
async fn greedy(_: PerDelivery<Transaction>, _: PerDelivery<Transaction>) {}

#[on_event("invoice.paid", name = "replies")]
async fn replies(_: Event) -> Reply<()> {
    Reply(())
}

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

fn shop() -> (DeliveryRouter, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let builder = Router::builder().only::<fulfil>().only::<audit>().shared_state(seen.clone());
    (builder.delivered_by(&Queue).build().expect("it is sound"), seen)
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
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
fn the_plan_of_an_event_is_its_handlers_in_order_with_how_each_is_to_be_tried() {
    let (router, _) = shop();
    let event = event(payload("invoice.paid")).unwrap();
    let planned: Vec<_> = router.plan(&event).collect();
    assert_eq!(
        planned.iter().map(|one| &*one.name).collect::<Vec<_>>(),
        ["orders.fulfil", "audit"]
    );
    let fulfil = planned[0];
    assert_eq!(fulfil.formerly, Some("shop::fulfil"));
    assert!(fulfil.ordered);
    assert_eq!((fulfil.concurrency, fulfil.timeout), (Some(2), Duration::from_secs(20)));
    let waits = [1, 2, 3].map(|attempt| fulfil.retry.wait_after(attempt));
    assert_eq!(waits, [Some(Duration::from_secs(10)), Some(Duration::from_secs(40)), None]);
    assert_eq!(planned[1].retry, RetryPolicy::default());
    assert!(!planned[1].ordered);
    let other = router_tests::event(payload("charge.failed")).unwrap();
    assert_eq!(router.plan(&other).count(), 0, "it is unhandled");
}

#[tokio::test]
async fn a_delivery_runs_one_handler_with_what_it_brings() {
    let (router, seen) = shop();
    let event = event(payload("invoice.paid")).unwrap();
    let delivery = || Delivery::new(event.clone(), "audit", 2).provide(Transaction(7));
    assert_eq!(delivery().attempt(), 2);
    assert_eq!(deliver(&router, delivery()).await.unwrap(), "audit done");
    assert_eq!(seen.take(), ["audit in Some(7)"]);
    // Nothing is remembered: whoever delivers says what is to run.
    assert_eq!(deliver(&router, delivery()).await.unwrap(), "audit done");
    assert_eq!(seen.take().len(), 1);
}

#[tokio::test]
async fn a_key_is_of_the_event_the_handler_and_the_replay_and_outlives_a_new_name() {
    let (router, seen) = shop();
    let key = async |event: &Event, handler: &str| {
        let delivery = Delivery::new(event.clone(), handler, 1).provide(Transaction(1));
        deliver(&router, delivery).await.unwrap();
        seen.take().remove(0)
    };
    let first = event(payload("invoice.paid")).unwrap();
    let once = key(&first, "orders.fulfil").await;
    assert_eq!(once, "fulfil in 1 under 0c5e63274bbc839ea5aa54ddf8eab8e5", "in every version");
    assert_eq!(key(&first, "orders.fulfil").await, once);
    // It was stored before the handler was renamed, and mailed under the key of then.
    assert_ne!(key(&first, "shop::fulfil").await, once);
    let second = event(payload_with_id("evt_2", "invoice.paid")).unwrap();
    assert_ne!(key(&second, "orders.fulfil").await, once);
    let replayed = StoredEvent { generation: 1, ..StoredEvent::from_event(&first) };
    assert_ne!(key(&Event::from_store(replayed).unwrap(), "orders.fulfil").await, once);
    let elsewhere = StoredEvent { endpoint: "connect".into(), ..StoredEvent::from_event(&first) };
    assert_ne!(key(&Event::from_store(elsewhere).unwrap(), "orders.fulfil").await, once);
}

#[test]
fn an_event_comes_out_of_a_store_as_it_went_in() {
    let went_in = event(payload("invoice.paid")).unwrap();
    let came_out = Event::from_store(StoredEvent::from_event(&went_in)).unwrap();
    assert_eq!(came_out.payload(), went_in.payload());
    assert_eq!(came_out.key(), went_in.key());
    assert_eq!(came_out.signed_at(), Some(now()));
    let kept = StoredEvent { generation: 3, ..StoredEvent::from_event(&went_in) };
    let shown = format!("{kept:?}");
    assert!(!shown.contains("amount") && shown.contains("generation: 3"), "{shown}");
    let replayed = Event::from_store(kept).unwrap();
    assert_eq!(replayed.key().to_string(), "default/evt_1#3");
    // What is replayed and stored again does not become the first one.
    assert_eq!(StoredEvent::from_event(&replayed).generation, 3);
    let damaged = StoredEvent { payload: "{".into(), ..StoredEvent::from_event(&went_in) };
    Event::from_store(damaged).unwrap_err();
}

#[tokio::test]
async fn a_delivery_that_cannot_be_made_says_why_and_runs_nothing() {
    let (router, seen) = shop();
    let event = event(payload("invoice.paid")).unwrap();
    let bare = Delivery::new(event.clone(), "audit", 1);
    let error = deliver(&router, bare).await.unwrap_err();
    assert!(
        error.to_string().starts_with("the delivery has no `delivered::Transaction`"),
        "{error}"
    );
    let to = |handler: &str| Delivery::new(event.clone(), handler, 1).provide(Transaction(1));
    let error = deliver(&router, to("orders.fulfill")).await.unwrap_err();
    let said = "no handler of this router has or had the stable name `orders.fulfill`";
    assert_eq!(error.to_string(), said);
    router.close();
    let error = deliver(&router, to("audit")).await.unwrap_err();
    assert!(matches!(error, RouterError::Closed), "{error}");
    assert!(seen.take().is_empty());
}

#[tokio::test]
async fn a_handler_is_not_run_for_an_event_that_it_is_no_longer_for() {
    let (router, seen) = shop();
    // By its type, or by its endpoint.
    let other = event(payload("charge.failed")).unwrap();
    let kept = StoredEvent { endpoint: "connect".into(), ..StoredEvent::from_event(&other) };
    let paid = event(payload("invoice.paid")).unwrap();
    let elsewhere = StoredEvent { payload: paid.payload().clone(), ..kept };
    for event in [other, Event::from_store(elsewhere).unwrap()] {
        let delivery = Delivery::new(event, "audit", 1).provide(Transaction(1));
        assert_eq!(deliver(&router, delivery).await.unwrap(), "audit ignored");
    }
    assert!(seen.take().is_empty());
}

#[tokio::test]
async fn failures_are_told_and_left_to_whoever_delivers() {
    let router = Router::builder().only::<fails>().delivered_by(&Queue).build().unwrap();
    let with = |amount: &str| {
        let body = payload("invoice.paid").replace("2000", amount);
        Delivery::new(event(body).unwrap(), "fails", 1).provide(Transaction(1))
    };
    for (amount, told) in [
        ("7", "fails retry: 7 is not enough"),
        ("0", "fails retry: the handler panicked: nothing was paid"),
    ] {
        assert_eq!(deliver(&router, with(amount)).await.unwrap(), told);
    }
    let told = deliver(&router, with("\"a lot\"")).await.unwrap();
    assert!(told.starts_with("fails dead: `data.object` does not decode at `amount`"), "{told}");
}

/// Says that it has begun, and ends as the test says.
struct Thread {
    begun: mpsc::Sender<()>,
    end: mpsc::Receiver<Result<(), String>>,
}

#[on_event("invoice.paid", name = "slow", timeout = "5s", blocking)]
fn slow(thread: State<Mutex<Thread>>) -> Result<(), String> {
    let thread = thread.lock().expect("one at a time");
    thread.begun.send(()).expect("the test waits for it");
    thread.end.recv().expect("the test says how it ends")
}

#[tokio::test]
async fn a_thread_that_is_out_of_time_is_waited_for_and_what_it_returns_counts() {
    for (ends, told) in [
        (Ok(()), "slow done"),
        (Err("too late anyway".into()), "slow retry: the handler did not finish within 5s"),
    ] {
        let clock = ManualClock::at(now());
        let ((begun, has_begun), (how, end)) = (mpsc::channel(), mpsc::channel());
        let router = Router::builder().only::<slow>().clock(clock.clone());
        let router = router.state(Mutex::new(Thread { begun, end }));
        let router = router.delivered_by(&Queue).build().unwrap();
        let delivery = Delivery::new(event(payload("invoice.paid")).unwrap(), "slow", 1);
        let delivery = delivery.provide(Transaction(1));
        let mut delivered = pin!(deliver(&router, delivery));
        assert!(poll(delivered.as_mut()).is_pending());
        has_begun.recv().unwrap();
        clock.advance(Duration::from_secs(6));
        // Another attempt beside it would do the work twice at once.
        assert!(poll(delivered.as_mut()).is_pending());
        how.send(ends).unwrap();
        assert_eq!(delivered.await.unwrap(), told);
    }
}

/// Who waited here for another handler of the object would lose an attempt for nothing.
#[tokio::test]
async fn the_order_of_an_object_is_left_to_whoever_keeps_it() {
    let router = Router::builder().only::<in_order>().only::<held>().delivered_by(&Queue);
    let router = router.build().unwrap();
    let event = event(payload("customer.updated")).unwrap();
    let to = |handler: &str| Delivery::new(event.clone(), handler, 1).provide(Transaction(1));
    let mut waits = pin!(deliver(&router, to("held")));
    assert!(poll(waits.as_mut()).is_pending());
    let mut beside = pin!(deliver(&router, to("in_order")));
    assert!(poll(beside.as_mut()).is_ready());
}

#[test]
fn what_cannot_be_delivered_is_not_built() {
    let builder = Router::builder().only::<greedy>().only::<replies>().only::<rest>();
    let builder = builder.dead_letters(router_core::DeadLetterFile::open("/dev/null").unwrap());
    let error = builder.delivered_by(&Queue).build().unwrap_err();
    insta::assert_snapshot!(error, @r#"
    the router cannot be built: 4 problems
      1. this handler takes a `delivered::Transaction` twice, but each call is provided with only one
           tests/tests/delivered.rs:68  `greedy`  on invoice.paid
         help: take it once; the second use may be inside a custom extractor
      2. these handlers reply to Stripe, but with `.delivered_by(...)` Stripe is answered before an event is delivered, so the reply would be lost
           tests/tests/delivered.rs:71  `replies`  on invoice.paid
         help: leave them out here with `.without::<the_handler>()`, and put them in a router without `.delivered_by(...)`, behind an endpoint of its own
      3. these `#[on_unhandled]` handlers would never be called: with `.delivered_by(...)` unhandled events are stored, but not delivered
           tests/tests/delivered.rs:76  `rest`  on (unhandled)
         help: use `#[on_event("*")]`, or leave them out here: `.without::<the_handler>()`
      4. `.dead_letters(...)` cannot be combined with `.delivered_by(...)`: the delivery service stores completions and dead letters itself
         help: remove `.dead_letters(...)`
    "#);
}

#[test]
fn what_nobody_gives_is_told_before_the_first_event() {
    struct Nothing;
    impl DeliveringService for Nothing {
        fn provides(&self) -> Vec<ProvidedType> {
            Vec::new()
        }
    }
    struct Other;
    impl DeliveringService for Other {
        fn provides(&self) -> Vec<ProvidedType> {
            vec![ProvidedType::of::<u8>()]
        }
    }
    let builder = || Router::builder().only::<fulfil>().state(Seen::default());
    insta::assert_snapshot!(builder().build().unwrap_err(), @r#"
    the router cannot be built: 1 problem
      1. these handlers take a `delivered::Transaction`, which this router does not provide
           tests/tests/delivered.rs:45  `orders.fulfil`  on invoice.paid
         help: a service such as an inbox provides it with each delivery: call `.delivered_by(&store)` before `.build()`
    "#);
    insta::assert_snapshot!(builder().delivered_by(&Nothing).build().unwrap_err(), @r#"
    the router cannot be built: 1 problem
      1. these handlers take a `delivered::Transaction`, which this router does not provide
           tests/tests/delivered.rs:45  `orders.fulfil`  on invoice.paid
         help: the service passed to `.delivered_by(...)` provides nothing: pass one that provides it, or take another type
    "#);
    insta::assert_snapshot!(builder().delivered_by(&Other).build().unwrap_err(), @r#"
    the router cannot be built: 1 problem
      1. these handlers take a `delivered::Transaction`, which this router does not provide
           tests/tests/delivered.rs:45  `orders.fulfil`  on invoice.paid
         provided: `u8`
         help: take one of the provided types, or pass another service to `.delivered_by(...)`
    "#);
}

#[test]
fn a_name_that_another_handler_has_had_is_not_free() {
    let builder = Router::builder().only::<fulfil>().state(Seen::default());
    let builder = builder.handler("shop::fulfil", ["invoice.paid"], async |_: Event| {});
    let error = builder.delivered_by(&Queue).build().unwrap_err().to_string();
    assert!(error.contains("these handlers share a stable name"), "{error}");
}

#[test]
fn a_name_that_would_be_lost_and_an_order_that_nobody_keeps_are_doubtful() {
    let warnings =
        |built: &[Warning]| built.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let unnamed = Router::builder().only::<unnamed>();
    let router = unnamed.delivered_by(&Queue).build().unwrap();
    insta::assert_snapshot!(warnings(&router.startup_report().warnings), @r#"
    tests/tests/delivered.rs:65  `delivered::unnamed`  on invoice.paid: deliveries are stored under the handler's module path, so pending ones are no longer found after the function is moved or renamed; give the handler a stable name: `#[on_event("...", name = "orders.fulfil", formerly = "delivered::unnamed")]`
    "#);
    let inline = || -> RouterBuilder { Router::builder().only::<audit>().state(Seen::default()) };
    assert!(inline().build().unwrap().startup_report().warnings.is_empty());
    let inline = Router::builder().only::<in_order>().build().unwrap();
    insta::assert_snapshot!(warnings(&inline.startup_report().warnings), @r#"
    tests/tests/delivered.rs:368  `in_order`  on customer.updated: `ordered` needs an inbox (`.delivered_by(...)`); without one, the events of an object are handled one at a time, in order of arrival
    "#);
}

#[on_event("customer.updated", name = "in_order", ordered)]
async fn in_order(_: Event) {}

#[on_event("invoice.paid", name = "orders.renamed", formerly = "shop::renamed")]
async fn renamed(seen: State<Seen>) {
    seen.push("renamed");
}

/// Also in a router whose events come from Stripe at once.
#[tokio::test]
async fn what_was_finished_under_a_former_name_is_not_run_again() {
    for (name, runs) in [("shop::renamed", 0), ("orders.renamed", 0), ("shop::other", 1)] {
        let (memory, seen) = (InMemoryCompletions::new(), Arc::new(Seen::default()));
        let event = event(payload("invoice.paid")).unwrap();
        let finished = Some(Completion::Done);
        let progress = HandlerProgress { handler: name.into(), attempts: 1, finished };
        memory.record(&event.key(), progress).await.unwrap();
        let router = Router::builder().only::<renamed>().shared_state(seen.clone());
        let mut router = router.completions(memory).build().unwrap();
        assert_eq!(router.call(event).await.unwrap().outcome(), "done");
        assert_eq!(seen.take().len(), runs, "{name}");
    }
}

#[on_event("customer.updated", name = "held", ordered)]
async fn held(_: Event) {
    std::future::pending::<()>().await;
}
