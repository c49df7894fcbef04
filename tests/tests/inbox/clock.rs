//! Clocks that are set while deliveries wait or run, on a real file.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use router_core::{
    Event, Failure, Outcome, Router, State,
    clock::{Clock as _, SystemClock},
    handler::HandlerResult,
    on_event,
    testing::ManualClock,
};
use router_inbox::{
    Inbox, SqliteStore, Store as _,
    store::{
        ClaimRequest,
        DeliveryState::{Done, Running, Waiting},
        HandlerSlots, StoredDelivery,
    },
};
use router_tests::now;
use tempfile::TempDir;
use tokio::{
    sync::{Semaphore, oneshot},
    task::{JoinHandle, yield_now},
};
use tower::Service as _;

use crate::shop::{INBOX_SLEEPERS, WORKER_SLEEPERS, event};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

#[derive(Clone)]
struct Runs {
    begun: Arc<AtomicUsize>,
    permits: Arc<Semaphore>,
    /// The number of calls that fail, and are to be repeated in a minute.
    failures: Arc<AtomicUsize>,
}

#[on_event(
    "invoice.paid",
    name = "shop.fulfil",
    timeout = "10h",
    retry(max_attempts = 3, backoff = "1s")
)]
async fn fulfil(_: Event, runs: State<Runs>) -> HandlerResult {
    runs.begun.fetch_add(1, Ordering::SeqCst);
    runs.permits.acquire().await?.forget();
    let failures = |failures: usize| failures.checked_sub(1);
    match runs.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, failures) {
        Ok(_) => Err(Failure::retry_in("the warehouse is down", SECOND * 60)),
        Err(_) => Ok(Outcome::Done),
    }
}

struct Shop {
    inbox: Inbox<SqliteStore>,
    clock: ManualClock,
    runs: Runs,
    folder: TempDir,
    workers: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Shop {
    async fn new(permits: usize) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder is writable");
        let (clock, permits) = (ManualClock::at(now()), Arc::new(Semaphore::new(permits)));
        let runs = Runs { begun: Arc::default(), permits, failures: Arc::default() };
        let inbox = Self::open(&folder, &clock, &runs).await;
        Self { inbox, clock, runs, folder, workers: Vec::new() }
    }

    async fn open(folder: &TempDir, clock: &ManualClock, runs: &Runs) -> Inbox<SqliteStore> {
        let url = format!("sqlite:{}/inbox.db", folder.path().display());
        let store = SqliteStore::options().clock(clock.clone()).open(&url).await;
        let store = store.expect("temporary folder is writable");
        let router = Router::builder().without_linked().add::<fulfil>().state(runs.clone());
        let router = router.clock(clock.clone()).delivered_by(&store).build();
        Inbox::new(store, router.expect("router is valid")).clock(clock.clone())
    }

    async fn receive(&self, events: usize) {
        for number in 0..events {
            let event = event(&format!("evt_{number}"));
            self.inbox.clone().call(event).await.expect("file is writable");
        }
    }

    fn start_worker(&mut self) {
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = self.inbox.worker(self.inbox.router().clone());
        self.workers.push((stop, tokio::spawn(worker.run(async { drop(stopped.await) }))));
    }

    async fn stop_workers(&mut self) {
        for (stop, task) in self.workers.drain(..) {
            drop(stop);
            task.await.expect("worker does not panic");
        }
    }

    /// Lets the workers poll, until all deliveries satisfy the condition.
    async fn wait_for(&self, events: usize, is_reached: impl Fn(&StoredDelivery) -> bool) {
        let deliveries = async || {
            let mut deliveries = Vec::new();
            for number in 0..events {
                let id = format!("evt_{number}");
                deliveries
                    .extend(self.inbox.store().deliveries(&id).await.expect("file is readable"));
            }
            deliveries
        };
        // Only guards against hanging.
        let deadline = SystemClock.monotonic() + SECOND * 60;
        while SystemClock.monotonic() < deadline {
            if deliveries().await.iter().all(&is_reached) {
                return;
            }
        }
        panic!("{:#?}", deliveries().await);
    }

    /// Advances the clock in steps, and lets the workers poll after each. `running` is the number
    /// of running handlers.
    async fn pass(&self, time: Duration, running: usize) {
        for _ in 0..time.as_secs() {
            self.clock.advance(SECOND);
            // The inbox and the workers wake up and then sleep again. Each handler has a timer for
            // its timeout.
            yield_now().await;
            let sleepers = INBOX_SLEEPERS + self.workers.len() * WORKER_SLEEPERS + running;
            self.clock.wait_for_sleepers(sleepers).await;
        }
    }

    fn begun(&self) -> usize {
        self.runs.begun.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn clock_set_back_delays_no_stored_event() {
    let mut shop = Shop::new(99).await;
    shop.receive(18).await;
    shop.clock.set_back(HOUR);
    shop.start_worker();
    shop.wait_for(18, |delivery| delivery.state == Done).await;
    assert_eq!(shop.begun(), 18);
    shop.stop_workers().await;
}

#[tokio::test]
async fn clock_set_back_while_stopped_delays_no_event() {
    let mut shop = Shop::new(99).await;
    shop.receive(18).await;
    shop.clock = ManualClock::at(now() - HOUR);
    shop.inbox = Shop::open(&shop.folder, &shop.clock, &shop.runs).await;
    shop.start_worker();
    shop.wait_for(18, |delivery| delivery.state == Done).await;
    shop.stop_workers().await;
}

#[tokio::test]
async fn clock_set_forward_repeats_no_running_delivery() {
    let mut shop = Shop::new(0).await;
    shop.receive(20).await;
    shop.start_worker();
    shop.start_worker();
    shop.wait_for(20, |delivery| delivery.state == Running).await;
    shop.clock.set_forward(HOUR);
    // A worker that wakes up before the others have renewed their leases.
    let handlers = vec![HandlerSlots::new("shop.fulfil", 20)];
    let request = ClaimRequest::new(handlers, 20, SECOND * 60);
    assert!(shop.inbox.store().claim(&request).await.expect("file is writable").is_empty());
    shop.pass(SECOND * 100, 20).await;
    shop.runs.permits.add_permits(99);
    shop.wait_for(20, |delivery| (delivery.state, delivery.attempts) == (Done, 1)).await;
    assert_eq!(shop.begun(), 20);
    shop.stop_workers().await;
}

/// Also while the clock is 73 years ahead.
#[tokio::test]
async fn retry_waits_its_delay_after_clock_was_set_back() {
    let mut shop = Shop::new(99).await;
    shop.runs.failures.store(1, Ordering::SeqCst);
    shop.clock.set_forward(YEAR * 73);
    shop.receive(1).await;
    shop.start_worker();
    shop.wait_for(1, |delivery| (delivery.state, delivery.attempts) == (Waiting, 1)).await;
    shop.clock.set_back(YEAR * 73);
    shop.pass(SECOND * 59, 0).await;
    assert_eq!(shop.begun(), 1, "before the delay of a minute");
    shop.pass(SECOND * 3, 0).await;
    shop.wait_for(1, |delivery| (delivery.state, delivery.attempts) == (Done, 2)).await;
    shop.stop_workers().await;
}
