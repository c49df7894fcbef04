//! Warnings about settings that do not fit together, logged when a worker starts.

use super::Worker;
use crate::Store;

impl<S: Store, R> Worker<S, R> {
    /// Logs a warning for each setting that may cause deliveries to fail, or to run twice.
    pub(super) fn log_start_warnings(&self) {
        self.warn_if_lease_is_short();
        self.warn_if_transactions_are_few();
    }

    /// Logs a warning if leases may expire while a handler's transaction blocks their renewal.
    fn warn_if_lease_is_short(&self) {
        let (lease, limit) = (self.lease, self.store.unbounded().blocking_limit());
        if lease < limit * 2 {
            tracing::warn!(
                ?lease,
                transaction_limit = ?limit,
                "the lease is shorter than twice the time for which a handler's transaction can \
                 block all other writes; leases may expire before they can be renewed, so that \
                 handlers run twice; set a longer `Worker::lease`, or a shorter \
                 `transaction_limit`"
            );
        }
    }

    /// Logs a warning if more handlers with a transaction can be in flight than the store has
    /// transactions.
    fn warn_if_transactions_are_few(&self) {
        let Some(transactions) = self.store.unbounded().max_transactions() else { return };
        let handlers = self.router.handlers();
        let takes_transaction = handlers.iter().filter(|handler| handler.takes_per_delivery);
        let limit = takes_transaction.clone().fold(0_usize, |sum, handler| {
            let limit = handler.concurrency.and_then(|limit| limit.try_into().ok());
            sum.saturating_add(limit.unwrap_or(usize::MAX))
        });
        // The slots reserved for the other handlers.
        let others = handlers.len() - takes_transaction.count();
        let in_flight = (self.concurrency - others.min(self.concurrency / 2)).min(limit);
        if in_flight > transactions {
            tracing::warn!(
                in_flight,
                transactions,
                concurrency = self.concurrency,
                "more handlers with a `Tx` can be in flight than the store has transactions, so \
                 that some of them wait in `Tx::begin`; raise the store's `transactions` to \
                 {in_flight}, or lower `Worker::concurrency`"
            );
        }
    }
}
