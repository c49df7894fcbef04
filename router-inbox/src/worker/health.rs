//! [`WorkerHealth`], the state of a worker for readiness checks.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use router_core::{
    clock::Clock,
    health::{Readiness, ReadinessCheck, Reason},
};
use tokio::sync::watch;

/// The health of a [`Worker`](crate::Worker): a readiness check for a
/// [`HealthEndpoint`](router_core::health::HealthEndpoint).
///
/// It outlives the worker. The process is not ready unless the worker is running:
///
/// | code | reason |
/// |---|---|
/// | `worker_not_started` | the worker was created, but its `run` was not called |
/// | `worker_stalled` | the worker's loop does not run, usually because the runtime is blocked |
/// | `leases_not_renewed` | the store fails, and leases of deliveries in flight expire soon |
/// | `worker_shutting_down` | the worker is shutting down |
/// | `worker_stopped` | the worker was shut down, or has ended because it was idle |
/// | `worker_lost` | the worker has [ended without a shutdown](Self::lost) |
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct WorkerHealth(Arc<watch::Sender<State>>);

/// A weak reference to a [`WorkerHealth`].
pub(crate) struct WeakWorkerHealth(Weak<watch::Sender<State>>);

struct State {
    clock: Arc<dyn Clock>,
    phase: Phase,
    /// The last time at which the worker's loop ran.
    last_tick: Instant,
    /// Maximum time between two ticks.
    max_tick_interval: Duration,
    /// The last time at which all leases were renewed.
    last_renewal: Instant,
    lease: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    NotStarted,
    Running,
    ShuttingDown,
    Stopped,
    Lost,
}

impl WorkerHealth {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let now = clock.monotonic();
        Self(Arc::new(watch::Sender::new(State {
            clock,
            phase: Phase::NotStarted,
            last_tick: now,
            max_tick_interval: Duration::MAX,
            last_renewal: now,
            lease: Duration::MAX,
        })))
    }

    /// Waits until the worker ends without a shutdown, because its task panicked or was aborted, or
    /// its future was dropped. A server should then exit, so that it is restarted.
    ///
    /// Never completes if the worker is shut down. Cancel safe.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        let (mut state, sender) = (self.0.subscribe(), self.0.clone());
        async move {
            drop(state.wait_for(|state| state.phase == Phase::Lost).await);
            // Held until here, because the wait fails once every sender is dropped.
            drop(sender);
        }
    }

    /// Returns whether the worker is running and has not stalled.
    pub(crate) fn is_running(&self) -> bool {
        let state = self.0.borrow();
        state.phase == Phase::Running && state.since_tick() <= state.max_tick_interval
    }

    pub(crate) fn downgrade(&self) -> WeakWorkerHealth {
        WeakWorkerHealth(Arc::downgrade(&self.0))
    }

    /// Sets the state to running, until the returned guard is dropped.
    pub(super) fn start(&self, max_tick_interval: Duration, lease: Duration) -> RunGuard {
        self.update(|state| {
            let now = state.clock.monotonic();
            (state.phase, state.max_tick_interval, state.lease) =
                (Phase::Running, max_tick_interval, lease);
            (state.last_tick, state.last_renewal) = (now, now);
        });
        RunGuard(self.clone())
    }

    /// Records that the worker's loop ran just now.
    pub(super) fn tick(&self) {
        self.update(|state| state.last_tick = state.clock.monotonic());
    }

    /// Records that all leases have been renewed, or that there are none.
    pub(super) fn record_renewal(&self) {
        self.update(|state| state.last_renewal = state.clock.monotonic());
    }

    pub(super) fn begin_shutdown(&self) {
        self.update(|state| state.phase = Phase::ShuttingDown);
    }

    /// Changes the state without waking [`lost`](Self::lost).
    fn update(&self, change: impl FnOnce(&mut State)) {
        self.0.send_if_modified(|state| {
            change(state);
            false
        });
    }
}

#[async_trait]
impl ReadinessCheck for WorkerHealth {
    async fn check(&self) -> Readiness {
        self.0.borrow().reason().map(Readiness::from).unwrap_or_default()
    }
}

impl State {
    fn since_tick(&self) -> Duration {
        self.clock.monotonic().saturating_duration_since(self.last_tick)
    }

    fn reason(&self) -> Option<Reason> {
        let (code, text) = match self.phase {
            Phase::NotStarted => (
                "worker_not_started",
                "the worker is not run: await `run(shutdown)`, or spawn a task that does",
            ),
            Phase::Running => return self.problem(),
            Phase::ShuttingDown => ("worker_shutting_down", "the worker is shutting down"),
            Phase::Stopped => {
                ("worker_stopped", "the worker was shut down, or has ended because it was idle")
            }
            Phase::Lost => (
                "worker_lost",
                "the worker has ended without a shutdown; restart the process to run its handlers",
            ),
        };
        Some(Reason::new(code, text))
    }

    /// Returns a reason for which a running worker is not ready.
    fn problem(&self) -> Option<Reason> {
        let stalled = self.since_tick();
        if stalled > self.max_tick_interval {
            let text = format!("the worker's loop has not run for {} s", stalled.as_secs());
            return Some(Reason::new("worker_stalled", text));
        }
        // Leases are renewed three times per lease duration: the first renewal has failed, and the
        // second is due.
        let age = self.clock.monotonic().saturating_duration_since(self.last_renewal);
        if age >= self.lease / 3 * 2 {
            let text = format!(
                "the leases of the deliveries in flight have not been renewed for {} s; after {} s \
                 they expire, and other workers run the handlers again",
                age.as_secs(),
                self.lease.as_secs()
            );
            return Some(Reason::new("leases_not_renewed", text));
        }
        None
    }
}

impl WeakWorkerHealth {
    pub(crate) fn upgrade(&self) -> Option<WorkerHealth> {
        self.0.upgrade().map(WorkerHealth)
    }
}

/// A guard that a running worker holds. If the worker's future is dropped, the guard reports the
/// loss.
pub(super) struct RunGuard(WorkerHealth);

impl RunGuard {
    /// Records that the worker has ended regularly.
    pub(super) fn record_end(self) {
        self.0.update(|state| state.phase = Phase::Stopped);
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        let phase = self.0.0.borrow().phase;
        let is_panicking = std::thread::panicking();
        match phase {
            Phase::Running => {}
            Phase::ShuttingDown if is_panicking => {}
            // The end of a shutdown that took too long; its caller reports it.
            Phase::ShuttingDown => return self.0.update(|state| state.phase = Phase::Stopped),
            Phase::NotStarted | Phase::Stopped | Phase::Lost => return,
        }
        self.0.0.send_modify(|state| state.phase = Phase::Lost);
        let cause = match is_panicking {
            true => "its task panicked",
            false => "its task was aborted, or its future was dropped",
        };
        tracing::error!(
            "the inbox's worker ended without a shutdown: {cause}; events are stored, but this \
             worker runs no handler until the process is restarted"
        );
    }
}

impl fmt::Debug for WorkerHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.0.borrow().reason();
        f.debug_struct("WorkerHealth").field("reason", &reason).finish_non_exhaustive()
    }
}
