//! What has ended long ago is purged, a little at a time.

use std::time::Duration;

use router_core::{Failure, clock::Clock};

use crate::{Operations, Store, StoreError, operations::EventSelector};

const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) const DEFAULT: Duration = A_DAY.saturating_mul(30);

const EVERY: Duration = Duration::from_secs(60 * 60);

/// So many in one transaction, which others wait for.
const AT_ONCE: usize = 100;

/// How long nobody purges after each.
const PAUSE: Duration = Duration::from_millis(100);

/// Never ends.
pub(super) async fn purge_now_and_then(
    store: &impl Store,
    older_than: Duration,
    clock: &dyn Clock,
) {
    let Some(store) = store.operations() else { return std::future::pending().await };
    // Several that begin together do not purge together.
    clock.sleep(EVERY.mul_f64(fastrand::f64())).await;
    loop {
        match purge(store, older_than, clock).await {
            Ok(0) => {}
            Ok(purged) => tracing::info!(purged, "events that ended long ago were purged"),
            Err(error) => {
                let error = Failure::retry(error);
                tracing::warn!(%error, "the inbox could not be purged; trying again");
            }
        }
        clock.sleep(EVERY).await;
    }
}

async fn purge(
    store: &dyn Operations,
    older_than: Duration,
    clock: &dyn Clock,
) -> Result<u64, StoreError> {
    let selection = EventSelector { until: Some(older_than), ..EventSelector::default() };
    let mut purged = 0;
    for events in store.select(&selection).await?.chunks(AT_ONCE) {
        purged += store.purge(events, older_than).await?;
        clock.sleep(PAUSE).await;
    }
    Ok(purged)
}
