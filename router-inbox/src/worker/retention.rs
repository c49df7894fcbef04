//! Periodic purge of events that are past their retention.

use std::time::Duration;

use router_core::clock::Clock;

use crate::{Store, StoreError, bounded::BoundedStore, operations::EventSelector, telemetry};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) const DEFAULT_RETENTION: Duration = DAY.saturating_mul(30);

const PURGE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Maximum number of events per transaction. Other writers wait for the transaction.
const PURGE_BATCH: usize = 100;

/// Pause after each batch, in which other writers have their turn.
const BATCH_PAUSE: Duration = Duration::from_millis(100);

/// Purges events at the purge interval. Never completes.
pub(super) async fn purge_periodically(
    store: &BoundedStore<impl Store>,
    older_than: Duration,
    clock: &dyn Clock,
) {
    // Jitter, so that workers started together do not purge together.
    clock.sleep(PURGE_INTERVAL.mul_f64(fastrand::f64())).await;
    loop {
        match purge(store, older_than, clock).await {
            Ok(0) => {}
            Ok(purged) => tracing::info!(purged, "purged events past their retention"),
            Err(error) => {
                telemetry::store_failed("failed to purge the inbox; retrying later", &error);
            }
        }
        clock.sleep(PURGE_INTERVAL).await;
    }
}

/// Purges in batches, and returns the number of deleted events.
async fn purge(
    store: &BoundedStore<impl Store>,
    older_than: Duration,
    clock: &dyn Clock,
) -> Result<u64, StoreError> {
    let Some(operations) = store.unbounded().operations() else { return Ok(0) };
    let selection = EventSelector { min_age: Some(older_than), ..EventSelector::default() };
    let mut purged = 0;
    let select = operations.select(&selection);
    for events in store.within_limit("select old events", select).await?.chunks(PURGE_BATCH) {
        let purge = operations.purge(events, older_than);
        purged += store.within_limit("purge old events", purge).await?;
        clock.sleep(BATCH_PAUSE).await;
    }
    Ok(purged)
}
