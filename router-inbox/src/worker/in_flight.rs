//! The deliveries a worker has in flight: running handlers, and outcomes not recorded yet.

use std::{collections::HashMap, future::Future, sync::Arc};

use router_core::delivery::{DeliveryRouter, HandlerSpec};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::run::{CompletionFlag, FencingToken, RunResult};
use crate::{
    store::{DeliveryOutcome, HandlerSlots, Lease},
    telemetry,
};

pub(super) struct InFlight {
    tasks: JoinSet<RunResult>,
    running: HashMap<Id, Running>,
    /// Finished deliveries whose outcome is not recorded yet.
    unrecorded: Vec<(Lease, DeliveryOutcome)>,
    /// The number of deliveries that have finished so far.
    finished: u64,
    concurrency: usize,
}

struct Running {
    lease: Lease,
    token: FencingToken,
    completing: CompletionFlag,
    task: AbortHandle,
}

impl InFlight {
    pub(super) fn new(concurrency: usize) -> Self {
        let (tasks, running, unrecorded) = (JoinSet::new(), HashMap::new(), Vec::new());
        Self { tasks, running, unrecorded, finished: 0, concurrency }
    }

    /// Spawns the run of a claimed delivery.
    pub(super) fn spawn(
        &mut self,
        lease: Lease,
        token: FencingToken,
        completing: CompletionFlag,
        run: impl Future<Output = RunResult> + Send + 'static,
    ) {
        let task = self.tasks.spawn(run);
        self.running.insert(task.id(), Running { lease, token, completing, task });
    }

    /// Replaces the lease of a delivery in flight that the store has leased to this worker again.
    ///
    /// Returns `false` if no such delivery is in flight, or if another worker has leased it in
    /// between.
    pub(super) fn adopt(&mut self, lease: &Lease) -> bool {
        let is_previous = |previous: &Lease| {
            (previous.delivery, &previous.handler) == (lease.delivery, &lease.handler)
                && previous.token + 1 == lease.token
        };
        if let Some(running) = self.running.values_mut().find(|running| is_previous(&running.lease))
        {
            running.token.set(lease.token);
            running.lease = lease.clone();
            return true;
        }
        let unrecorded = self.unrecorded.iter_mut().map(|(lease, _)| lease);
        match unrecorded.into_iter().find(|previous| is_previous(previous)) {
            Some(previous) => {
                *previous = lease.clone();
                true
            }
            None => false,
        }
    }

    /// Adds an outcome to be recorded.
    pub(super) fn finish(&mut self, lease: Lease, outcome: DeliveryOutcome) {
        self.finished += 1;
        self.unrecorded.push((lease, outcome));
    }

    /// Returns the number of deliveries that may be started.
    ///
    /// Unrecorded outcomes take up slots too, so that the worker does not go on claiming while the
    /// store cannot record outcomes.
    pub(super) fn free_slots(&self) -> usize {
        self.concurrency.saturating_sub(self.len())
    }

    /// Returns the number of deliveries of this handler that its own limit allows to be started.
    pub(super) fn free_slots_for(&self, handler: &HandlerSpec) -> usize {
        let Some(limit) = handler.concurrency else { return self.free_slots() };
        let former = handler.formerly.unwrap_or(&handler.name);
        let running = self.running.values().map(|running| &*running.lease.handler);
        let running = running.filter(|name| *name == &*handler.name || *name == former);
        (limit as usize).saturating_sub(running.count()).min(self.free_slots())
    }

    /// Returns the free slots of each handler, and the maximum number of deliveries to claim.
    ///
    /// A slot is reserved for each idle handler: one with no delivery in flight. At most half of
    /// all slots are reserved. If all handlers are idle, one slot fewer is reserved, because the
    /// first claim uses a shared slot. If only reserved slots are free, only idle handlers may
    /// claim, one delivery each.
    pub(super) fn claimable(&self, router: &DeliveryRouter) -> (Vec<HandlerSlots>, usize) {
        let (free_slots, in_flight) = (self.free_slots(), self.by_handler(router));
        let handlers = router.handlers();
        let idle = (handlers.len() - in_flight.len()).min(handlers.len().saturating_sub(1));
        let shared = free_slots.saturating_sub(idle.min(self.concurrency / 2));
        let slots = handlers.iter().flat_map(|handler| {
            let in_flight = in_flight.get(&*handler.name).copied().unwrap_or(0);
            let free = if shared == 0 && in_flight == 0 { 1 } else { shared };
            let free = free.min(self.free_slots_for(handler));
            let names = handler.formerly.into_iter().map(Arc::from).chain([handler.name.clone()]);
            names.map(move |handler| HandlerSlots { handler, free, in_flight })
        });
        let limit = if shared == 0 { free_slots } else { shared };
        (slots.filter(|slots| slots.free > 0).collect(), limit)
    }

    /// Returns the number of handlers that have deliveries in flight.
    pub(super) fn busy_handlers(&self, router: &DeliveryRouter) -> usize {
        self.by_handler(router).len()
    }

    /// Counts the deliveries in flight of each handler that has any, by the handler's current name.
    fn by_handler<'r>(&self, router: &'r DeliveryRouter) -> HashMap<&'r str, usize> {
        let mut in_flight: HashMap<&str, usize> = HashMap::new();
        let unrecorded = self.unrecorded.iter().map(|(lease, _)| lease);
        for lease in self.running.values().map(|running| &running.lease).chain(unrecorded) {
            if let Some(handler) = router.handler(&lease.handler) {
                *in_flight.entry(&handler.name).or_default() += 1;
            }
        }
        in_flight
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of deliveries that are running or not recorded yet.
    pub(super) fn len(&self) -> usize {
        self.running.len() + self.unrecorded.len()
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
        self.collect_finished();
        &mut self.unrecorded
    }

    /// Returns the number of deliveries that have finished, without those of runs that finished
    /// since the last call of `collect_finished`.
    pub(super) fn finished(&self) -> u64 {
        self.finished
    }

    /// Collects finished runs.
    pub(super) fn collect_finished(&mut self) {
        while let Some(joined) = self.tasks.try_join_next_with_id() {
            self.handle_joined(joined);
        }
    }

    /// Returns the leases to renew: those of all deliveries in flight, except deliveries that are
    /// being completed. The store has locked these deliveries, so a renewal would have to wait.
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

    /// Aborts all runs except those that are being completed. Each of them ends as released.
    pub(super) fn abort_all(&self) {
        let runs = self.running.values().filter(|running| !running.completing.is_set());
        runs.for_each(|running| running.task.abort());
    }

    fn handle_joined(&mut self, joined: Result<(Id, RunResult), JoinError>) {
        let (id, result) = match joined {
            Ok((id, result)) => (id, Some(result)),
            Err(error) if error.is_cancelled() => {
                let released = RunResult::Unrecorded(DeliveryOutcome::RELEASED);
                (error.id(), Some(released))
            }
            Err(error) => (error.id(), None),
        };
        // `None` for a run that was aborted because of a lost lease.
        let Some(Running { lease, .. }) = self.running.remove(&id) else { return };
        self.finished += 1;
        match result {
            Some(RunResult::Unrecorded(outcome)) => self.unrecorded.push((lease, outcome)),
            Some(RunResult::Recorded(completed)) => telemetry::completed(&lease, completed),
            Some(RunResult::Unknown(error)) => telemetry::outcome_unknown(&lease, error),
            // A run catches its panics, so the application's logging has panicked. Once the lease
            // expires, the attempt counts as failed.
            None => tracing::error!(
                handler = &*lease.handler,
                event.id = &*lease.event_id,
                "the task of a delivery ended without an outcome; the delivery is retried when its \
                 lease expires"
            ),
        }
    }
}
