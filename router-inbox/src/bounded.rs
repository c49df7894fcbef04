//! A time limit for each operation on a store.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use router_core::clock::{Clock as _, SystemClock};

use crate::{
    Store, StoreError,
    store::{
        Backlog, Claim, ClaimRequest, CompleteResult, DeliveryOutcome, Lease, NewEvent,
        PausedHandler, Stored, StoredDelivery, WorkerInfo,
    },
};

/// A store whose operations fail if they take longer than a limit.
///
/// The system clock measures the limit, whatever clock the inbox has, because the store answers in
/// real time.
///
/// Without a limit, a server or a disk that stops answering would block the inbox and its workers
/// forever, even if a new connection would work again.
pub(crate) struct BoundedStore<S> {
    store: Arc<S>,
    limit: Duration,
}

/// An operation exceeded its time limit. Its outcome is unknown: it may or may not have been
/// applied.
#[derive(Debug, thiserror::Error)]
#[error(
    "the store did not {operation} within {}: it does not answer, is overloaded, or is blocked by a \
     long-running transaction",
    humantime::format_duration(*.limit)
)]
pub(crate) struct LimitExceeded {
    operation: &'static str,
    limit: Duration,
}

/// Time limit of an operation, unless the store has a long [`Store::blocking_limit`].
pub(crate) const MIN_OPERATION_LIMIT: Duration = Duration::from_secs(10);

impl<S: Store> BoundedStore<S> {
    /// Creates a store whose operations are limited to 10 s, or to twice the
    /// [`blocking_limit`](Store::blocking_limit) if that is more, because an operation may have to
    /// wait for a handler's transaction.
    pub(crate) fn new(store: Arc<S>) -> Self {
        let limit = MIN_OPERATION_LIMIT.max(store.blocking_limit().saturating_mul(2));
        Self { store, limit }
    }

    /// Returns the store without the limit.
    pub(crate) fn unbounded(&self) -> &Arc<S> {
        &self.store
    }

    pub(crate) async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        self.within_limit("store the events", self.store.store(events)).await
    }

    pub(crate) async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        self.within_limit("claim deliveries", self.store.claim(request)).await
    }

    pub(crate) async fn extend(
        &self,
        leases: &[Lease],
        time: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        self.within_limit("renew the leases", self.store.extend(leases, time)).await
    }

    pub(crate) async fn complete(
        &self,
        outcomes: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<CompleteResult>, StoreError> {
        self.within_limit("record the outcomes", self.store.complete(outcomes)).await
    }

    pub(crate) async fn deliveries(
        &self,
        event_id: &str,
    ) -> Result<Vec<StoredDelivery>, StoreError> {
        self.within_limit("read the deliveries", self.store.deliveries(event_id)).await
    }

    pub(crate) async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        self.within_limit("count the deliveries", self.store.backlog()).await
    }

    pub(crate) async fn report_worker(
        &self,
        worker: &WorkerInfo,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        self.within_limit("record the worker", self.store.report_worker(worker, ttl)).await
    }

    pub(crate) async fn workers(&self) -> Result<Option<Vec<WorkerInfo>>, StoreError> {
        self.within_limit("list the workers", self.store.workers()).await
    }

    pub(crate) async fn paused_handlers(&self) -> Result<Vec<PausedHandler>, StoreError> {
        self.within_limit("list the paused handlers", self.store.paused_handlers()).await
    }

    /// Waits for an operation, and drops its future once the limit is exceeded.
    ///
    /// # Errors
    ///
    /// Fails if the operation fails, and with [`LimitExceeded`] if it takes too long.
    pub(crate) async fn within_limit<T>(
        &self,
        operation: &'static str,
        future: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let future = pin!(future);
        tokio::select! {
            biased;
            result = future => result,
            () = SystemClock.sleep(self.limit) => {
                Err(StoreError::busy(LimitExceeded { operation, limit: self.limit }))
            }
        }
    }
}

impl<S> BoundedStore<S> {
    /// Returns the time limit of an operation.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }
}

impl<S> Clone for BoundedStore<S> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), limit: self.limit }
    }
}
