//! What a worker has out: what runs, and what has ended and is not recorded yet.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use router_core::HandlerSpec;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::run::{Ended, Ending};
use crate::{Completed, DeliveryOutcome, Lease, telemetry};

pub(super) struct AtWork {
    tasks: JoinSet<Ended>,
    running: HashMap<Id, Running>,
    /// With what is to be recorded of them.
    ended: Vec<(Lease, DeliveryOutcome)>,
    concurrency: usize,
}

struct Running {
    lease: Lease,
    /// The handler's present name.
    handler: Arc<str>,
    ending: Ending,
    task: AbortHandle,
}

/// A layer around the handlers has panicked: nobody knows when that will be better.
const AFTER_A_PANIC: Duration = Duration::from_secs(60);

impl AtWork {
    pub(super) fn new(concurrency: usize) -> Self {
        let (tasks, running, ended) = (JoinSet::new(), HashMap::new(), Vec::new());
        Self { tasks, running, ended, concurrency }
    }

    pub(super) fn begin(
        &mut self,
        handler: Arc<str>,
        lease: Lease,
        ending: Ending,
        run: impl Future<Output = Ended> + Send + 'static,
    ) {
        let task = self.tasks.spawn(run);
        self.running.insert(task.id(), Running { lease, handler, ending, task });
    }

    /// This is to be recorded.
    pub(super) fn end(&mut self, lease: Lease, end: DeliveryOutcome) {
        self.ended.push((lease, end));
    }

    /// How many may be begun. What waits to be recorded takes room too, so that a store which is away is not asked for
    /// ever more.
    pub(super) fn room(&self) -> usize {
        self.concurrency.saturating_sub(self.running.len() + self.ended.len())
    }

    /// How many of this handler's may be begun.
    pub(super) fn room_for(&self, handler: &HandlerSpec) -> usize {
        let Some(most) = handler.concurrency else { return self.room() };
        let running = self.running.values().filter(|running| running.handler == handler.name);
        (most as usize).saturating_sub(running.count()).min(self.room())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.ended.is_empty()
    }

    /// Waits until something that runs ends; for ever, if nothing runs.
    pub(super) async fn one_ends(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.take(ended),
            None => std::future::pending().await,
        }
    }

    /// What is to be recorded by now.
    pub(super) fn ended(&mut self) -> &mut Vec<(Lease, DeliveryOutcome)> {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.take(ended);
        }
        &mut self.ended
    }

    pub(super) fn leases(&self) -> Vec<Lease> {
        let running = self.running.values().map(|running| &running.lease);
        running.chain(self.ended.iter().map(|(lease, _)| lease)).cloned().collect()
    }

    /// Stops what runs under a lease that is somebody else's. (One that has ended is told so when that is recorded.)
    pub(super) fn stop(&mut self, lost: &Lease) {
        let is_lost = |running: &Running| running.lease == *lost && !running.ending.has_begun();
        if let Some(id) = self.running.iter().find_map(|(id, one)| is_lost(one).then_some(*id))
            && let Some(running) = self.running.remove(&id)
        {
            telemetry::lease_lost(lost);
            running.task.abort();
        }
    }

    /// Gives back what runs; what is being recorded is waited for.
    pub(super) async fn stop_all(&mut self) {
        let runs = self.running.values().filter(|running| !running.ending.has_begun());
        runs.for_each(|running| running.task.abort());
        while let Some(ended) = self.tasks.join_next_with_id().await {
            match ended {
                Err(error) if error.is_cancelled() => {
                    if let Some(Running { lease, .. }) = self.running.remove(&error.id()) {
                        self.end(lease, DeliveryOutcome::Released);
                    }
                }
                ended => self.take(ended),
            }
        }
    }

    fn take(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let (id, ended) = match ended {
            Ok((id, ended)) => (id, ended),
            Err(error) => {
                let end = DeliveryOutcome::Retry { wait: AFTER_A_PANIC, error: error.to_string() };
                (error.id(), Ended::Unrecorded(end))
            }
        };
        // One that was stopped is not among them any more.
        let Some(Running { lease, .. }) = self.running.remove(&id) else { return };
        match ended {
            Ended::Unrecorded(end) => self.end(lease, end),
            Ended::Recorded(Completed::Recorded) => {}
            Ended::Recorded(Completed::LeaseLost) => telemetry::lease_lost(&lease),
        }
    }
}
