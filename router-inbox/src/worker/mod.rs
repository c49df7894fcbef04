//! The delivering side of the inbox: claims due deliveries, runs their handlers and records the
//! outcomes.
//!
//! A [`Worker`] is one loop (`Worker::deliver`). It renews the leases of all deliveries in flight
//! three times per lease duration (heartbeat), records outcomes, claims as many deliveries as it
//! has free slots, and then sleeps until a run finishes, an event is stored, or the poll interval
//! has passed. Handlers run in tasks of their own (`in_flight`). Concurrently, the worker purges
//! old events, discards old dead letters (`retention`), and records its heartbeats in the store
//! (`report`).

mod clock_watch;
pub(crate) mod health;
mod in_flight;
mod outcome;
mod pauses;
mod report;
mod retention;
mod run;
mod settings;
mod start_warnings;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use router_core::{
    BoxError,
    clock::Clock,
    delivery::{Delivery, DeliveryRouter},
    handler::HandlerReport,
};
use tokio::sync::{Notify, watch};
use tower_service::Service;

pub(crate) use self::health::WeakWorkerHealth;
#[cfg(feature = "testing")]
pub(crate) use self::outcome::Consequence;
use self::{
    clock_watch::ClockWatch,
    health::{RunGuard, WorkerHealth},
    in_flight::InFlight,
    pauses::Pauses,
    retention::Retention,
    run::{CompletionFlag, FencingToken, Run},
};
use crate::{
    Inbox, Store,
    answers::WaitingAnswers,
    bounded::BoundedStore,
    monitor::BacklogMonitor,
    store::{Claim, ClaimRequest, DeliveryOutcome, WorkerInfo},
    telemetry,
};

/// Delivers stored events to their handlers, several at a time, until it is shut down.
///
/// Any number of workers, in any number of processes, may use the same store.
///
/// A handler that fails is retried with exponential backoff, according to its
/// [`RetryPolicy`](router_core::delivery::RetryPolicy). A failure created with
/// [`Failure::retry_in`](router_core::Failure::retry_in) specifies a minimum delay. After the last
/// attempt, or at once after a [permanent](router_core::Failure::permanent) failure, the delivery
/// becomes a dead letter.
#[must_use = "a worker does nothing until `run` is awaited"]
pub struct Worker<S, R> {
    name: Arc<str>,
    store: BoundedStore<S>,
    service: R,
    router: DeliveryRouter,
    /// Notified when the inbox of this process has stored an event.
    wakeups: watch::Receiver<()>,
    /// The answers of this process that wait for deliveries.
    answers: Arc<WaitingAnswers>,
    concurrency: usize,
    lease: Duration,
    poll_interval: Duration,
    shutdown_grace: Duration,
    retention: Retention,
    clock: Arc<dyn Clock>,
    health: WorkerHealth,
    /// Notified by the loop when it renews its leases.
    heartbeat: Arc<Notify>,
    /// Keeps the monitor of the backlog running while the worker exists.
    _monitor: Arc<BacklogMonitor<S>>,
}

impl<S: Store> Inbox<S> {
    /// Creates a worker that calls `service` for each delivery. The service is the inbox's router,
    /// optionally wrapped in layers.
    pub fn worker<R>(&self, service: R) -> Worker<S, R>
    where
        R: Service<Delivery, Response = HandlerReport, Error: Into<BoxError>>,
        R: Clone + Send + 'static,
        R::Future: Send,
    {
        let (monitor, clock) = (self.monitor().clone(), self.shared_clock().clone());
        monitor.ensure_started();
        let health = WorkerHealth::new(clock.clone());
        monitor.add_worker(&health);
        Worker {
            name: report::unique_name(&report::default_name()),
            store: monitor.store().clone(),
            service,
            router: self.router().clone(),
            wakeups: self.wakeups(),
            answers: self.answers().clone(),
            concurrency: settings::default_concurrency(self.router()),
            lease: Duration::from_secs(60),
            poll_interval: Duration::from_secs(1),
            shutdown_grace: Duration::from_secs(20),
            retention: Retention::default(),
            clock,
            health,
            heartbeat: Arc::default(),
            _monitor: monitor,
        }
    }
}

/// The condition on which a worker ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The shutdown has begun.
    Stopped,
    /// No delivery is due.
    Idle,
}

/// Maximum time to abort handlers and record outcomes after the grace period.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Tolerance of the time between two rounds of the loop, for a busy machine.
const STALL_MARGIN: Duration = Duration::from_secs(5);

impl<S, R> Worker<S, R>
where
    S: Store,
    R: Service<Delivery, Response = HandlerReport, Error: Into<BoxError>>,
    R: Clone + Send + 'static,
    R::Future: Send,
{
    /// Delivers until `shutdown` completes, then shuts down gracefully.
    ///
    /// On shutdown the worker stops claiming at once, waits up to the grace period for deliveries
    /// in flight, and releases the rest without counting an attempt. The worker ends at most 5 s
    /// after the grace period, even if the store does not answer.
    ///
    /// Not cancel safe: if this future is dropped, the handlers in flight are aborted, and their
    /// attempts count as failed when the leases expire. The worker then logs an error, and
    /// [`WorkerHealth::lost`] completes.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (store, clock) = (self.store.clone(), self.clock.clone());
        let (running, info) = (self.begin(), self.info());
        let deadline = tokio::select! {
            () = retention::clean_up_periodically(&store, self.retention, &*clock) => return,
            () = self.report_heartbeats() => return,
            deadline = self.deliver(shutdown) => deadline,
        };
        remove_record(&store, &info, &*clock, deadline).await;
        running.record_end();
    }

    /// Delivers until no delivery is due or in flight. Does not wait for scheduled retries.
    ///
    /// Use it in a job that runs periodically, and in tests. A failed claim ends it too, and is
    /// logged; while outcomes cannot be recorded, it goes on. Afterwards, unless another worker of
    /// this process claims deliveries, an answer waits for a handler with `answer_after` only if
    /// the handler is already running.
    ///
    /// Not cancel safe, like [`run`](Self::run).
    pub async fn run_until_idle(mut self) {
        let (store, clock) = (self.store.clone(), self.clock.clone());
        let (running, info) = (self.begin(), self.info());
        let mut in_flight = InFlight::new(self.concurrency);
        let (_stop, stopping) = watch::channel(false);
        let _claiming = self.answers.add_worker();
        // A job that takes long is recorded like any other worker.
        tokio::select! {
            () = self.report_heartbeats() => return,
            () = self.deliver_until(End::Idle, &mut in_flight, stopping) => {}
        }
        remove_record(&store, &info, &*clock, clock.monotonic() + RELEASE_TIMEOUT).await;
        running.record_end();
    }

    fn begin(&self) -> RunGuard {
        self.health.start(self.poll_interval + self.store.limit() + STALL_MARGIN, self.lease)
    }

    /// Delivers until the shutdown has ended. Returns the time at which the worker must end.
    async fn deliver(mut self, shutdown: impl Future<Output = ()>) -> Instant {
        self.log_start_warnings();
        let mut in_flight = InFlight::new(self.concurrency);
        let (stop, stopping) = watch::channel(false);
        let (clock, grace, health) = (self.clock.clone(), self.shutdown_grace, self.health.clone());
        let claiming = self.answers.add_worker();
        let grace_ended = async {
            shutdown.await;
            health.begin_shutdown();
            drop(claiming);
            stop.send_replace(true);
            clock.sleep(grace).await;
        };
        // The signal is polled first, also while the loop waits for the store, so that no delivery
        // starts after the signal.
        tokio::select! {
            biased;
            () = grace_ended => {}
            () = self.deliver_until(End::Stopped, &mut in_flight, stopping) => {}
        }
        let deadline = clock.monotonic() + RELEASE_TIMEOUT;
        self.release_in_flight(in_flight, deadline).await;
        deadline
    }

    /// Delivers until the end, and then until nothing is in flight.
    async fn deliver_until(
        &mut self,
        end: End,
        in_flight: &mut InFlight,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut clock_watch = ClockWatch::new(&*self.clock);
        let mut pauses = Pauses::default();
        let mut next_renewal = self.clock.monotonic();
        loop {
            self.health.tick();
            let now = self.clock.monotonic();
            // After a jump, leases may seem to have expired, or may expire too late. So all are
            // renewed.
            if clock_watch.has_jumped(&*self.clock) || now >= next_renewal {
                self.heartbeat.notify_one();
                self.renew_leases(in_flight).await;
                next_renewal = self.clock.monotonic() + self.lease / 3;
            }
            // Each call of the store may take up to its limit, so the loop ticks after each.
            self.health.tick();
            self.record_outcomes(in_flight).await;
            self.health.tick();
            let is_stopping = *stop.borrow_and_update();
            if is_stopping && in_flight.is_empty() {
                return;
            }
            if !is_stopping && self.claim(in_flight, &mut pauses, &stop).await {
                continue;
            }
            if end == End::Idle && in_flight.is_empty() {
                return;
            }
            let can_claim = !is_stopping && in_flight.free_slots() > 0;
            let wake_at = next_renewal.min(now + self.poll_interval);
            let wake_at = pauses.next_refresh(now).map_or(wake_at, |refresh| wake_at.min(refresh));
            tokio::select! {
                biased;
                Ok(()) = stop.changed() => {}
                () = in_flight.next_finished() => {}
                Ok(()) = self.wakeups.changed(), if can_claim => {}
                () = self.store.unbounded().notified(), if can_claim => {}
                () = self.clock.sleep_until(wake_at) => {}
            }
        }
    }

    /// Claims due deliveries for the free slots and starts them, except those of paused handlers.
    ///
    /// Returns `true` if the loop must not sleep, because there are outcomes to record or more
    /// deliveries may be due: a run that finishes during the claim frees a slot, and may unblock
    /// the next delivery of a lane.
    async fn claim(
        &self,
        in_flight: &mut InFlight,
        pauses: &mut Pauses,
        stop: &watch::Receiver<bool>,
    ) -> bool {
        let (mut handlers, limit) = in_flight.claimable(&self.router);
        if limit == 0 || handlers.is_empty() {
            return false;
        }
        if let Err(error) = pauses.refresh(&self.store, &self.router, self.clock.monotonic()).await
        {
            let failure = "failed to read the paused handlers; no delivery is claimed until that \
                           succeeds; retrying";
            telemetry::store_failed(failure, &error);
            return false;
        }
        self.health.tick();
        pauses.remove_paused(&self.router, &mut handlers);
        if handlers.is_empty() || *stop.borrow() {
            return false;
        }
        let request = ClaimRequest::new(handlers, limit, self.lease).worker(self.name.clone());
        // Counted before the claim, because runs may finish during it.
        let finished_before = in_flight.finished();
        match self.store.claim(&request).await {
            Ok(claims) => {
                let reached_limit = claims.len() == limit;
                let busy_before = in_flight.busy_handlers(&self.router);
                let is_stopping = *stop.borrow();
                claims.into_iter().for_each(|claim| self.start(claim, in_flight, is_stopping));
                in_flight.collect_finished();
                // The slot reserved for a handler becomes a shared one once the handler has a
                // delivery in flight.
                in_flight.finished() > finished_before
                    || (reached_limit && in_flight.busy_handlers(&self.router) > busy_before)
            }
            Err(error) => {
                let failure = "failed to claim deliveries from the inbox; retrying";
                telemetry::store_failed(failure, &error);
                false
            }
        }
    }

    /// Starts a claimed delivery, or finishes it at once if its handler must not run. During the
    /// shutdown, the delivery is released instead.
    fn start(&self, claim: Claim, in_flight: &mut InFlight, is_stopping: bool) {
        let Claim { lease, event, attempt, delayed, lease_expired, outdated, trace_parent } = claim;
        if lease_expired && in_flight.adopt(&lease) {
            return tracing::warn!(
                handler = &*lease.handler,
                event.id = &*lease.event_id,
                "the lease of a running delivery expired by the store's clock before this worker \
                 could renew it; the worker has claimed the delivery again, and the handler continues"
            );
        }
        let Some(handler) = self.router.handler(&lease.handler).cloned() else {
            // The store returned a delivery for a handler that was not requested.
            return in_flight.finish(lease, DeliveryOutcome::RELEASED);
        };
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                let outcome = outcome::from_damaged_event(&handler, &lease.event_id, &error);
                return in_flight.finish(lease, outcome);
            }
        };
        if lease_expired {
            let outcome = outcome::from_expired_lease(&handler, &event, attempt);
            return in_flight.finish(lease, outcome);
        }
        if outdated {
            return in_flight.finish(lease, outcome::from_outdated_event(&handler, &event));
        }
        // The claim's limit applies to each name of a handler separately. For a handler with a
        // former name, the store may therefore return more deliveries than there are free slots.
        if is_stopping || in_flight.free_slots_for(&handler) == 0 {
            return in_flight.finish(lease, DeliveryOutcome::RELEASED);
        }
        let (completing, token) = (CompletionFlag::default(), FencingToken::new(lease.token));
        let run = Run {
            lease: lease.clone(),
            token: token.clone(),
            event,
            attempt,
            delayed,
            trace_parent,
            handler,
            completing: completing.clone(),
            answers: self.answers.clone(),
        };
        let run = run.execute(self.service.clone(), self.store.clone());
        in_flight.spawn(lease, token, completing, run);
    }

    /// Records the outcomes of finished deliveries. If that fails, the next call retries.
    async fn record_outcomes(&self, in_flight: &mut InFlight) {
        let outcomes = in_flight.unrecorded();
        if outcomes.is_empty() {
            return;
        }
        match self.store.complete(outcomes).await {
            Ok(completed) => {
                for ((lease, _), completed) in outcomes.drain(..).zip(completed) {
                    telemetry::completed(&lease, completed);
                    if let Some(handler) = self.router.handler(&lease.handler) {
                        self.answers.wake(handler, &lease.event_id);
                    }
                }
            }
            Err(error) => {
                let failure = "failed to record the outcome of deliveries; retrying";
                telemetry::store_failed(failure, &error);
            }
        }
    }

    /// Extends the leases of all deliveries in flight, and aborts those whose lease was lost.
    async fn renew_leases(&self, in_flight: &mut InFlight) {
        let leases = in_flight.leases();
        if leases.is_empty() {
            return self.health.record_renewal();
        }
        match self.store.extend(&leases, self.lease).await {
            Ok(held) => {
                self.health.record_renewal();
                let lost = leases.iter().zip(held).filter(|(_, held)| !held);
                lost.for_each(|(lease, _)| in_flight.abort_lost(lease));
            }
            Err(error) => telemetry::store_failed("failed to renew leases; retrying", &error),
        }
    }

    /// Aborts the deliveries still in flight and releases them.
    ///
    /// Retries within the time limit, so that a short outage of the store during the shutdown does
    /// not use up an attempt of these deliveries.
    async fn release_in_flight(&self, mut in_flight: InFlight, deadline: Instant) {
        in_flight.abort_all();
        let release = async {
            loop {
                self.record_outcomes(&mut in_flight).await;
                if in_flight.is_empty() {
                    return;
                }
                // A run that is being completed does not delay the release of the others.
                tokio::select! {
                    () = in_flight.next_finished() => {}
                    () = self.clock.sleep(self.poll_interval) => {}
                }
            }
        };
        tokio::select! {
            biased;
            () = release => {}
            () = self.clock.sleep_until(deadline) => tracing::error!(
                deliveries = in_flight.len(),
                "could not record the outcomes of some deliveries before the worker stopped; when \
                 their leases expire, each counts as a failed attempt"
            ),
        }
    }
}

/// Removes the record that the worker is running. If this fails, the record expires.
async fn remove_record(
    store: &BoundedStore<impl Store>,
    info: &WorkerInfo,
    clock: &dyn Clock,
    deadline: Instant,
) {
    tokio::select! {
        biased;
        () = clock.sleep_until(deadline) => {}
        removed = store.report_worker(info, Duration::ZERO) => if let Err(error) = removed {
            tracing::debug!(%error, "failed to remove the record of this worker; it expires");
        },
    }
}
