//! Reports on the attempts of handlers, collected by a service around the router.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use router_core::{
    Outcome,
    delivery::{Delivery, DeliveryRouter},
    handler::HandlerReport,
    routing::RouterError,
};
use tokio::sync::mpsc;
use tower_service::Service;

use crate::worker::Consequence;

/// A report on one attempt of a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptReport {
    /// The handler's stable name.
    pub handler: Arc<str>,
    /// The event's id.
    pub event_id: String,
    /// The number of the attempt. It starts at 1, and again at 1 if a dead letter starts over.
    pub attempt: u32,
    /// The outcome as one word:
    ///
    /// - `done`, `ignored`: the handler succeeded.
    /// - `later`: the handler asked to run later. The attempt is not counted. At the maximum delay,
    ///   the stored delivery is a dead letter nevertheless.
    /// - `retry`: the handler failed and is retried.
    /// - `dead`: the handler failed permanently, or in its last attempt.
    /// - `released`: the handler could not begin its `Tx`. The attempt is not counted.
    /// - `aborted`: the attempt did not finish, because its worker or its lease was lost, or
    ///   because its `Tx` was open for too long.
    ///
    /// If the handler is `done` and its `Tx` then fails to commit, the handler is retried. The
    /// stored delivery has the error of the commit.
    pub outcome: &'static str,
    /// The message of the failure, or the reason to run later.
    pub error: Option<String>,
}

/// The reports of all attempts, in the order in which the attempts ended. Clones share the log.
#[derive(Debug, Clone, Default)]
pub(super) struct AttemptLog(Arc<Mutex<Vec<AttemptReport>>>);

impl AttemptLog {
    pub(super) fn of_handler(&self, name: &str) -> Vec<AttemptReport> {
        self.lock().iter().filter(|report| &*report.handler == name).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<AttemptReport>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A router that reports each attempt.
#[derive(Debug, Clone)]
pub(super) struct ReportingRouter {
    pub(super) router: DeliveryRouter,
    pub(super) log: AttemptLog,
    pub(super) crash: Option<Crash>,
}

/// A simulated crash of the process after a handler has returned and before its outcome is
/// committed.
#[derive(Debug, Clone)]
pub(super) struct Crash {
    pub(super) handler: Arc<str>,
    /// Notified when the handler has ended. Each attempt holds a sender until it is dropped.
    pub(super) reached: mpsc::Sender<()>,
}

impl Service<Delivery> for ReportingRouter {
    type Response = HandlerReport;
    type Error = RouterError;
    type Future = Pin<Box<dyn Future<Output = Result<HandlerReport, RouterError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RouterError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let mut running = RunningAttempt::new(self, &delivery);
        let call = self.router.call(delivery);
        Box::pin(async move {
            let result = call.await;
            if let Some(crash) = running.crash() {
                // The channel is full if another attempt has reached the crash.
                let _ = crash.reached.try_send(());
                return std::future::pending().await;
            }
            running.finish(&result);
            result
        })
    }
}

/// An attempt that adds its report to the log when it is dropped, so that a lost worker does not
/// lose the report.
struct RunningAttempt {
    report: AttemptReport,
    service: ReportingRouter,
}

impl RunningAttempt {
    fn new(service: &ReportingRouter, delivery: &Delivery) -> Self {
        let handler = service.router.handler(delivery.handler());
        let report = AttemptReport {
            // A delivery may be stored under the former name.
            handler: handler.map_or_else(|| delivery.handler().into(), |spec| spec.name.clone()),
            event_id: delivery.event().id().to_owned(),
            attempt: delivery.attempt(),
            outcome: "aborted",
            error: None,
        };
        Self { report, service: service.clone() }
    }

    /// Returns the crash, if the process must crash in this attempt.
    fn crash(&self) -> Option<&Crash> {
        self.service.crash.as_ref().filter(|crash| crash.handler == self.report.handler)
    }

    fn finish(&mut self, result: &Result<HandlerReport, RouterError>) {
        let failure = match result {
            Ok(report) => match report.result() {
                Ok(success) => {
                    self.report.outcome = report.outcome();
                    if let Outcome::Later(later) = success {
                        self.report.error = later.reason().map(str::to_owned);
                    }
                    return;
                }
                Err(failure) => failure,
            },
            Err(error) => {
                self.report.outcome = "retry";
                return self.report.error = Some(error.to_string());
            }
        };
        let handler = self.service.router.handler(&self.report.handler);
        let retry = handler.map(|handler| handler.retry).unwrap_or_default();
        self.report.error = Some(failure.to_string());
        self.report.outcome = match Consequence::new(&retry, self.report.attempt, failure) {
            Consequence::Release => "released",
            Consequence::Retry(_) => "retry",
            Consequence::LastAttempt | Consequence::Permanent => "dead",
        };
    }
}

impl Drop for RunningAttempt {
    fn drop(&mut self) {
        self.service.log.lock().push(self.report.clone());
    }
}
