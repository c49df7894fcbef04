//! Each panic of a run counts as a failed attempt, wherever it happens.

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use router_core::{
    Event, Router, State,
    delivery::{Delivery, DeliveryRouter},
    handler::{HandlerReport, HandlerResult},
    on_event,
    routing::RouterError,
};
use router_inbox::store::DeliveryState::{Dead, Running, Waiting};
use tower::Service;
use tracing_subscriber::filter::LevelFilter;

use crate::shop::{INBOX_SLEEPERS, RunningWorker, Shop, WORKER_SLEEPERS};
use router_tests::{
    bomb::{Fault, fail},
    logged::{log, logged},
};

#[on_event(
    "invoice.paid",
    name = "shop.twice",
    retry(max_attempts = 2, backoff = "10s"),
    timeout = "20s"
)]
async fn twice(_: Event, fault: State<Fault>) -> HandlerResult {
    fail(*fault.0).await
}

#[on_event("invoice.paid", name = "shop.fine", retry(max_attempts = 2, backoff = "10s"))]
async fn fine(_: Event) {}

/// Runs two attempts, asserts that the delivery is then a dead letter, and returns its error.
async fn two_attempts(shop: &Shop, worker: RunningWorker, timeout: Duration) -> String {
    log(LevelFilter::INFO);
    shop.receive("evt_1").await.expect("memory store is writable");
    logged();
    for (state, attempts) in [(Waiting, 1), (Dead, 2)] {
        // The last sleeper is the handler's timeout.
        if !timeout.is_zero() {
            shop.wait_for("evt_1", Running, attempts).await;
            shop.clock.wait_for_sleepers(INBOX_SLEEPERS + WORKER_SLEEPERS + 1).await;
            shop.clock.advance(timeout);
        }
        shop.wait_for("evt_1", state, attempts).await;
        shop.clock.advance(Duration::from_secs(13));
    }
    let log = logged();
    assert_eq!(log.matches("handler failed on attempt 1 of 2; retrying").count(), 1, "{log}");
    assert_eq!(log.matches("dead letter stored").count(), 1, "{log}");
    worker.stop().await;
    shop.deliveries("evt_1").await[0].error.clone().expect("the delivery has failed")
}

#[tokio::test]
async fn panic_of_a_run_counts_as_an_attempt() {
    for fault in Fault::ALL {
        let shop = Shop::new(Router::builder().without_linked().add::<twice>().state(fault));
        let timeout = Duration::from_secs(if fault.hangs() { 20 } else { 0 });
        let error = two_attempts(&shop, shop.start_worker(), timeout).await;
        assert!(error.contains(fault.message()), "{fault:?}: {error}");
    }
}

#[tokio::test]
async fn panic_of_the_store_counts_as_an_attempt() {
    let router = Router::builder().without_linked().add::<fine>();
    let shop = Shop::with_store(router, |store| store.finish_panics = true);
    let error = two_attempts(&shop, shop.start_worker(), Duration::ZERO).await;
    assert!(error.ends_with("the store panicked: a bug in the store"), "{error}");
    // A failure of the handler stays the outcome, and is logged once.
    let router = Router::builder().without_linked().add::<twice>().state(Fault::Panic);
    let shop = Shop::with_store(router, |store| store.finish_panics = true);
    let error = two_attempts(&shop, shop.start_worker(), Duration::ZERO).await;
    assert!(error.ends_with("the handler panicked: a bug"), "{error}");
}

/// A layer around the router that panics, at a place that is chosen by the attempt.
#[derive(Clone)]
struct PanickingLayer {
    router: DeliveryRouter,
    calls: Arc<Mutex<u32>>,
}

impl Service<Delivery> for PanickingLayer {
    type Response = HandlerReport;
    type Error = RouterError;
    type Future = <DeliveryRouter as Service<Delivery>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), RouterError>> {
        let mut calls = self.calls.lock().expect("mutex is not poisoned");
        *calls += 1;
        let is_first = *calls == 1;
        drop(calls);
        assert!(!is_first, "a bug in the layer's `poll_ready`");
        self.router.poll_ready(context)
    }

    fn call(&mut self, _: Delivery) -> Self::Future {
        Box::pin(async { panic!("a bug in the layer's future") })
    }
}

#[tokio::test]
async fn panic_of_a_layer_counts_as_an_attempt() {
    let shop = Shop::new(Router::builder().without_linked().add::<twice>().state(Fault::Panic));
    let router = shop.inbox.router().clone();
    let layer = PanickingLayer { router, calls: Arc::default() };
    let error = two_attempts(&shop, shop.start_worker_of(layer), Duration::ZERO).await;
    assert!(error.ends_with("a layer around the router panicked: a bug in the layer's future"));
}
