//! The record in the store that a worker is running.

use std::sync::Arc;

use super::Worker;
use crate::{Store, store::WorkerInfo, telemetry};

impl<S: Store, R> Worker<S, R> {
    /// Records this worker in the store at each heartbeat of its loop. Never completes.
    ///
    /// This is no part of the loop, so that it delays no claim if the store is slow. If the loop
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

/// Returns a name that no other worker has: the host, the process and a random number.
pub(super) fn unique_name() -> Arc<str> {
    let host = std::env::var("HOSTNAME").ok().filter(|host| !host.is_empty());
    let (host, process) = (host.as_deref().unwrap_or("worker"), std::process::id());
    format!("{host}-{process}-{:08x}", fastrand::u32(..)).into()
}
