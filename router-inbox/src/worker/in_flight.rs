//! The deliveries a worker has in flight: running handlers, and outcomes not recorded yet.

use std::{collections::HashMap, future::Future, sync::Arc};

use router_core::HandlerSpec;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::run::{CompletionFlag, RunResult};
use crate::{DeliveryOutcome, Lease, telemetry};

pub(super) struct InFlight {
    tasks: JoinSet<RunResult>,
    running: HashMap<Id, Running>,
    /// Finished deliveries whose outcome is not recorded yet.
    unrecorded: Vec<(Lease, DeliveryOutcome)>,
    concurrency: usize,
}

struct Running {
    lease: Lease,
    /// The handler's current name. The lease may have a former one.
    handler: Arc<str>,
    completing: CompletionFlag,
    task: AbortHandle,
}

impl InFlight {
    pub(super) fn new(concurrency: usize) -> Self {
        let (tasks, running, unrecorded) = (JoinSet::new(), HashMap::new(), Vec::new());
        Self { tasks, running, unrecorded, concurrency }
    }

    /// Spawns the run of a claimed delivery.
    pub(super) fn spawn(
        &mut self,
        handler: Arc<str>,
        lease: Lease,
        completing: CompletionFlag,
        run: impl Future<Output = RunResult> + Send + 'static,
    ) {
        let task = self.tasks.spawn(run);
        self.running.insert(task.id(), Running { lease, handler, completing, task });
    }

    /// Adds an outcome to be recorded.
    pub(super) fn finish(&mut self, lease: Lease, outcome: DeliveryOutcome) {
        self.unrecorded.push((lease, outcome));
    }

    /// Returns the number of deliveries that may be started.
    ///
    /// Unrecorded outcomes take up slots too, so that the worker does not go on claiming while the
    /// store cannot record outcomes.
    pub(super) fn free_slots(&self) -> usize {
        self.concurrency.saturating_sub(self.running.len() + self.unrecorded.len())
    }

    /// Returns the number of deliveries of this handler that may be started.
    pub(super) fn free_slots_for(&self, handler: &HandlerSpec) -> usize {
        let Some(limit) = handler.concurrency else { return self.free_slots() };
        let running = self.running.values().filter(|running| running.handler == handler.name);
        (limit as usize).saturating_sub(running.count()).min(self.free_slots())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.unrecorded.is_empty()
    }

    /// Waits until a run finishes. Never completes if none is running. Cancel safe.
    pub(super) async fn next_finished(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(joined) => self.handle_joined(joined),
            None => std::future::pending().await,
        }
    }

    /// Collects finished runs, and returns all outcomes that are to be recorded.
    pub(super) fn unrecorded(&mut self) -> &mut Vec<(Lease, DeliveryOutcome)> {
        while let Some(joined) = self.tasks.try_join_next_with_id() {
            self.handle_joined(joined);
        }
        &mut self.unrecorded
    }

    /// Returns the leases to renew: of all deliveries in flight, except those that are just being
    /// completed. The store has locked these, so that renewing them would have to wait.
    pub(super) fn leases(&self) -> Vec<Lease> {
        let running = self.running.values().filter(|running| !running.completing.is_set());
        let running = running.map(|running| &running.lease);
        running.chain(self.unrecorded.iter().map(|(lease, _)| lease)).cloned().collect()
    }

    /// Aborts the run under a lease that was lost.
    ///
    /// A run that has finished or is being recorded is left alone: recording it reports the lost
    /// lease.
    pub(super) fn abort_lost(&mut self, lost: &Lease) {
        let is_lost = |running: &Running| running.lease == *lost && !running.completing.is_set();
        if let Some(id) =
            self.running.iter().find_map(|(id, running)| is_lost(running).then_some(*id))
            && let Some(running) = self.running.remove(&id)
        {
            telemetry::lease_lost(lost);
            running.task.abort();
        }
    }

    /// Aborts all runs and marks their deliveries as released. Waits for runs that are being
    /// recorded.
    pub(super) async fn abort_all(&mut self) {
        let runs = self.running.values().filter(|running| !running.completing.is_set());
        runs.for_each(|running| running.task.abort());
        while let Some(joined) = self.tasks.join_next_with_id().await {
            match joined {
                Err(error) if error.is_cancelled() => {
                    if let Some(Running { lease, .. }) = self.running.remove(&error.id()) {
                        self.finish(lease, DeliveryOutcome::RELEASED);
                    }
                }
                joined => self.handle_joined(joined),
            }
        }
    }

    fn handle_joined(&mut self, joined: Result<(Id, RunResult), JoinError>) {
        let (id, result) = match joined {
            Ok((id, result)) => (id, Some(result)),
            Err(error) => (error.id(), None),
        };
        // `None` for a run that was aborted because of a lost lease.
        let Some(Running { lease, .. }) = self.running.remove(&id) else { return };
        match result {
            Some(RunResult::Unrecorded(outcome)) => self.finish(lease, outcome),
            Some(RunResult::Recorded(completed)) => telemetry::completed(&lease, completed),
            Some(RunResult::Unknown(error)) => telemetry::outcome_unknown(&lease, error),
            // A run catches its panics, so this is a panic of its logging. The lease expires, which
            // counts as a failed attempt.
            None => tracing::error!(
                handler = &*lease.handler,
                "the task of a delivery ended without an outcome; the delivery is retried when its \
                 lease expires"
            ),
        }
    }
}
