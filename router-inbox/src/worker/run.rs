//! A single run of a handler.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use router_core::{
    BoxError, Event, Failure,
    delivery::{Delivery, HandlerSpec},
    handler::HandlerReport,
    panic_guard::catch_panic,
};
use tower_service::Service;

use super::outcome;
use crate::{
    Store, StoreError,
    answers::WaitingAnswers,
    bounded::{BoundedStore, LimitExceeded},
    store::{CompleteResult, DeliveryOutcome, Effects, Lease, TraceParent},
    trace,
};

/// An attempt to be run: the claimed delivery, its event and its handler.
pub(super) struct Run {
    /// The lease with which the run began. Its token may be outdated: see `token`.
    pub(super) lease: Lease,
    pub(super) token: FencingToken,
    pub(super) event: Event,
    pub(super) attempt: u32,
    /// The total of the waits for which the handler has asked to run later.
    pub(super) delayed: Duration,
    pub(super) trace_parent: Option<TraceParent>,
    pub(super) handler: HandlerSpec,
    pub(super) completing: CompletionFlag,
    pub(super) answers: Arc<WaitingAnswers>,
}

/// A flag that is set once the run's [`Effects`] are being committed or rolled back.
///
/// From then on a rejected lease renewal does not mean that the lease was lost: the delivery may
/// already be completed. The run must no longer be aborted.
#[derive(Clone, Default)]
pub(super) struct CompletionFlag(Arc<AtomicBool>);

impl CompletionFlag {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The token of the delivery's latest lease, which the worker replaces if it claims the delivery
/// again while the handler is running.
#[derive(Clone)]
pub(super) struct FencingToken(Arc<AtomicI64>);

impl FencingToken {
    pub(super) fn new(token: i64) -> Self {
        Self(Arc::new(AtomicI64::new(token)))
    }

    pub(super) fn set(&self, token: i64) {
        self.0.store(token, Ordering::Release);
    }

    fn get(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The result of a run.
pub(super) enum RunResult {
    /// Finished; the outcome still has to be recorded.
    Unrecorded(DeliveryOutcome),
    /// Finished; the outcome was recorded together with the handler's [`Effects`].
    Recorded(CompleteResult),
    /// The store did not answer when the [`Effects`] were committed, so it is unknown whether they
    /// took effect. Nothing is recorded, because the store may still be committing, which locks the
    /// delivery. If nothing was committed, the delivery is retried when its lease expires.
    Unknown(StoreError),
}

/// The failure of a handler that exceeded the time limit of its [`Effects`].
#[derive(Debug, thiserror::Error)]
#[error(
    "the handler's transaction was open for {}, which is the limit; the handler was stopped and \
     its writes were rolled back, because an open transaction blocks all other writes",
    humantime::format_duration(*.0)
)]
struct DeadlineExceeded(Duration);

impl Run {
    /// Calls the service for the delivery, and commits or rolls back the handler's [`Effects`].
    ///
    /// A panic counts as a failed attempt, whether the handler, a layer or the store panics.
    pub(super) async fn execute<R>(self, service: R, store: BoundedStore<impl Store>) -> RunResult
    where
        R: Service<Delivery, Response = HandlerReport, Error: Into<BoxError>>,
    {
        match catch_panic("the store", self.call_and_finish(service, &store)).await {
            Ok(result) => result,
            Err(panic) => RunResult::Unrecorded(self.failure_outcome(&Failure::retry(panic))),
        }
    }

    async fn call_and_finish<R>(&self, service: R, store: &BoundedStore<impl Store>) -> RunResult
    where
        R: Service<Delivery, Response = HandlerReport, Error: Into<BoxError>>,
    {
        let delivery = Delivery::new(self.event.clone(), self.lease.handler.clone(), self.attempt);
        trace::link(delivery.span(), self.trace_parent.as_ref());
        let (delivery, effects) = store.unbounded().prepare(delivery);
        let outcome = self.call_handler(service, delivery, effects.as_deref()).await;
        let Some(effects) = effects else { return RunResult::Unrecorded(outcome) };
        self.completing.set();
        let lease = Lease { token: self.token.get(), ..self.lease.clone() };
        let finish = effects.finish(&lease, &outcome);
        let finish = store.within_limit("end the handler's transaction", finish);
        let is_success = outcome.is_success();
        let error = match catch_panic("the store", finish).await {
            Ok(Ok(None)) => return RunResult::Unrecorded(outcome),
            Ok(Ok(Some(completed))) => {
                self.answers.wake(&self.handler, &self.lease.event_id);
                return RunResult::Recorded(completed);
            }
            Ok(Err(error)) if is_success && error.is::<LimitExceeded>() => {
                return RunResult::Unknown(error);
            }
            Ok(Err(error)) => Failure::retry(error),
            Err(panic) => Failure::retry(panic),
        };
        if is_success {
            return RunResult::Unrecorded(self.failure_outcome(&error));
        }
        // The outcome is already logged, and does not depend on the rollback.
        tracing::warn!(
            handler = &*self.handler.name, event.id = self.event.id(), %error,
            "failed to roll back the writes of a handler that did not succeed; the database rolls \
             back when the connection is closed"
        );
        RunResult::Unrecorded(outcome)
    }

    async fn call_handler<R>(
        &self,
        service: R,
        delivery: Delivery,
        effects: Option<&dyn Effects>,
    ) -> DeliveryOutcome
    where
        R: Service<Delivery, Response = HandlerReport, Error: Into<BoxError>>,
    {
        let call = pin!(catch_panic("a layer around the router", call_service(service, delivery)));
        let result = match effects {
            None => call.await,
            Some(effects) => tokio::select! {
                biased;
                result = call => result,
                limit = effects.deadline_exceeded() => {
                    Ok(Err(Failure::retry(DeadlineExceeded(limit))))
                }
            },
        };
        let result = result.unwrap_or_else(|panic| Err(Failure::retry(panic)));
        let failure = match &result {
            Ok(report) => match report.result() {
                Ok(success) => {
                    let Self { handler, event, delayed, .. } = self;
                    return outcome::from_success(handler, event, *delayed, report, success);
                }
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        self.failure_outcome(failure)
    }

    fn failure_outcome(&self, failure: &Failure) -> DeliveryOutcome {
        outcome::from_failure(&self.handler, &self.event, self.attempt, failure)
    }
}

/// Calls the service once it is ready.
///
/// # Errors
///
/// Fails if the router cannot run the handler, or if a layer around the router fails. A failure of
/// the handler itself is part of the report.
async fn call_service<R>(mut service: R, delivery: Delivery) -> Result<HandlerReport, Failure>
where
    R: Service<Delivery, Response = HandlerReport, Error: Into<BoxError>>,
{
    let ready = poll_fn(|context| service.poll_ready(context)).await.map_err(Failure::retry);
    ready?;
    service.call(delivery).await.map_err(Failure::retry)
}
