//! Test harness: an inbox on an in-memory store with injected faults, a manual clock and workers.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use router_core::{
    BoxError, Event,
    build::RouterBuilder,
    clock::{Clock as _, SystemClock},
    delivery::{Delivery, DeliveryRouter, DeliveryService, ProvidedType},
    handler::HandlerReport,
    testing::{ManualClock, SyntheticEvent},
};
use router_inbox::{
    Inbox, InboxError, Receipt, Store, StoreError, Worker,
    conformance::MemoryStore,
    store::{
        Backlog, Claim, ClaimRequest, CompleteResult, DeliveryOutcome, DeliveryState, Effects,
        Lease, NewEvent, Operations, PausedHandler, StoreErrorKind, Stored, StoredDelivery,
        WorkerInfo,
    },
};
use router_tests::now;
use tokio::{
    sync::{Semaphore, oneshot},
    task::{JoinHandle, yield_now},
};
use tower::Service;

/// An in-memory store that can fail or block, and that counts its calls.
pub(crate) struct FaultyStore {
    store: Arc<MemoryStore>,
    pub(crate) is_down: AtomicBool,
    /// Makes every call of a worker wait forever.
    pub(crate) is_silent: AtomicBool,
    /// Makes every `finish` of [`SlowEffects`] wait forever, without committing.
    pub(crate) finish_is_lost: Arc<AtomicBool>,
    /// If set, deliveries get [`SlowEffects`], and each `finish` takes a permit to return.
    pub(crate) finish_permits: Option<Arc<Semaphore>>,
    /// If set, deliveries get [`PanickingEffects`].
    pub(crate) finish_panics: bool,
    /// Makes `complete` fail.
    pub(crate) complete_fails: AtomicBool,
    /// The ID of an event with which every batch fails.
    pub(crate) rejected_event: Mutex<Option<String>>,
    /// Permits for `store`; each call takes one.
    pub(crate) store_permits: Semaphore,
    /// The number of events of each call of `store`.
    pub(crate) batch_sizes: Mutex<Vec<usize>>,
    /// Permits for `claim`; each call takes one.
    pub(crate) claim_permits: Semaphore,
    /// The number of calls of `claim`.
    pub(crate) claim_calls: AtomicUsize,
    /// Permits for `report_worker`; each call takes one.
    pub(crate) report_permits: Semaphore,
    /// Makes `report_worker` fail.
    pub(crate) report_fails: AtomicBool,
    /// If set, the store does not record workers.
    pub(crate) workers_are_unknown: bool,
    /// Makes `workers` fail, as if a record could not be read.
    pub(crate) workers_fail: AtomicBool,
    /// Makes `paused_handlers` fail.
    pub(crate) paused_fails: AtomicBool,
    /// The number of calls of `paused_handlers`.
    pub(crate) paused_calls: AtomicUsize,
    /// Makes `store` fail.
    pub(crate) store_fails: AtomicBool,
    /// Makes `deliveries` fail.
    pub(crate) deliveries_fail: AtomicBool,
    /// The number of calls of `deliveries`.
    pub(crate) deliveries_calls: AtomicUsize,
    /// Makes `backlog` panic.
    pub(crate) backlog_panics: AtomicBool,
}

impl FaultyStore {
    pub(crate) fn new(clock: &ManualClock) -> Self {
        Self {
            store: Arc::new(MemoryStore::new(clock.clone())),
            is_down: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
            finish_is_lost: Arc::default(),
            finish_permits: None,
            finish_panics: false,
            complete_fails: AtomicBool::new(false),
            rejected_event: Mutex::default(),
            store_permits: Semaphore::new(Semaphore::MAX_PERMITS),
            batch_sizes: Mutex::default(),
            claim_permits: Semaphore::new(Semaphore::MAX_PERMITS),
            claim_calls: AtomicUsize::new(0),
            report_permits: Semaphore::new(Semaphore::MAX_PERMITS),
            report_fails: AtomicBool::new(false),
            workers_are_unknown: false,
            workers_fail: AtomicBool::new(false),
            paused_fails: AtomicBool::new(false),
            paused_calls: AtomicUsize::new(0),
            store_fails: AtomicBool::new(false),
            deliveries_fail: AtomicBool::new(false),
            deliveries_calls: AtomicUsize::new(0),
            backlog_panics: AtomicBool::new(false),
        }
    }

    /// Returns the store, or an error while it is down. Never returns while it is silent.
    async fn answer(&self) -> Result<&MemoryStore, StoreError> {
        match self.is_silent.load(Ordering::SeqCst) {
            true => std::future::pending().await,
            false => self.available(),
        }
    }

    /// Returns the store, or an error while it is down.
    fn available(&self) -> Result<&MemoryStore, StoreError> {
        match self.is_down.load(Ordering::SeqCst) {
            true => Err(StoreError::unavailable("the disk is gone")),
            false => Ok(&self.store),
        }
    }
}

impl DeliveryService for FaultyStore {
    fn provides(&self) -> Vec<ProvidedType> {
        self.store.provides()
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        self.store_permits.acquire().await.expect("semaphore is never closed").forget();
        self.batch_sizes.lock().expect("mutex is not poisoned").push(events.len());
        let rejected = self.rejected_event.lock().expect("mutex is not poisoned").clone();
        if events.iter().any(|new| Some(new.event.id()) == rejected.as_deref()) {
            return Err(StoreError::rejected("the engine rejects the event"));
        }
        if self.store_fails.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("the disk is full"));
        }
        self.available()?.store(events).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        self.claim_calls.fetch_add(1, Ordering::SeqCst);
        self.claim_permits.acquire().await.expect("semaphore is never closed").forget();
        self.answer().await?.claim(request).await
    }

    async fn extend(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        self.answer().await?.extend(leases, lease).await
    }

    async fn complete(
        &self,
        outcomes: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<CompleteResult>, StoreError> {
        if self.complete_fails.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("the store is read-only"));
        }
        self.answer().await?.complete(outcomes).await
    }

    fn prepare(&self, delivery: Delivery) -> (Delivery, Option<Box<dyn Effects>>) {
        if self.finish_panics {
            return (delivery, Some(Box::new(PanickingEffects)));
        }
        let effects = self.finish_permits.clone().map(|permits| {
            let (store, is_lost) = (self.store.clone(), self.finish_is_lost.clone());
            Box::new(SlowEffects { store, permits, is_lost }) as Box<dyn Effects>
        });
        (delivery, effects)
    }

    async fn deliveries(&self, event_id: &str) -> Result<Vec<StoredDelivery>, StoreError> {
        self.deliveries_calls.fetch_add(1, Ordering::SeqCst);
        // No store answers at once.
        tokio::task::yield_now().await;
        match self.deliveries_fail.load(Ordering::SeqCst) {
            true => Err(StoreError::unavailable("the disk cannot be read")),
            false => self.store.deliveries(event_id).await,
        }
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(&*self.store)
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        assert!(!self.backlog_panics.load(Ordering::SeqCst), "a bug in the store");
        self.answer().await?.backlog().await
    }

    async fn report_worker(&self, worker: &WorkerInfo, ttl: Duration) -> Result<(), StoreError> {
        self.report_permits.acquire().await.expect("semaphore is never closed").forget();
        if self.report_fails.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("the store is read-only"));
        }
        self.answer().await?.report_worker(worker, ttl).await
    }

    async fn workers(&self) -> Result<Option<Vec<WorkerInfo>>, StoreError> {
        if self.workers_fail.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Corrupt, "a record is not JSON"));
        }
        match self.workers_are_unknown {
            true => Ok(None),
            false => self.answer().await?.workers().await,
        }
    }

    async fn paused_handlers(&self) -> Result<Vec<PausedHandler>, StoreError> {
        self.paused_calls.fetch_add(1, Ordering::SeqCst);
        match self.paused_fails.load(Ordering::SeqCst) {
            true => Err(StoreError::new(StoreErrorKind::Corrupt, "a record is not JSON")),
            false => self.answer().await?.paused_handlers().await,
        }
    }
}

/// Completes the delivery at once, but returns only with a permit.
struct SlowEffects {
    store: Arc<MemoryStore>,
    permits: Arc<Semaphore>,
    is_lost: Arc<AtomicBool>,
}

#[async_trait]
impl Effects for SlowEffects {
    async fn deadline_exceeded(&self) -> Duration {
        std::future::pending().await
    }

    async fn finish(
        self: Box<Self>,
        lease: &Lease,
        outcome: &DeliveryOutcome,
    ) -> Result<Option<CompleteResult>, StoreError> {
        if self.is_lost.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let completed = self.store.complete(&[(lease.clone(), outcome.clone())]).await?;
        self.permits.acquire().await.expect("semaphore is never closed").forget();
        Ok(Some(completed[0]))
    }
}

struct PanickingEffects;

#[async_trait]
impl Effects for PanickingEffects {
    async fn deadline_exceeded(&self) -> Duration {
        std::future::pending().await
    }

    async fn finish(
        self: Box<Self>,
        _: &Lease,
        _: &DeliveryOutcome,
    ) -> Result<Option<CompleteResult>, StoreError> {
        panic!("a bug in the store")
    }
}

/// An inbox and the clock of its store and workers.
pub(crate) struct Shop {
    pub(crate) clock: ManualClock,
    pub(crate) inbox: Inbox<FaultyStore>,
}

/// The timers of an inbox: that of its monitor.
pub(crate) const INBOX_SLEEPERS: usize = 1;

/// The timers of a worker: those of its loop and its purge.
pub(crate) const WORKER_SLEEPERS: usize = 2;

pub(crate) type TestWorker = Worker<FaultyStore, DeliveryRouter>;

/// A worker that runs in its own task.
pub(crate) struct RunningWorker {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Shop {
    pub(crate) fn new(router: RouterBuilder) -> Self {
        Self::with_store(router, |_| {})
    }

    /// Creates an inbox whose store is configured by `configure` before its first use.
    pub(crate) fn with_store(
        router: RouterBuilder,
        configure: impl FnOnce(&mut FaultyStore),
    ) -> Self {
        let clock = ManualClock::at(now());
        let mut store = FaultyStore::new(&clock);
        configure(&mut store);
        let router = router.clock(clock.clone()).delivered_by(&store).build();
        let inbox = Inbox::new(store, router.expect("router is valid")).clock(clock.clone());
        Self { clock, inbox }
    }

    pub(crate) fn store(&self) -> &FaultyStore {
        self.inbox.store()
    }

    pub(crate) async fn receive(&self, id: &str) -> Result<Receipt, InboxError> {
        self.inbox.clone().call(event(id)).await
    }

    /// Returns the state and the attempts of the only delivery of an event.
    pub(crate) async fn state(&self, id: &str) -> (DeliveryState, u32) {
        let stored = self.deliveries(id).await;
        assert_eq!(stored.len(), 1, "{stored:?}");
        (stored[0].state, stored[0].attempts)
    }

    pub(crate) async fn deliveries(&self, id: &str) -> Vec<StoredDelivery> {
        self.store().deliveries(id).await.expect("memory store is readable")
    }

    /// Waits until the only delivery of an event has this state and number of attempts.
    pub(crate) async fn wait_for(&self, id: &str, state: DeliveryState, attempts: u32) {
        wait_until(async || self.state(id).await == (state, attempts)).await;
    }

    /// Advances the clock, and waits until a worker has claimed again.
    pub(crate) async fn advance_and_poll(&self, time: Duration) {
        let claim_calls = || self.store().claim_calls.load(Ordering::SeqCst);
        let before = claim_calls();
        self.clock.advance(time);
        wait_until(async || claim_calls() > before).await;
    }

    pub(crate) fn start_worker(&self) -> RunningWorker {
        self.start_worker_with(|worker| worker)
    }

    pub(crate) fn start_worker_with(
        &self,
        configure: impl FnOnce(TestWorker) -> TestWorker,
    ) -> RunningWorker {
        RunningWorker::spawn(configure(self.inbox.worker(self.inbox.router().clone())))
    }

    /// Starts a worker that calls this service.
    pub(crate) fn start_worker_of<R>(&self, service: R) -> RunningWorker
    where
        R: Service<Delivery, Response = HandlerReport, Error: Into<BoxError>>,
        R: Clone + Send + Sync + 'static,
        R::Future: Send,
    {
        RunningWorker::spawn(self.inbox.worker(service))
    }

    /// Starts a worker whose clock is not the store's.
    pub(crate) fn start_worker_with_clock(&self, clock: &ManualClock) -> RunningWorker {
        let inbox = self.inbox.clone().clock(clock.clone());
        RunningWorker::spawn(inbox.worker(inbox.router().clone()))
    }
}

impl RunningWorker {
    fn spawn<R>(worker: Worker<FaultyStore, R>) -> Self
    where
        R: Service<Delivery, Response = HandlerReport, Error: Into<BoxError>>,
        R: Clone + Send + Sync + 'static,
        R::Future: Send,
    {
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(worker.run(async { drop(stopped.await) }));
        Self { stop, task }
    }

    /// Shuts the worker down and waits for its end.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.task.await.expect("worker does not panic");
    }

    /// Begins a graceful shutdown; the returned task ends with it.
    pub(crate) fn begin_shutdown(self) -> JoinHandle<()> {
        drop(self.stop);
        self.task
    }
}

pub(crate) fn event(id: &str) -> Event {
    let event = SyntheticEvent::new("invoice.paid").id(id).build();
    event.expect("invoice.paid is in the catalog").event().clone()
}

/// Lets the other tasks run until each of them waits for something.
pub(crate) async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

/// Yields to the other tasks until the condition holds.
///
/// This needs no timers: the tests run on one thread and wait for nothing outside the process, so
/// the other tasks run whenever this one yields.
pub(crate) async fn wait_until(mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..100_000 {
        if condition().await {
            return;
        }
        yield_now().await;
    }
    panic!("the condition never became true");
}

/// Waits until the condition holds. Threads of SQLite change it, and they wait for the disk, so a
/// number of yields would be no limit of the time.
pub(crate) async fn wait_for_disk(mut condition: impl AsyncFnMut() -> bool) {
    let deadline = SystemClock.monotonic() + Duration::from_secs(60);
    while !condition().await {
        assert!(SystemClock.monotonic() < deadline, "the condition did not become true in 60 s");
        SystemClock.sleep(Duration::from_millis(2)).await;
    }
}
