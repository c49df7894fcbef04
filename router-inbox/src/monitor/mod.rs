//! Watches the backlog of an inbox, in each process that has the inbox.
//!
//! The monitor is a task of its own and not a part of a worker, because it reports missing workers.
//! [`Inbox::new`](crate::Inbox::new) starts the task, so an application cannot forget to do so.

mod health;
mod log;
mod paused;
mod schedule;
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
    log::MonitorLog,
    paused::Pauses,
    unclaimed::{Cause, Unclaimed, is_recorded},
};
use crate::{
    Store, StoreError,
    bounded::BoundedStore,
    health::WorkerHealth,
    store::{Backlog, PausedHandler, StoreErrorKind, WorkerInfo},
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

/// The store and the state that a monitor shares with the inbox, its clones and its workers.
pub(crate) struct BacklogMonitor<S> {
    store: BoundedStore<S>,
    router: DeliveryRouter,
    /// Dropping the sender ends the monitor's task.
    settings: watch::Sender<Settings>,
    status: watch::Sender<Option<Status>>,
    /// Requests a check before the next one is due.
    refresh: Arc<Notify>,
    is_running: Arc<AtomicBool>,
    workers: Mutex<Vec<WeakWorkerHealth>>,
    failed_write: FailedWrite,
}

/// The time and the kind of the error with which the latest event could not be stored. A check of
/// the backlog only reads, and a store that is full or read-only can still be read.
#[derive(Default)]
struct FailedWrite {
    exists: AtomicBool,
    latest: Mutex<Option<(Instant, StoreErrorKind)>>,
}

/// The time after which a failed write no longer affects readiness, so that the process gets events
/// with which it can find out whether the store accepts them again.
const FAILED_WRITE_AGE: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct Settings {
    clock: Arc<dyn Clock>,
    claim_warning: Duration,
}

/// The running workers, if the store records them.
type Workers = Result<Option<Vec<WorkerInfo>>, StoreError>;

/// The result of a check.
struct Status {
    checked_at: Instant,
    result: Result<Findings, StoreErrorKind>,
}

/// The handlers whose deliveries wait.
struct Findings {
    unclaimed: Vec<Unclaimed>,
    paused: Vec<PausedHandler>,
}

impl<S: Store> BacklogMonitor<S> {
    pub(crate) fn new(
        store: BoundedStore<S>,
        router: DeliveryRouter,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let settings = Settings { clock, claim_warning: DEFAULT_CLAIM_WARNING };
        let monitor = Arc::new(Self {
            store,
            router,
            settings: watch::Sender::new(settings),
            status: watch::Sender::new(None),
            refresh: Arc::default(),
            is_running: Arc::default(),
            workers: Mutex::default(),
            failed_write: FailedWrite::default(),
        });
        monitor.ensure_started();
        monitor
    }

    /// Spawns the task, unless it is running. Outside a runtime this does nothing, and a later call
    /// spawns the task.
    ///
    /// A task ends with its runtime, so a later call may also have to replace one that has ended.
    pub(crate) fn ensure_started(self: &Arc<Self>) {
        if self.is_running.load(Ordering::Acquire) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.is_running.swap(true, Ordering::AcqRel) {
            let guard = TaskGuard(self.is_running.clone());
            let settings = self.settings.subscribe();
            runtime.spawn(run(Arc::downgrade(self), settings, self.refresh.clone(), guard));
        }
    }

    /// Checks the backlog, logs and publishes the result, and returns the time to the next check.
    ///
    /// A delivery is overdue once it has been due for the limit, the store has been readable for as
    /// long (since `began`), and the handler has not been paused for as long. After a start, an
    /// outage or a pause, workers first have to claim what became due in the meantime.
    async fn check(
        &self,
        settings: &Settings,
        began: &mut Option<Instant>,
        pauses: &mut Pauses,
        log: &mut MonitorLog,
    ) -> Duration {
        let read = match catch_panic("the store", self.read()).await {
            Ok(read) => read,
            Err(panic) => Err(StoreError::unavailable(panic)),
        };
        let now = settings.clock.monotonic();
        let mut readable = || now.saturating_duration_since(*began.get_or_insert(now));
        let (result, wait) = match read {
            Ok((backlog, paused, Ok(workers))) => {
                let workers = workers.as_deref();
                let (limit, readable) = (settings.claim_warning, readable());
                pauses.observe(now, &paused, &self.router);
                let claimable_for =
                    |handler: &str| pauses.claimable_for(handler, now).min(readable);
                let is_undecided = |handler: &str| claimable_for(handler) < limit;
                let decided = backlog.iter().filter(|entry| !is_undecided(&entry.handler));
                let unclaimed = self.unclaimed(decided, workers, limit);
                telemetry::workers(workers);
                let is_known = |handler: &str| {
                    self.router.handler(handler).is_some() || is_recorded(workers, handler)
                };
                log.succeeded(now, &backlog, is_known, &unclaimed, is_undecided);
                let wait = time_to_next_check(&backlog, limit, claimable_for);
                (Ok(Findings { unclaimed, paused }), wait)
            }
            // One record that cannot be read, such as one of a later version, must not take the
            // processes out of service that store events.
            Ok((backlog, paused, Err(error))) => {
                readable();
                pauses.observe(now, &paused, &self.router);
                log.workers_unknown(now, &backlog, &error);
                (Ok(Findings { unclaimed: Vec::new(), paused }), CHECK_INTERVAL)
            }
            Err(error) => {
                *began = None;
                log.failed(now, &error);
                (Err(error.kind()), OUTAGE_INTERVAL)
            }
        };
        self.status.send_replace(Some(Status { checked_at: now, result }));
        wait
    }

    /// Reads the backlog, the paused handlers and the workers. Fails without the paused handlers
    /// too, because no worker claims anything without them.
    async fn read(&self) -> Result<(Vec<Backlog>, Vec<PausedHandler>, Workers), StoreError> {
        let Self { store, .. } = self;
        let (backlog, paused, workers) =
            tokio::join!(biased; store.backlog(), store.paused_handlers(), store.workers());
        Ok((backlog?, paused?, workers))
    }

    /// Returns the handlers whose oldest due delivery has been due for at least `limit`, grouped by
    /// cause.
    fn unclaimed<'b>(
        &self,
        backlog: impl Iterator<Item = &'b Backlog>,
        workers: Option<&[WorkerInfo]>,
        limit: Duration,
    ) -> Vec<Unclaimed> {
        let local_workers = self.count_running_workers();
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

impl<S> BacklogMonitor<S> {
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

    /// Adds a worker of this process, which the store may not record, or not yet.
    pub(crate) fn add_worker(&self, worker: &WorkerHealth) {
        self.workers().push(worker.downgrade());
    }

    /// Records whether an event could be stored. An error that is due to the event itself, or to
    /// the load, says nothing about the store, and is not recorded.
    pub(crate) fn record_write(&self, result: Result<(), StoreErrorKind>, now: Instant) {
        let error = match result {
            Err(StoreErrorKind::Busy | StoreErrorKind::Rejected) => return,
            result => result.err(),
        };
        let FailedWrite { exists, latest } = &self.failed_write;
        if error.is_some() || exists.load(Ordering::Acquire) {
            let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
            exists.store(error.is_some(), Ordering::Release);
            *latest = error.map(|kind| (now, kind));
        }
    }

    /// Returns the kind of error with which the latest event could not be stored, if that was
    /// recently.
    fn recent_failed_write(&self) -> Option<StoreErrorKind> {
        let now = self.settings.borrow().clock.monotonic();
        let latest = *self.failed_write.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let (failed_at, kind) = latest?;
        (now.saturating_duration_since(failed_at) < FAILED_WRITE_AGE).then_some(kind)
    }

    /// Returns the number of running workers in this process. They have all handlers of the router.
    fn count_running_workers(&self) -> usize {
        let mut workers = self.workers();
        workers.retain(|worker| worker.upgrade().is_some());
        let workers = workers.iter().filter_map(WeakWorkerHealth::upgrade);
        workers.filter(WorkerHealth::is_running).count()
    }

    fn workers(&self) -> MutexGuard<'_, Vec<WeakWorkerHealth>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks the backlog until every inbox, worker and [`InboxHealth`] that share the monitor are
/// dropped.
async fn run<S: Store>(
    monitor: Weak<BacklogMonitor<S>>,
    mut settings: watch::Receiver<Settings>,
    refresh: Arc<Notify>,
    _guard: TaskGuard,
) {
    let mut log = MonitorLog::default();
    let (mut began, mut pauses) = (None, Pauses::default());
    loop {
        // Settings that are changed after `Inbox::new` take effect at once.
        let current = settings.borrow_and_update().clone();
        let Some(monitor) = monitor.upgrade() else { return };
        let wait = monitor.check(&current, &mut began, &mut pauses, &mut log).await;
        drop(monitor);
        tokio::select! {
            changed = settings.changed() => if changed.is_err() {
                return;
            },
            () = refresh.notified() => {}
            () = current.clock.sleep(wait) => {}
        }
    }
}

/// Returns the time until the next handler's oldest due delivery reaches the limit, but at least
/// [`MIN_INTERVAL`] and at most [`CHECK_INTERVAL`].
fn time_to_next_check(
    backlog: &[Backlog],
    limit: Duration,
    claimable_for: impl Fn(&str) -> Duration,
) -> Duration {
    let due = |entry: &Backlog| Some(entry.oldest_due?.min(claimable_for(&entry.handler)));
    let due = backlog.iter().filter_map(due);
    let remaining = due.map(|due| limit.saturating_sub(due)).filter(|time| !time.is_zero());
    // A delivery that becomes due right after this check reaches the limit after `limit`.
    remaining.chain([limit]).fold(CHECK_INTERVAL, Duration::min).max(MIN_INTERVAL)
}

/// A guard that the task holds. Dropping it allows [`BacklogMonitor::ensure_started`] to spawn
/// another task.
struct TaskGuard(Arc<AtomicBool>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
