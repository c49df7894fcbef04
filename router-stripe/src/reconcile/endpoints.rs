//! Checks the names of endpoints given to [`Reconcile`].
//!
//! With a wrong name, a missed event would be stored as another event than its webhook, and all
//! handlers would run twice.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use router_inbox::{Store, StoreError, operations::ListFilter, store::Operations};

use super::{Reconcile, ReconcileError};

/// Maximum number of recent deliveries, and of unhandled events, whose endpoints are compared.
const MAX_RECENT: usize = 1_000;

impl<S: Store> Reconcile<S> {
    /// Compares the names with the endpoints of the router, if it knows them, or else with those of
    /// the events that are stored.
    ///
    /// An empty store refuses no name. Once all names were found, this process does not look them
    /// up again.
    pub(super) async fn check_endpoints(
        &self,
        operations: &dyn Operations,
    ) -> Result<(), ReconcileError> {
        let optional = [&self.thin_endpoint, &self.connect_endpoint];
        let names = || optional.into_iter().flatten().chain([&self.endpoint]);
        if let Some(known) = self.inbox.router().endpoints() {
            return names().find(|name| !known.contains(*name)).map_or(Ok(()), |endpoint| {
                let (endpoint, known) = (endpoint.clone(), known.iter().cloned().collect());
                Err(ReconcileError::UnknownEndpoint { endpoint, known })
            });
        }
        if self.endpoints_checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let stored = stored_endpoints(operations).await?;
        if stored.is_empty() {
            return Ok(());
        }
        if let Some(endpoint) = names().find(|name| !stored.contains(*name)) {
            let (endpoint, stored) = (endpoint.clone(), stored.into_iter().collect());
            return Err(ReconcileError::UnseenEndpoint { endpoint, stored });
        }
        self.endpoints_checked.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Returns the endpoints of the events that were stored last.
async fn stored_endpoints(operations: &dyn Operations) -> Result<BTreeSet<String>, StoreError> {
    let mut endpoints = BTreeSet::new();
    for unhandled in [false, true] {
        let filter = ListFilter { unhandled, limit: MAX_RECENT, ..ListFilter::default() };
        let entries = operations.list(&filter).await?;
        endpoints.extend(entries.into_iter().map(|entry| entry.event.endpoint));
    }
    Ok(endpoints)
}
