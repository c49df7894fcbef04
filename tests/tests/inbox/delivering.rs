//! A delivery is run until it is done, or until nobody should try it any more.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use router_core::{Event, Failure, HandlerResult, Outcome, Router, RouterBuilder, State, on_event};
use router_inbox::{
    DeliveryState::{Dead, Done, Ignored, Waiting},
    Store as _,
};
use tokio::sync::Semaphore;

use crate::shop::{Shop, settle, until};

/// What the handlers of the tests return, one call after the other; then they are done.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Vec<HandlerResult>>>);

impl Script {
    fn of<const N: usize>(results: [HandlerResult; N]) -> Self {
        Self(Arc::new(Mutex::new(Vec::from(results))))
    }

    fn next(&self) -> HandlerResult {
        let mut results = self.0.lock().expect("nobody panics with it");
        if results.is_empty() { Ok(Outcome::Done) } else { results.remove(0) }
    }
}

#[on_event("invoice.paid", name = "shop.thrice", attempts = 3, backoff = "10s", max_backoff = "1m")]
async fn thrice(_: Event, script: State<Script>) -> HandlerResult {
    script.next()
}

fn shop(script: &Script) -> Shop {
    Shop::new(Router::builder().without_linked().add::<thrice>().state(script.clone()))
}

fn fails() -> HandlerResult {
    Err(Failure::retry("the warehouse is down"))
}

const A_SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_a_handler_returns_is_what_becomes_of_its_delivery() {
    let rows: [(HandlerResult, _, _); 4] = [
        (Ok(Outcome::Done), Done, None),
        (Ok(Outcome::ignored("not ours")), Ignored, None),
        (Err(Failure::permanent("no such order")), Dead, Some("no such order")),
        (fails(), Waiting, Some("the warehouse is down")),
    ];
    for (result, state, error) in rows {
        let shop = shop(&Script::of([result]));
        let worker = shop.work();
        shop.receive("evt_1").await.unwrap();
        shop.is("evt_1", state, 1).await;
        assert_eq!(shop.deliveries("evt_1").await[0].error.as_deref(), error);
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_handler_that_fails_is_tried_again_later_and_later_and_then_is_a_dead_letter() {
    let shop = shop(&Script::of([fails(), fails(), fails()]));
    let worker = shop.work();
    shop.receive("evt_1").await.unwrap();
    shop.is("evt_1", Waiting, 1).await;
    // 10 s and then 40 s, each a quarter more or less.
    for (attempt, backoff) in [(1, 10), (2, 40)] {
        let backoff = A_SECOND * backoff;
        shop.pass(backoff * 3 / 4 - A_SECOND / 1_000).await;
        assert_eq!(shop.state("evt_1").await, (Waiting, attempt), "it is early yet");
        shop.pass(backoff / 2 + A_SECOND / 500).await;
        let ended = if attempt == 2 { Dead } else { Waiting };
        shop.is("evt_1", ended, attempt + 1).await;
    }
    let error = shop.deliveries("evt_1").await[0].error.clone();
    assert_eq!(error.as_deref(), Some("attempt 3 of 3 failed: the warehouse is down"));
    shop.pass(A_SECOND * 1_000_000).await;
    assert_eq!(shop.state("evt_1").await, (Dead, 3), "nobody tries it again");
    worker.stop().await;
}

#[tokio::test]
async fn a_handler_that_asks_for_time_is_given_it_however_long() {
    let asks = Err(Failure::retry_in("too many requests", A_SECOND * 3_600));
    let shop = shop(&Script::of([asks]));
    let worker = shop.work();
    shop.receive("evt_1").await.unwrap();
    shop.is("evt_1", Waiting, 1).await;
    shop.pass(A_SECOND * 3_599).await;
    assert_eq!(shop.state("evt_1").await, (Waiting, 1));
    shop.pass(A_SECOND).await;
    shop.is("evt_1", Done, 2).await;
    worker.stop().await;
}

#[tokio::test]
async fn one_handler_that_fails_neither_holds_the_others_up_nor_runs_them_again() {
    let others = Arc::new(AtomicUsize::new(0));
    let counted = others.clone();
    let other = move |_: Event| {
        counted.fetch_add(1, Ordering::SeqCst);
        async {}
    };
    let router = Router::builder().without_linked().add::<thrice>().state(Script::of([fails()]));
    let shop = Shop::new(router.handler("shop.other", ["invoice.paid"], other));
    let worker = shop.work();
    shop.receive("evt_1").await.unwrap();
    let states = async || {
        let kept = shop.deliveries("evt_1").await;
        kept.iter()
            .map(|one| (one.handler.to_string(), one.state, one.attempts))
            .collect::<Vec<_>>()
    };
    let (other, thrice) = ("shop.other".to_owned(), "shop.thrice".to_owned());
    until(async || states().await == [(other.clone(), Done, 1), (thrice.clone(), Waiting, 1)])
        .await;
    shop.pass(A_SECOND * 13).await;
    until(async || states().await == [(other.clone(), Done, 1), (thrice.clone(), Done, 2)]).await;
    assert_eq!(others.load(Ordering::SeqCst), 1);
    worker.stop().await;
}

/// Handlers that wait until they are let go, counted.
#[derive(Clone)]
struct Gate {
    running: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl Gate {
    fn shut() -> Self {
        Self { running: Arc::default(), gate: Arc::new(Semaphore::new(0)) }
    }

    async fn pass(&self) {
        self.running.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.expect("it is never closed").forget();
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }
}

#[on_event("invoice.paid", name = "shop.two_at_once", formerly = "shop.former", concurrency = 2)]
async fn two_at_once(_: Event, gate: State<Gate>) {
    gate.pass().await;
}

#[on_event("invoice.paid", name = "shop.any")]
async fn any(_: Event, gate: State<Gate>) {
    gate.pass().await;
}

async fn stored(shop: &Shop, ids: std::ops::Range<u32>) {
    for id in ids {
        shop.receive(&format!("evt_{id}")).await.expect("it is stored");
    }
}

async fn all_done(shop: &Shop) {
    until(async || shop.store().backlog().await.expect("it can be read").is_empty()).await;
}

fn gated(router: RouterBuilder, gate: &Gate) -> Shop {
    Shop::new(router.state(gate.clone()))
}

#[tokio::test]
async fn a_worker_runs_as_many_at_once_as_it_may() {
    let gate = Gate::shut();
    let shop = gated(Router::builder().without_linked().add::<any>(), &gate);
    stored(&shop, 0..10).await;
    let worker = shop.work_as(|worker| worker.concurrency(3));
    until(async || gate.running() == 3).await;
    shop.clock.advance(A_SECOND);
    settle().await;
    assert_eq!(gate.running(), 3);
    gate.gate.add_permits(100);
    all_done(&shop).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_handler_runs_as_many_at_once_as_it_may_under_its_former_name_too() {
    let former = |_: Event| async {};
    let gate = Gate::shut();
    let router = Router::builder().without_linked().add::<two_at_once>();
    let shop = gated(router, &gate);
    // What an older program has stored.
    let older = Router::builder().without_linked().handler("shop.former", ["invoice.paid"], former);
    let older = older.delivered_by(shop.store()).build().unwrap();
    let deliveries: Vec<_> = older.handlers().iter().map(router_inbox::NewDelivery::new).collect();
    for id in 10..15 {
        let event = crate::shop::event(&format!("evt_{id}"));
        let new = router_inbox::NewEvent { event, deliveries: deliveries.clone() };
        shop.store().store(&[new]).await.unwrap();
    }
    stored(&shop, 0..5).await;
    let worker = shop.work();
    until(async || gate.running() == 2).await;
    shop.clock.advance(A_SECOND);
    settle().await;
    assert_eq!(gate.running(), 2);
    gate.gate.add_permits(100);
    all_done(&shop).await;
    for id in [0, 4, 10, 14] {
        assert_eq!(
            shop.state(&format!("evt_{id}")).await,
            (Done, 1),
            "who was given back has lost nothing"
        );
    }
    worker.stop().await;
}

#[tokio::test]
async fn two_workers_share_what_there_is() {
    let gate = Gate::shut();
    let shop = gated(Router::builder().without_linked().add::<any>(), &gate);
    let workers = [shop.work_as(|one| one.concurrency(2)), shop.work_as(|two| two.concurrency(2))];
    stored(&shop, 0..6).await;
    until(async || gate.running() == 4).await;
    gate.gate.add_permits(100);
    all_done(&shop).await;
    for worker in workers {
        worker.stop().await;
    }
    for id in 0..6 {
        assert_eq!(shop.state(&format!("evt_{id}")).await, (Done, 1));
    }
}

#[tokio::test]
async fn a_shutdown_waits_for_what_runs_and_takes_nothing_new() {
    let gate = Gate::shut();
    let shop = gated(Router::builder().without_linked().add::<any>(), &gate);
    stored(&shop, 0..1).await;
    let worker = shop.work();
    until(async || gate.running() == 1).await;
    let stopping = worker.tell_to_stop();
    settle().await;
    stored(&shop, 1..2).await;
    gate.gate.add_permits(100);
    stopping.await.unwrap();
    assert_eq!(shop.state("evt_0").await, (Done, 1));
    assert_eq!(shop.state("evt_1").await, (Waiting, 0));
}

#[tokio::test]
async fn a_shutdown_that_has_waited_long_enough_costs_nobody_an_attempt() {
    let gate = Gate::shut();
    let shop = gated(Router::builder().without_linked().add::<any>(), &gate);
    stored(&shop, 0..3).await;
    let worker = shop.work_as(|worker| worker.shutdown_grace(A_SECOND * 15));
    until(async || gate.running() == 3).await;
    let stopping = worker.tell_to_stop();
    settle().await;
    shop.clock.advance(A_SECOND * 14);
    settle().await;
    assert!(!stopping.is_finished());
    shop.clock.advance(A_SECOND);
    stopping.await.unwrap();
    for id in 0..3 {
        assert_eq!(shop.state(&format!("evt_{id}")).await, (Waiting, 0));
    }
}

#[tokio::test]
async fn what_has_ended_well_is_purged_after_thirty_days_and_a_dead_letter_never() {
    let shop = shop(&Script::of([Ok(Outcome::Done), Err(Failure::permanent("no such order"))]));
    let worker = shop.work();
    for (id, state) in [("evt_1", Done), ("evt_2", Dead)] {
        shop.receive(id).await.unwrap();
        shop.is(id, state, 1).await;
    }
    let (an_hour, a_day) = (A_SECOND * 3_600, A_SECOND * 86_400);
    for _ in 0..29 {
        shop.pass(a_day).await;
    }
    settle().await;
    assert_eq!(shop.state("evt_1").await, (Done, 1));
    shop.pass(a_day + an_hour).await;
    until(async || shop.deliveries("evt_1").await.is_empty()).await;
    shop.pass(a_day * 1_000).await;
    settle().await;
    assert_eq!(shop.state("evt_2").await, (Dead, 1));
    worker.stop().await;
}
