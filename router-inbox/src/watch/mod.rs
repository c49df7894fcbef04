//! The watch of an inbox's backlog, in each process that has the inbox.
//!
//! It is a task of its own, and not a part of a worker, because it reports missing workers.
//! Nothing has to be called to start it, so that it cannot be forgotten.

mod alarm;
mod health;
mod log;
mod unclaimed;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use router_core::{clock::Clock, delivery::DeliveryRouter, panic_guard::catch_panic};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};

pub use self::health::InboxHealth;
use self::{
    log::WatchLog,
    unclaimed::{Cause, Unclaimed},
};
use crate::{
    Store, StoreError,
    bounded::BoundedStore,
    health::WorkerHealth,
    store::{Backlog, StoreErrorKind, WorkerInfo},
    telemetry,
    worker::WeakWorkerHealth,
};

/// The default of [`Inbox::claim_warning`](crate::Inbox::claim_warning).
pub(crate) const DEFAULT_CLAIM_WARNING: Duration = Duration::from_secs(60);

/// Maximum time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);

/// Time between two checks while the store fails, so that its recovery is noticed soon.
const OUTAGE_INTERVAL: Duration = Duration::from_secs(5);

/// Minimum time between two checks.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// The store and the state that a watch shares with the inbox, its clones and its workers.
pub(crate) struct Watch<S> {
    store: BoundedStore<S>,
    router: DeliveryRouter,
    /// Dropping the sender ends the task.
    settings: watch::Sender<Settings>,
    status: watch::Sender<Option<Status>>,
    /// Requests a check before the next one is due.
    refresh: Arc<Notify>,
    is_running: Arc<AtomicBool>,
    workers: Mutex<Vec<WeakWorkerHealth>>,
}

#[derive(Clone)]
struct Settings {
    clock: Arc<dyn Clock>,
    claim_warning: Duration,
}

/// The result of a check.
struct Status {
    checked_at: Instant,
    result: Result<Vec<Unclaimed>, StoreErrorKind>,
}

impl<S: Store> Watch<S> {
    pub(crate) fn new(
        store: BoundedStore<S>,
        router: DeliveryRouter,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let settings = Settings { clock, claim_warning: DEFAULT_CLAIM_WARNING };
        let watch = Arc::new(Self {
            store,
            router,
            settings: watch::Sender::new(settings),
            status: watch::Sender::new(None),
            refresh: Arc::default(),
            is_running: Arc::default(),
            workers: Mutex::default(),
        });
        watch.ensure_started();
        watch
    }

    /// Spawns the task, unless it is running. Without a runtime, a later call spawns it.
    ///
    /// The task may also have ended together with the runtime in which the inbox was created.
    pub(crate) fn ensure_started(self: &Arc<Self>) {
        if self.is_running.load(Ordering::Acquire) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.is_running.swap(true, Ordering::AcqRel) {
            let running = Running(self.is_running.clone());
            let settings = self.settings.subscribe();
            runtime.spawn(run(Arc::downgrade(self), settings, self.refresh.clone(), running));
        }
    }

    /// Checks the backlog, logs and publishes the result, and returns the time to the next check.
    async fn check(&self, settings: &Settings, log: &mut WatchLog) -> Duration {
        let read = match catch_panic("the store", self.read()).await {
            Ok(read) => read,
            Err(panic) => Err(StoreError::unavailable(panic)),
        };
        let now = settings.clock.monotonic();
        let (result, wait) = match read {
            Ok((backlog, workers)) => {
                let workers = workers.as_deref();
                let limit = settings.claim_warning;
                let unclaimed = self.unclaimed(&backlog, workers, limit);
                telemetry::workers(workers);
                let is_known = |handler: &str| {
                    let running = workers.unwrap_or_default();
                    self.router.handler(handler).is_some()
                        || running.iter().any(|worker| worker.has_handler(handler))
                };
                log.succeeded(now, &backlog, is_known, &unclaimed);
                (Ok(unclaimed), time_to_next_check(&backlog, limit))
            }
            Err(error) => {
                log.failed(now, &error);
                (Err(error.kind()), OUTAGE_INTERVAL)
            }
        };
        self.status.send_replace(Some(Status { checked_at: now, result }));
        wait
    }

    async fn read(&self) -> Result<(Vec<Backlog>, Option<Vec<WorkerInfo>>), StoreError> {
        tokio::try_join!(biased; self.store.backlog(), self.store.workers())
    }

    /// Returns the deliveries that have been due for at least `limit`, grouped by cause.
    fn unclaimed(
        &self,
        backlog: &[Backlog],
        workers: Option<&[WorkerInfo]>,
        limit: Duration,
    ) -> Vec<Unclaimed> {
        let local_workers = self.running_workers();
        let mut groups: BTreeMap<Cause, Unclaimed> = BTreeMap::new();
        for entry in backlog {
            let Some(due) = entry.oldest_due.filter(|due| *due >= limit) else { continue };
            let is_ours = self.router.handler(&entry.handler).is_some();
            let cause = Cause::new(&entry.handler, is_ours, workers, local_workers);
            groups.entry(cause).or_insert_with(|| Unclaimed::new(cause)).add(&entry.handler, due);
        }
        groups.into_values().collect()
    }
}

impl<S> Watch<S> {
    pub(crate) fn store(&self) -> &BoundedStore<S> {
        &self.store
    }

    pub(crate) fn router(&self) -> &DeliveryRouter {
        &self.router
    }

    pub(crate) fn set_clock(&self, clock: Arc<dyn Clock>) {
        self.settings.send_modify(|settings| settings.clock = clock);
    }

    pub(crate) fn set_claim_warning(&self, claim_warning: Duration) {
        self.settings.send_modify(|settings| settings.claim_warning = claim_warning);
    }

    /// Adds a worker of this process, for stores that do not record workers.
    pub(crate) fn add_worker(&self, worker: &WorkerHealth) {
        self.workers().push(worker.downgrade());
    }

    /// Returns the number of running workers in this process. They have all handlers of the router.
    fn running_workers(&self) -> usize {
        let mut workers = self.workers();
        workers.retain(|worker| worker.upgrade().is_some());
        let workers = workers.iter().filter_map(WeakWorkerHealth::upgrade);
        workers.filter(WorkerHealth::is_running).count()
    }

    fn workers(&self) -> MutexGuard<'_, Vec<WeakWorkerHealth>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks the backlog until the last inbox, worker and [`InboxHealth`] of it is gone.
async fn run<S: Store>(
    watch: Weak<Watch<S>>,
    mut settings: watch::Receiver<Settings>,
    refresh: Arc<Notify>,
    _running: Running,
) {
    let mut log = WatchLog::default();
    loop {
        // Settings that are changed after `Inbox::new` take effect at once.
        let current = settings.borrow_and_update().clone();
        let Some(watch) = watch.upgrade() else { return };
        let wait = watch.check(&current, &mut log).await;
        drop(watch);
        tokio::select! {
            changed = settings.changed() => if changed.is_err() {
                return;
            },
            () = refresh.notified() => {}
            () = current.clock.sleep(wait) => {}
        }
    }
}

/// Returns the time until a handler's oldest due delivery reaches the limit, within the bounds of
/// an interval.
fn time_to_next_check(backlog: &[Backlog], limit: Duration) -> Duration {
    let due = backlog.iter().filter_map(|entry| entry.oldest_due);
    let remaining = due.map(|due| limit.saturating_sub(due)).filter(|time| !time.is_zero());
    // A delivery may also become due right after this check.
    remaining.chain([limit]).fold(CHECK_INTERVAL, Duration::min).max(MIN_INTERVAL)
}

/// A guard of the task that allows another to be spawned once this one has ended.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
