//! Due deliveries that no worker claims, and the likely cause.

use std::{sync::Arc, time::Duration};

use router_core::health::Reason;

use crate::store::WorkerInfo;

/// The handlers whose due deliveries have not been claimed in time, for one cause.
#[derive(Debug, Clone)]
pub(super) struct Unclaimed {
    pub(super) cause: Cause,
    /// The names with which the deliveries were stored.
    pub(super) handlers: Vec<Arc<str>>,
    /// Time since the oldest of these deliveries became due.
    pub(super) oldest_due: Duration,
}

/// The likely cause of unclaimed deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// No worker is running.
    NoWorker,
    /// Workers are running, but none has the handler. This program's router has it.
    NoWorkerWithHandler,
    /// The store does not record workers, and none is running in this process.
    NoKnownWorker,
    /// Neither a running worker nor this program's router has the handler.
    UnknownHandler,
    /// Workers with the handler are running, but do not keep up.
    Behind,
}

impl Cause {
    /// Determines the cause for a handler.
    ///
    /// `workers` are the workers in the store, if it records them. A worker of this process that
    /// has just started is not among them, so `local_workers` is the number of running workers in
    /// this process. `is_ours` states whether the local workers have the handler.
    pub(super) fn new(
        handler: &str,
        is_ours: bool,
        workers: Option<&[WorkerInfo]>,
        local_workers: usize,
    ) -> Self {
        let is_local = is_ours && local_workers > 0;
        if is_local || is_recorded(workers, handler) {
            return Self::Behind;
        }
        match workers {
            _ if !is_ours => Self::UnknownHandler,
            None => Self::NoKnownWorker,
            Some([]) => Self::NoWorker,
            Some(_) => Self::NoWorkerWithHandler,
        }
    }

    /// Returns whether the process is not ready for this cause.
    ///
    /// If workers are behind or a handler is unknown, the process stays ready: without its events,
    /// the workers would not be faster, and the handler would still be unknown.
    pub(super) fn prevents_readiness(self) -> bool {
        match self {
            Self::NoWorker | Self::NoKnownWorker => true,
            Self::NoWorkerWithHandler | Self::UnknownHandler | Self::Behind => false,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::NoWorker => "no_worker",
            Self::NoWorkerWithHandler => "no_worker_with_handler",
            Self::NoKnownWorker => "no_known_worker",
            Self::UnknownHandler => "unknown_handler",
            Self::Behind => "backlog",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NoWorker => {
                "due deliveries are not claimed, because no worker is running in any process; run \
                 one with `inbox.worker(router).run(shutdown)`"
            }
            Self::NoWorkerWithHandler => {
                "due deliveries are not claimed, because no running worker has their handlers; run \
                 a worker of this program, which has them: `inbox.worker(router).run(shutdown)`"
            }
            Self::NoKnownWorker => {
                "due deliveries are not claimed: no worker is running, or none has their handlers; \
                 this process runs none, and the store does not record those of other processes; \
                 run one with `inbox.worker(router).run(shutdown)`"
            }
            Self::UnknownHandler => {
                "due deliveries are not claimed, because neither a running worker nor this program \
                 has their handlers; start a worker of the program that has them; if a handler was \
                 renamed, add `formerly = \"…\"` with its former name; if it was removed, \
                 `event-router inbox list --handler NAME` shows the deliveries to discard"
            }
            Self::Behind => {
                "due deliveries are not claimed in time, although workers with their handlers are \
                 running: all slots are occupied, or a handler hangs; look for timeouts in the log, \
                 run more workers, or raise `Worker::concurrency`"
            }
        }
    }
}

impl Unclaimed {
    pub(super) fn new(cause: Cause) -> Self {
        Self { cause, handlers: Vec::new(), oldest_due: Duration::ZERO }
    }

    pub(super) fn add(&mut self, handler: &Arc<str>, oldest_due: Duration) {
        self.handlers.push(handler.clone());
        self.oldest_due = self.oldest_due.max(oldest_due);
    }

    /// Logs a warning that states the cause and the remedy.
    pub(super) fn warn(&self) {
        tracing::warn!(
            handlers = self.handlers.join(", "),
            oldest_due = %format_seconds(self.oldest_due),
            "{}",
            self.cause.text()
        );
    }

    pub(super) fn reason(&self) -> Reason {
        let (text, due) = (self.cause.text(), format_seconds(self.oldest_due));
        let reason = Reason::new(self.cause.code(), format!("{text} (due for {due})"));
        reason.handlers(self.handlers.iter().map(|handler| &**handler))
    }
}

/// Returns whether the store records a running worker that has the handler.
pub(super) fn is_recorded(workers: Option<&[WorkerInfo]>, handler: &str) -> bool {
    workers.unwrap_or_default().iter().any(|worker| worker.has_handler(handler))
}

/// Formats a duration in whole seconds.
pub(super) fn format_seconds(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs()))
}
