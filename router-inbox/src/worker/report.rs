//! Records in the store that a worker is running.

use std::sync::Arc;

use super::Worker;
use crate::{Store, store::WorkerInfo, telemetry};

impl<S: Store, R> Worker<S, R> {
    /// Records this worker in the store at each heartbeat of its loop. Never completes.
    ///
    /// Runs concurrently with the loop, so that a slow report does not delay claims. If the loop
    /// stalls, there is no heartbeat, and the record expires.
    pub(super) fn report_heartbeats(&self) -> impl Future<Output = ()> + use<S, R> {
        let (store, info) = (self.store.clone(), self.info());
        let (heartbeat, lease) = (self.heartbeat.clone(), self.lease);
        async move {
            let mut is_failing = false;
            loop {
                heartbeat.notified().await;
                let result = store.report_worker(&info, lease).await;
                if let Err(error) = &result
                    && !is_failing
                {
                    let failure = "failed to record in the store that this worker is running; \
                                   other processes may report that it is missing; retrying";
                    telemetry::store_failed(failure, error);
                }
                is_failing = result.is_err();
            }
        }
    }

    /// Returns the worker's name and the names of its handlers.
    pub(super) fn info(&self) -> WorkerInfo {
        let names = self.router.handlers().iter().flat_map(|handler| {
            handler.formerly.into_iter().map(Arc::from).chain([handler.name.clone()])
        });
        WorkerInfo::new(self.name.clone(), names)
    }
}

/// Returns a name that no other worker has. The given part is shortened, because an index entry of
/// a database has a maximum size.
pub(super) fn unique_name(name: &str) -> Arc<str> {
    let (name, process) = (name.chars().take(64).collect::<String>(), std::process::id());
    format!("{name}-{process}-{:08x}", fastrand::u32(..)).into()
}

/// Returns the beginning of a worker's name, if the application sets none.
pub(super) fn default_name() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|host| !host.is_empty());
    host.unwrap_or_else(|| "worker".to_owned())
}
