//! One run of a handler.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use router_core::{BoxError, Delivery, Event, Failure, HandlerReport, HandlerSpec};
use tower_service::Service;

use super::ending;
use crate::{Completed, DeliveryOutcome, Effects, Lease, Store};

/// What is run: the handler of this lease, for this event.
pub(super) struct Run {
    pub(super) lease: Lease,
    pub(super) event: Event,
    pub(super) attempt: u32,
    pub(super) handler: HandlerSpec,
    pub(super) ending: Ending,
}

/// Whether a run is being recorded together with what it did in the store. From then on its lease says nothing: it is
/// no longer held because the delivery has ended.
#[derive(Clone, Default)]
pub(super) struct Ending(Arc<AtomicBool>);

impl Ending {
    pub(super) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// How a run has ended.
pub(super) enum Ended {
    /// So, which is yet to be recorded.
    Unrecorded(DeliveryOutcome),
    /// Together with what it did in the store.
    Recorded(Completed),
}

/// A handler's [`Effects`] took too long.
#[derive(Debug, thiserror::Error)]
#[error(
    "the handler had its transaction open for {}, so it was stopped, and what it wrote is undone: others wait for the \
     store's only writer",
    humantime::format_duration(*.0)
)]
struct Overdue(Duration);

impl Run {
    /// Has the service run the handler, and says what that means for the delivery.
    pub(super) async fn by<R>(self, service: R, store: Arc<impl Store>) -> Ended
    where
        R: Service<Delivery, Response = HandlerReport, Error: Into<BoxError>>,
    {
        let delivery = Delivery::new(self.event.clone(), self.lease.handler.clone(), self.attempt);
        let (delivery, effects) = store.prepare(delivery);
        let end = self.end(service, delivery, effects.as_deref()).await;
        let Some(effects) = effects else { return Ended::Unrecorded(end) };
        self.ending.0.store(true, Ordering::Release);
        match effects.finish(&self.lease, &end).await {
            Ok(None) => Ended::Unrecorded(end),
            Ok(Some(completed)) => Ended::Recorded(completed),
            Err(error) => Ended::Unrecorded(self.failed(&Failure::retry(error))),
        }
    }

    async fn end<R>(
        &self,
        service: R,
        delivery: Delivery,
        effects: Option<&dyn Effects>,
    ) -> DeliveryOutcome
    where
        R: Service<Delivery, Response = HandlerReport, Error: Into<BoxError>>,
    {
        let called = pin!(call(service, delivery));
        let called = match effects {
            None => called.await,
            Some(effects) => tokio::select! {
                biased;
                called = called => called,
                limit = effects.deadline_exceeded() => Err(Failure::retry(Overdue(limit))),
            },
        };
        match called {
            Ok(report) => match report.result() {
                Ok(outcome) => ending::of_outcome(&self.handler.name, outcome),
                Err(failure) => self.failed(failure),
            },
            Err(failure) => self.failed(&failure),
        }
    }

    fn failed(&self, failure: &Failure) -> DeliveryOutcome {
        ending::of_failure(&self.handler, &self.event, self.attempt, failure)
    }
}

/// An error: the handler was not run, since a layer did not let it through.
async fn call<R>(mut service: R, delivery: Delivery) -> Result<HandlerReport, Failure>
where
    R: Service<Delivery, Response = HandlerReport, Error: Into<BoxError>>,
{
    let ready = poll_fn(|context| service.poll_ready(context)).await.map_err(Failure::retry);
    ready?;
    service.call(delivery).await.map_err(Failure::retry)
}
