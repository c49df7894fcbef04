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

use router_core::{BoxError, Delivery, Event, Failure, HandlerReport, HandlerSpec};
use tower_service::Service;

use super::outcome;
use crate::{CompleteResult, DeliveryOutcome, Effects, Lease, Store};

/// An attempt to be run: the claimed delivery, its event and its handler.
pub(super) struct Run {
    /// The lease with which the run began.
    pub(super) lease: Lease,
    pub(super) token: FencingToken,
    pub(super) event: Event,
    pub(super) attempt: u32,
    pub(super) handler: HandlerSpec,
    pub(super) completing: CompletionFlag,
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
    pub(super) async fn execute<R>(self, service: R, store: Arc<impl Store>) -> RunResult
    where
        R: Service<Delivery, Response = HandlerReport, Error: Into<BoxError>>,
    {
        let delivery = Delivery::new(self.event.clone(), self.lease.handler.clone(), self.attempt);
        let (delivery, effects) = store.prepare(delivery);
        let outcome = self.call_handler(service, delivery, effects.as_deref()).await;
        let Some(effects) = effects else { return RunResult::Unrecorded(outcome) };
        self.completing.set();
        let lease = Lease { token: self.token.get(), ..self.lease.clone() };
        match effects.finish(&lease, &outcome).await {
            Ok(None) => RunResult::Unrecorded(outcome),
            Ok(Some(completed)) => RunResult::Recorded(completed),
            Err(error) => RunResult::Unrecorded(self.failure_outcome(&Failure::retry(error))),
        }
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
        let call = pin!(call_service(service, delivery));
        let result = match effects {
            None => call.await,
            Some(effects) => tokio::select! {
                biased;
                result = call => result,
                limit = effects.deadline_exceeded() => Err(Failure::retry(DeadlineExceeded(limit))),
            },
        };
        match result {
            Ok(report) => match report.result() {
                Ok(success) => outcome::from_success(&self.handler.name, success),
                Err(failure) => self.failure_outcome(failure),
            },
            Err(failure) => self.failure_outcome(&failure),
        }
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
