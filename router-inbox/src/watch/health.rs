//! [`InboxHealth`], a readiness check of an inbox.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use router_core::{
    clock::{Clock, SystemClock},
    health::{Readiness, ReadinessCheck, Reason},
};
use tokio::sync::{Notify, watch};

use super::{CHECK_INTERVAL, Status, Watch, unclaimed::in_seconds};
use crate::{Store, store::StoreErrorKind};

/// The health of an [`Inbox`](crate::Inbox): a readiness check for a
/// [`HealthEndpoint`](router_core::health::HealthEndpoint).
///
/// The check reports the result of the inbox's own watch, which reads the backlog every 15 s. It
/// thus costs nothing, however often it is called. The process is not ready if:
///
/// | code | reason |
/// |---|---|
/// | `store_unavailable` | the store cannot be reached or fails |
/// | `store_unknown` | there is no recent result, because the runtime is blocked |
/// | `no_worker` | due deliveries are not claimed, and no worker is running in any process |
/// | `no_worker_with_handler` | the same, and no running worker has their handlers |
/// | `no_known_worker` | the same; the store records no workers, and this process runs none |
///
/// These are only warnings, because the process can still store events for other processes:
///
/// | code | warning about due deliveries |
/// |---|---|
/// | `unknown_handler` | neither this program nor a running worker has their handlers |
/// | `backlog` | they are not claimed in time, although workers with their handlers are running |
///
/// [`Inbox::claim_warning`](crate::Inbox::claim_warning) sets the time after which a due delivery
/// counts as not claimed. Cloning is cheap.
#[derive(Clone)]
pub struct InboxHealth(Arc<dyn Source>);

/// A [`Watch`] without the type of its store.
trait Source: Send + Sync {
    fn ensure_started(self: Arc<Self>);
    fn clock(&self) -> Arc<dyn Clock>;
    fn status(&self) -> watch::Receiver<Option<Status>>;
    fn refresh(&self) -> &Notify;
    fn max_age(&self) -> Duration;
}

/// Maximum time to wait for a result if there is none, or an old one. Probes often wait for one
/// second only.
const REFRESH_TIMEOUT: Duration = Duration::from_millis(500);

/// Tolerance for a busy machine.
const MARGIN: Duration = Duration::from_secs(5);

impl InboxHealth {
    pub(crate) fn new(watch: Arc<Watch<impl Store>>) -> Self {
        let health = Self(watch);
        health.0.clone().ensure_started();
        health
    }

    /// Waits for a result that is not too old, if there is none. Returns `None` if none arrives.
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
            Err(kind) => unavailable(*kind).into(),
            Ok(unclaimed) => {
                let mut readiness = Readiness::default();
                for group in unclaimed {
                    let reasons = match group.cause.prevents_readiness() {
                        true => &mut readiness.reasons,
                        false => &mut readiness.warnings,
                    };
                    reasons.push(group.reason());
                }
                readiness
            }
        });
        readiness.await.unwrap_or_else(|| {
            let age = in_seconds(self.0.max_age());
            let text = format!("the state of the store has not been read for {age} or longer");
            Reason::new("store_unknown", text).into()
        })
    }
}

fn unavailable(kind: StoreErrorKind) -> Reason {
    let advice = kind.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
    let text = format!("the store cannot be read: {kind}{advice}; the log has the error");
    Reason::new("store_unavailable", text)
}

impl<S: Store> Source for Watch<S> {
    fn ensure_started(self: Arc<Self>) {
        Watch::ensure_started(&self);
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
}

impl fmt::Debug for InboxHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxHealth").finish_non_exhaustive()
    }
}
