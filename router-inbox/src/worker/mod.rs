//! What delivers: takes what is due from the store, has each handler run, and records how it ended.

mod at_work;
mod backlog;
mod ending;
mod retention;
mod run;

use std::{fmt, future::Future, pin::pin, sync::Arc, time::Duration};

use router_core::{BoxError, Delivery, DeliveryRouter, Failure, HandlerReport, clock::Clock};
use tokio::sync::watch;
use tower_service::Service;

use self::{
    at_work::AtWork,
    backlog::BacklogWatch,
    run::{Ending, Run},
};
use crate::{
    Claim, ClaimRequest, Completed, DeliveryOutcome, Inbox, Store, operations::MIN_RETENTION,
    telemetry,
};

/// Runs deliveries, several at a time, until it is told to stop. There may be any number of workers, in any number of
/// processes.
///
/// A handler that fails is tried again as its `#[on_event(attempts, backoff, max_backoff)]` say, a quarter sooner or
/// later by chance, and not before a [`retry_after`](Failure::retry_in) of its own. After the last attempt, and
/// after a [permanent](Failure::permanent) failure at once, the delivery is a dead letter, which is kept.
#[must_use = "it delivers nothing before it is run"]
pub struct Worker<S, R> {
    store: Arc<S>,
    service: R,
    router: DeliveryRouter,
    news: watch::Receiver<()>,
    concurrency: usize,
    lease: Duration,
    poll_interval: Duration,
    shutdown_grace: Duration,
    retention: Duration,
    clock: Arc<dyn Clock>,
}

impl<S: Store> Inbox<S> {
    /// A worker that has deliveries run by this service: the inbox's router, or that with layers around it.
    pub fn worker<R>(&self, service: R) -> Worker<S, R>
    where
        R: Service<Delivery, Response = HandlerReport, Error: Into<BoxError>>,
        R: Clone + Send + 'static,
        R::Future: Send,
    {
        Worker {
            store: self.store().clone(),
            service,
            router: self.router().clone(),
            news: self.news(),
            concurrency: 16,
            lease: Duration::from_secs(60),
            poll_interval: Duration::from_secs(1),
            shutdown_grace: Duration::from_secs(20),
            retention: retention::DEFAULT,
            clock: self.time().clone(),
        }
    }
}

impl<S, R> Worker<S, R> {
    /// How many deliveries run at once; 16 by default.
    pub fn concurrency(self, concurrency: usize) -> Self {
        Self { concurrency, ..self }
    }

    /// How long a delivery belongs to this worker without a sign of life from it; 60 s by default. As long as it takes
    /// until another takes over what a dead process had.
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// How often it is looked for what is to be tried again, and for what other processes have stored where the store
    /// does not tell; 1 s by default.
    pub fn poll_interval(self, poll_interval: Duration) -> Self {
        Self { poll_interval, ..self }
    }

    /// How long what runs may go on once the worker is to stop, before it is given back; 20 s by default.
    pub fn shutdown_grace(self, shutdown_grace: Duration) -> Self {
        Self { shutdown_grace, ..self }
    }

    /// How long an event is kept once all of its deliveries have ended well; 30 days by default, and at least
    /// [four days](crate::operations::MIN_RETENTION), in which Stripe may send it again. Dead letters are kept until somebody
    /// discards them, or for whom they are replayed.
    pub fn retention(self, retention: Duration) -> Self {
        Self { retention: retention.max(MIN_RETENTION), ..self }
    }
}

impl<S, R> Worker<S, R>
where
    S: Store,
    R: Service<Delivery, Response = HandlerReport, Error: Into<BoxError>>,
    R: Clone + Send + 'static,
    R::Future: Send,
{
    /// Runs deliveries until `shutdown` is ready. Then takes no more, lets what runs go on for a while, and gives back
    /// what has not ended, which costs nobody an attempt.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (store, clock) = (self.store.clone(), self.clock.clone());
        tokio::select! {
            () = retention::purge_now_and_then(&*store, self.retention, &*clock) => {}
            () = self.deliver(shutdown) => {}
        }
    }

    async fn deliver(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut at_work = AtWork::new(self.concurrency);
        let mut backlog = BacklogWatch::default();
        let mut next_sign = self.clock.monotonic() + self.lease / 3;
        // Once it is to stop: until when what runs may go on.
        let mut stop = None;
        loop {
            let now = self.clock.monotonic();
            if now >= next_sign {
                self.show_life(&mut at_work).await;
                next_sign = self.clock.monotonic() + self.lease / 3;
            }
            self.record(&mut at_work).await;
            if stop.is_some_and(|stop| now >= stop || at_work.is_idle()) {
                break;
            }
            let mut wake = next_sign.min(now + self.poll_interval);
            if let Some(stop) = stop {
                wake = wake.min(stop);
            } else {
                backlog.look(&*self.store, &self.router, now).await;
                if self.claim(&mut at_work).await {
                    continue;
                }
            }
            let has_room = stop.is_none() && at_work.room() > 0;
            tokio::select! {
                biased;
                () = &mut shutdown, if stop.is_none() => stop = Some(self.clock.monotonic() + self.shutdown_grace),
                () = at_work.one_ends() => {}
                Ok(()) = self.news.changed(), if has_room => {}
                () = self.store.notified(), if has_room => {}
                () = self.clock.sleep_until(wake) => {}
            }
        }
        self.give_back(at_work).await;
    }

    /// Begins what is due, as much as there is room for. Whether there is something to do at once: to record what has
    /// ended without being run, or to claim more.
    async fn claim(&self, at_work: &mut AtWork) -> bool {
        let limit = at_work.room();
        let handlers = self.router.handlers().iter().flat_map(|handler| {
            let room = at_work.room_for(handler);
            let names = handler.formerly.into_iter().map(Arc::from).chain([handler.name.clone()]);
            names.map(move |name| (name, room))
        });
        let handlers: Vec<_> = handlers.filter(|(_, room)| *room > 0).collect();
        if limit == 0 || handlers.is_empty() {
            return false;
        }
        let wanted = ClaimRequest { handlers, limit, lease: self.lease };
        match self.store.claim(&wanted).await {
            Ok(claims) => {
                let is_full = claims.len() == limit;
                let ended = at_work.ended().len();
                claims.into_iter().for_each(|claim| self.begin(claim, at_work));
                at_work.ended().len() > ended || (is_full && at_work.room() > 0)
            }
            Err(error) => {
                let error = Failure::retry(error);
                tracing::warn!(%error, "nothing could be claimed from the inbox; trying again");
                false
            }
        }
    }

    fn begin(&self, claim: Claim, at_work: &mut AtWork) {
        let Claim { lease, event, attempt, lease_expired } = claim;
        let Some(handler) = self.router.handler(&lease.handler).cloned() else {
            // Nobody has asked for it.
            return at_work.end(lease, DeliveryOutcome::Released);
        };
        let event = match event {
            Ok(event) => event,
            Err(error) => return at_work.end(lease, ending::damaged(&handler, &error)),
        };
        if lease_expired {
            let end = ending::lease_expired(&handler, &event, attempt);
            return at_work.end(lease, end);
        }
        // A handler and its former name were each given its whole room.
        if at_work.room_for(&handler) == 0 {
            return at_work.end(lease, DeliveryOutcome::Released);
        }
        let name = handler.name.clone();
        let ending = Ending::default();
        let run = Run { lease: lease.clone(), event, attempt, handler, ending: ending.clone() };
        let run = run.by(self.service.clone(), self.store.clone());
        at_work.begin(name, lease, ending, run);
    }

    /// Records what has ended; what could not be recorded is tried again.
    async fn record(&self, at_work: &mut AtWork) {
        let ended = at_work.ended();
        if ended.is_empty() {
            return;
        }
        match self.store.complete(ended).await {
            Ok(completed) => {
                for ((lease, _), completed) in ended.drain(..).zip(completed) {
                    if completed == Completed::LeaseLost {
                        telemetry::lease_lost(&lease);
                    }
                }
            }
            Err(error) => {
                let error = Failure::retry(error);
                tracing::warn!(%error, "how deliveries ended could not be recorded; trying again");
            }
        }
    }

    /// Keeps the leases of what is out, and stops what belongs to somebody else by now.
    async fn show_life(&self, at_work: &mut AtWork) {
        let leases = at_work.leases();
        if leases.is_empty() {
            return;
        }
        match self.store.extend(&leases, self.lease).await {
            Ok(held) => {
                let lost = leases.iter().zip(held).filter(|(_, held)| !held);
                lost.for_each(|(lease, _)| at_work.stop(lease));
            }
            Err(error) => {
                let error = Failure::retry(error);
                tracing::warn!(%error, "the leases of what runs could not be extended; trying again");
            }
        }
    }

    /// Gives back what runs still. A store that is away for a moment must not cost anybody an attempt.
    async fn give_back(&self, mut at_work: AtWork) {
        at_work.stop_all().await;
        for _ in 0..5 {
            self.record(&mut at_work).await;
            if at_work.ended().is_empty() {
                return;
            }
            self.clock.sleep(self.poll_interval).await;
        }
        tracing::error!(
            deliveries = at_work.ended().len(),
            "how these ended could not be recorded: each counts as an attempt that failed, and runs again"
        );
    }
}

impl<S, R> fmt::Debug for Worker<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("concurrency", &self.concurrency)
            .field("lease", &self.lease)
            .field("poll_interval", &self.poll_interval)
            .field("shutdown_grace", &self.shutdown_grace)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}
