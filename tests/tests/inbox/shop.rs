//! An inbox whose store does as it is told, and what its tests do with it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use router_core::{
    DeliveringService, Delivery, DeliveryRouter, Event, ProvidedType, RouterBuilder,
    testing::{ManualClock, SyntheticEvent},
};
use router_inbox::{
    Backlog, Claim, ClaimRequest, Completed, DeliveryOutcome, DeliveryState, Effects, Inbox, Lease,
    NewEvent, Operations, Receipt, Store, StoreError, Stored, StoredDelivery, Unstored, Worker,
    conformance::MemoryStore,
};
use router_tests::now;
use tokio::{
    sync::{Semaphore, oneshot},
    task::{JoinHandle, yield_now},
};
use tower::Service as _;

/// In memory, and down, slow or counted.
pub(crate) struct ToldStore {
    store: Arc<MemoryStore>,
    pub(crate) is_down: AtomicBool,
    /// Handlers have effects in it, which take permits to end.
    pub(crate) effects: Option<Arc<Semaphore>>,
    /// It cannot record how a delivery has ended.
    pub(crate) forgets: AtomicBool,
    /// An event of this id is one that the engine does not take.
    pub(crate) refused: Mutex<Option<String>>,
    /// What is stored takes a permit.
    pub(crate) stores: Semaphore,
    /// How many events were stored together.
    pub(crate) groups: Mutex<Vec<usize>>,
    pub(crate) claims: AtomicUsize,
}

impl ToldStore {
    pub(crate) fn new(clock: &ManualClock) -> Self {
        Self {
            store: Arc::new(MemoryStore::new(clock.clone())),
            is_down: AtomicBool::new(false),
            effects: None,
            forgets: AtomicBool::new(false),
            refused: Mutex::default(),
            stores: Semaphore::new(Semaphore::MAX_PERMITS),
            groups: Mutex::default(),
            claims: AtomicUsize::new(0),
        }
    }

    fn up(&self) -> Result<&MemoryStore, StoreError> {
        match self.is_down.load(Ordering::SeqCst) {
            true => Err(StoreError::new("the disk is gone")),
            false => Ok(&self.store),
        }
    }
}

impl DeliveringService for ToldStore {
    fn provides(&self) -> Vec<ProvidedType> {
        self.store.provides()
    }
}

#[async_trait]
impl Store for ToldStore {
    async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        self.stores.acquire().await.expect("it is never closed").forget();
        self.groups.lock().expect("nobody panics with it").push(events.len());
        let refused = self.refused.lock().expect("nobody panics with it").clone();
        if events.iter().any(|new| Some(new.event.id()) == refused.as_deref()) {
            return Err(StoreError::new("the engine does not take it"));
        }
        self.up()?.store(events).await
    }

    async fn claim(&self, wanted: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        self.claims.fetch_add(1, Ordering::SeqCst);
        self.up()?.claim(wanted).await
    }

    async fn extend(&self, leases: &[Lease], time: Duration) -> Result<Vec<bool>, StoreError> {
        self.up()?.extend(leases, time).await
    }

    async fn complete(
        &self,
        ends: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<Completed>, StoreError> {
        if self.forgets.load(Ordering::SeqCst) {
            return Err(StoreError::new("it cannot be written to"));
        }
        self.up()?.complete(ends).await
    }

    fn prepare(&self, delivery: Delivery) -> (Delivery, Option<Box<dyn Effects>>) {
        let effects = self.effects.clone().map(|permits| {
            Box::new(SlowEffects { store: self.store.clone(), permits }) as Box<dyn Effects>
        });
        (delivery, effects)
    }

    async fn deliveries(&self, event_id: &str) -> Result<Vec<StoredDelivery>, StoreError> {
        self.store.deliveries(event_id).await
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(&*self.store)
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        self.up()?.backlog().await
    }
}

/// Completes the delivery, and takes its time to say so.
struct SlowEffects {
    store: Arc<MemoryStore>,
    permits: Arc<Semaphore>,
}

#[async_trait]
impl Effects for SlowEffects {
    async fn deadline_exceeded(&self) -> Duration {
        std::future::pending().await
    }

    async fn finish(
        self: Box<Self>,
        lease: &Lease,
        end: &DeliveryOutcome,
    ) -> Result<Option<Completed>, StoreError> {
        let completed = self.store.complete(&[(lease.clone(), end.clone())]).await?;
        self.permits.acquire().await.expect("it is never closed").forget();
        Ok(Some(completed[0]))
    }
}

/// An inbox and its time.
pub(crate) struct Shop {
    pub(crate) clock: ManualClock,
    pub(crate) inbox: Inbox<ToldStore>,
}

pub(crate) type ToldWorker = Worker<ToldStore, DeliveryRouter>;

/// A worker in a task of its own.
pub(crate) struct AtWork {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Shop {
    pub(crate) fn new(router: RouterBuilder) -> Self {
        Self::told(router, |_| {})
    }

    /// With a store that is told something from the beginning.
    pub(crate) fn told(router: RouterBuilder, tell: impl FnOnce(&mut ToldStore)) -> Self {
        let clock = ManualClock::at(now());
        let mut store = ToldStore::new(&clock);
        tell(&mut store);
        let router = router.clock(clock.clone()).delivered_by(&store).build();
        let inbox = Inbox::new(store, router.expect("it is correct")).clock(clock.clone());
        Self { clock, inbox }
    }

    pub(crate) fn store(&self) -> &ToldStore {
        self.inbox.store()
    }

    pub(crate) async fn receive(&self, id: &str) -> Result<Receipt, Unstored> {
        self.inbox.clone().call(event(id)).await
    }

    /// Of an event with one handler: how far it is, and after how many attempts.
    pub(crate) async fn state(&self, id: &str) -> (DeliveryState, u32) {
        let kept = self.deliveries(id).await;
        assert_eq!(kept.len(), 1, "{kept:?}");
        (kept[0].state, kept[0].attempts)
    }

    pub(crate) async fn deliveries(&self, id: &str) -> Vec<StoredDelivery> {
        self.store().deliveries(id).await.expect("it can be read")
    }

    /// Waits until it is so far.
    pub(crate) async fn is(&self, id: &str, state: DeliveryState, attempts: u32) {
        until(async || self.state(id).await == (state, attempts)).await;
    }

    /// Lets time pass, and waits until a worker has looked for what is due by then.
    pub(crate) async fn pass(&self, time: Duration) {
        let claims = || self.store().claims.load(Ordering::SeqCst);
        let before = claims();
        self.clock.advance(time);
        until(async || claims() > before).await;
    }

    pub(crate) fn work(&self) -> AtWork {
        self.work_as(|worker| worker)
    }

    pub(crate) fn work_as(&self, set: impl FnOnce(ToldWorker) -> ToldWorker) -> AtWork {
        AtWork::begin(set(self.inbox.worker(self.inbox.router().clone())))
    }

    /// A worker whose time is not the store's.
    pub(crate) fn work_by(&self, clock: &ManualClock) -> AtWork {
        let inbox = self.inbox.clone().clock(clock.clone());
        AtWork::begin(inbox.worker(inbox.router().clone()))
    }
}

impl AtWork {
    fn begin(worker: ToldWorker) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(worker.run(async { drop(stopped.await) }));
        Self { stop, task }
    }

    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.task.await.expect("it does not panic");
    }

    /// It stops with no more than what it is doing.
    pub(crate) fn tell_to_stop(self) -> JoinHandle<()> {
        drop(self.stop);
        self.task
    }
}

pub(crate) fn event(id: &str) -> Event {
    let event = SyntheticEvent::new("invoice.paid").id(id).build();
    event.expect("there is such an event").event().clone()
}

/// Lets all others go on until they wait for something.
pub(crate) async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

/// Waits until it is so. All runs in one thread and nothing waits for the world outside, so others go on whenever this
/// does not.
pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..100_000 {
        if is_so().await {
            return;
        }
        yield_now().await;
    }
    panic!("it never becomes so");
}
