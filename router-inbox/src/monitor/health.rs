//! [`InboxHealth`], a readiness check of an inbox.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use router_core::{
    clock::{Clock, SystemClock},
    health::{Readiness, ReadinessCheck, Reason},
};
use tokio::sync::{Notify, watch};

use super::{BacklogMonitor, CHECK_INTERVAL, Findings, Status, paused, unclaimed::format_seconds};
use crate::{Store, store::StoreErrorKind};

/// The health of an [`Inbox`](crate::Inbox): a readiness check for a
/// [`HealthEndpoint`](router_core::health::HealthEndpoint).
///
/// Each inbox reads its backlog at least every 15 s, and the check reports the latest result.
/// Frequent probes therefore do not load the store. The process is not ready if the store cannot be
/// read, or if due deliveries are not claimed:
///
/// | code | cause |
/// |---|---|
/// | `store_unavailable` | the store cannot be read, or could not store the latest event |
/// | `store_unknown` | no recent result: the store did not answer yet, or the runtime is blocked |
/// | `no_worker` | no worker is running in any process |
/// | `no_known_worker` | this process runs no worker, and the store does not record others |
///
/// The other codes are only warnings, because the deliveries would wait as long if this process got
/// no events:
///
/// | code | warning |
/// |---|---|
/// | `no_worker_with_handler` | due deliveries have handlers of this program that no worker has |
/// | `unknown_handler` | due deliveries have handlers that neither this program nor a worker has |
/// | `backlog` | due deliveries are not claimed in time, although workers have their handlers |
/// | `paused` | an operator has paused handlers, so their deliveries wait |
///
/// [`Inbox::claim_warning`](crate::Inbox::claim_warning) sets the time after which a due delivery
/// counts as not claimed. Cloning is cheap.
#[derive(Clone)]
pub struct InboxHealth(Arc<dyn Source>);

/// A [`BacklogMonitor`] without the type of its store.
trait Source: Send + Sync {
    fn ensure_started(self: Arc<Self>);
    fn clock(&self) -> Arc<dyn Clock>;
    fn status(&self) -> watch::Receiver<Option<Status>>;
    fn refresh(&self) -> &Notify;
    fn max_age(&self) -> Duration;
    fn recent_failed_write(&self) -> Option<StoreErrorKind>;
}

/// Maximum time to wait for a new result if the latest one is missing or too old. It is less than
/// the timeout of a probe, which is often one second.
const REFRESH_TIMEOUT: Duration = Duration::from_millis(500);

/// Tolerance of the age of a result, for a busy machine.
const MARGIN: Duration = Duration::from_secs(5);

impl InboxHealth {
    pub(crate) fn new(monitor: Arc<BacklogMonitor<impl Store>>) -> Self {
        let health = Self(monitor);
        health.0.clone().ensure_started();
        health
    }

    /// Reads the latest result. If it is missing or too old, requests a check and waits for the new
    /// result. Returns `None` if the new result does not arrive in time.
    async fn recent<T>(&self, read: impl FnOnce(&Status) -> T) -> Option<T> {
        let (clock, max_age) = (self.0.clock(), self.0.max_age());
        let is_recent = |status: &Option<Status>| {
            let age =
                |status: &Status| clock.monotonic().saturating_duration_since(status.checked_at);
            status.as_ref().is_some_and(|status| age(status) <= max_age)
        };
        let mut status = self.0.status();
        if !is_recent(&status.borrow()) {
            self.0.clone().ensure_started();
            self.0.refresh().notify_one();
        }
        tokio::select! {
            biased;
            recent = status.wait_for(is_recent) => recent.ok()?.as_ref().map(read),
            () = SystemClock.sleep(REFRESH_TIMEOUT) => None,
        }
    }
}

#[async_trait]
impl ReadinessCheck for InboxHealth {
    async fn check(&self) -> Readiness {
        let readiness = self.recent(|status| match &status.result {
            Err(kind) => unavailable("read", *kind).into(),
            Ok(Findings { unclaimed, paused }) => {
                let mut readiness = Readiness::default();
                readiness
                    .reasons
                    .extend(self.0.recent_failed_write().map(|kind| unavailable("written", kind)));
                for group in unclaimed {
                    let reasons = match group.cause.prevents_readiness() {
                        true => &mut readiness.reasons,
                        false => &mut readiness.warnings,
                    };
                    reasons.push(group.reason());
                }
                readiness.warnings.extend(paused::warning(paused));
                readiness
            }
        });
        readiness.await.unwrap_or_else(|| {
            let age = format_seconds(self.0.max_age());
            let text = format!(
                "the store has not been read in the last {age}: it does not answer, or the runtime \
                 is blocked"
            );
            Reason::new("store_unknown", text).into()
        })
    }
}

fn unavailable(access: &str, kind: StoreErrorKind) -> Reason {
    let advice = kind.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
    let text = format!("the store cannot be {access}: {kind}{advice}; the log has the error");
    Reason::new("store_unavailable", text)
}

impl<S: Store> Source for BacklogMonitor<S> {
    fn ensure_started(self: Arc<Self>) {
        BacklogMonitor::ensure_started(&self);
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.settings.borrow().clock.clone()
    }

    fn status(&self) -> watch::Receiver<Option<Status>> {
        self.status.subscribe()
    }

    fn refresh(&self) -> &Notify {
        &self.refresh
    }

    fn max_age(&self) -> Duration {
        CHECK_INTERVAL + self.store.limit() + MARGIN
    }

    fn recent_failed_write(&self) -> Option<StoreErrorKind> {
        BacklogMonitor::recent_failed_write(self)
    }
}

impl fmt::Debug for InboxHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxHealth").finish_non_exhaustive()
    }
}
