//! Slots of a worker: handlers that hang do not stop the others.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use router_core::{Event, Router, build::RouterBuilder, testing::SyntheticEvent};
use tower::Service as _;

use crate::shop::{RunningWorker, Shop, TestWorker, settle, wait_until};

const SECOND: Duration = Duration::from_secs(1);
const EVENTS: usize = 300;

/// The ids of the events that a handler has finished.
type Finished = Arc<Mutex<Vec<String>>>;

fn finishes(router: RouterBuilder, name: &str, event_type: &str) -> (RouterBuilder, Finished) {
    let finished = Finished::default();
    let events = finished.clone();
    let handler = move |event: Event| {
        events.lock().expect("mutex is not poisoned").push(event.id().to_owned());
        std::future::ready(())
    };
    (router.handler(name, [event_type], handler), finished)
}

/// Adds a handler that ends only with its timeout, and returns the number of its running calls.
fn hangs(router: RouterBuilder, name: &str) -> (RouterBuilder, Arc<AtomicUsize>) {
    /// Counts itself as running while it is alive.
    struct Running(Arc<AtomicUsize>);

    impl Drop for Running {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    let running = Arc::new(AtomicUsize::new(0));
    let count = running.clone();
    let handler = move |_: Event| {
        count.fetch_add(1, Ordering::SeqCst);
        let running = Running(count.clone());
        async move {
            std::future::pending::<()>().await;
            drop(running);
        }
    };
    (router.handler(name, ["invoice.paid"], handler), running)
}

fn count(finished: &Finished) -> usize {
    finished.lock().expect("mutex is not poisoned").len()
}

async fn receive(shop: &Shop, ids: Range<usize>) {
    for id in ids {
        shop.receive(&format!("evt_{id}")).await.expect("store accepts the event");
    }
}

/// Receives an event for the handlers of `customer.created`.
async fn receive_other(shop: &Shop) {
    let event = SyntheticEvent::new("customer.created").id("evt_other").build();
    let event = event.expect("customer.created is in the catalog").event().clone();
    shop.inbox.clone().call(event).await.expect("store accepts the event");
}

/// Returns how many events the handlers that do not hang have finished within two minutes.
///
/// With the default settings, events come for handlers that hang and for one that does not, and
/// then an event for another handler.
async fn finished_beside(hanging: usize, events: usize) -> (usize, usize) {
    let mut router = Router::builder().without_linked();
    for number in 0..hanging {
        router = hangs(router, &format!("shop.hangs_{number}")).0;
    }
    let (router, fast) = finishes(router, "shop.fast", "invoice.paid");
    let (router, other) = finishes(router, "shop.other", "customer.created");
    let shop = Shop::new(router);
    receive(&shop, 0..events).await;
    let worker = shop.start_worker();
    settle().await;
    receive_other(&shop).await;
    for _ in 0..120 {
        shop.clock.advance(SECOND);
        settle().await;
    }
    let finished = (count(&fast), count(&other));
    println!("{hanging} hanging: fast {} of {events}, other {} of 1", finished.0, finished.1);
    drop(worker);
    finished
}

#[tokio::test]
async fn handlers_that_hang_do_not_stop_others() {
    for (hanging, events) in [(1, EVENTS), (3, EVENTS), (40, 50)] {
        assert_eq!(finished_beside(hanging, events).await, (events, 1), "beside {hanging}");
    }
}

/// A worker with deliveries for handlers that hang.
struct Hanging {
    shop: Shop,
    _worker: RunningWorker,
    /// The number of running calls of each handler.
    running: Vec<Arc<AtomicUsize>>,
    /// The events that a handler of another event type has finished.
    other: Finished,
}

impl Hanging {
    async fn start(handlers: &[&str], configure: impl FnOnce(TestWorker) -> TestWorker) -> Self {
        let (mut router, mut running) = (Router::builder().without_linked(), Vec::new());
        for name in handlers {
            let (with_handler, count) = hangs(router, name);
            router = with_handler;
            running.push(count);
        }
        let (router, other) = finishes(router, "shop.other", "customer.created");
        let shop = Shop::new(router);
        receive(&shop, 0..EVENTS).await;
        let _worker = shop.start_worker_with(configure);
        settle().await;
        Self { shop, _worker, running, other }
    }

    fn running(&self) -> Vec<usize> {
        self.running.iter().map(|running| running.load(Ordering::SeqCst)).collect()
    }
}

#[tokio::test]
async fn handler_alone_takes_all_slots_but_one() {
    let worker = Hanging::start(&["shop.hangs"], |worker| worker).await;
    assert_eq!(worker.running(), [16]);
    receive_other(&worker.shop).await;
    wait_until(async || count(&worker.other) == 1).await;
    assert_eq!(worker.running(), [16]);
    // The timeout is 20 s, and more deliveries are waiting.
    worker.shop.clock.advance(SECOND * 20);
    settle().await;
    assert_eq!(worker.running(), [16]);
}

#[tokio::test]
async fn handlers_that_all_hang_share_the_slots() {
    let names = ["shop.hangs_1", "shop.hangs_2", "shop.hangs_3"];
    let worker = Hanging::start(&names, |worker| worker).await;
    assert_eq!(worker.running(), [6, 6, 6], "one of 19 slots is kept for the other handler");
    receive_other(&worker.shop).await;
    wait_until(async || count(&worker.other) == 1).await;
}

#[tokio::test]
async fn at_most_half_of_the_slots_are_kept_free() {
    let names = ["shop.hangs_1", "shop.hangs_2", "shop.hangs_3"];
    let worker = Hanging::start(&names, |worker| worker.concurrency(2)).await;
    assert_eq!(worker.running().iter().sum::<usize>(), 2, "there are fewer slots than handlers");
    receive_other(&worker.shop).await;
    settle().await;
    assert_eq!(count(&worker.other), 0);
    for (concurrency, running) in [(1, 1), (2, 1), (3, 2), (4, 3)] {
        let worker =
            Hanging::start(&["shop.hangs"], |worker| worker.concurrency(concurrency)).await;
        assert_eq!(worker.running(), [running], "{concurrency}");
    }
}
