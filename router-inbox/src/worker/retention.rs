//! Periodic purge of events that are past their retention, and discarding of old dead letters.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use router_core::clock::Clock;

use crate::{
    Store, StoreError,
    bounded::BoundedStore,
    operations::{Change, ChangeOutcome, EventSelector, ListFilter, SelectedDelivery},
    store::DeliveryState,
    telemetry,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The time limits for events in the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    /// The time after which a finished event is purged.
    pub(super) finished: Duration,
    /// The time after which a dead letter is discarded, or `None` for never.
    pub(super) dead_letters: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { finished: DAY * 30, dead_letters: None }
    }
}

const PURGE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Maximum number of events or deliveries per transaction. Other writers wait for the transaction.
const BATCH_SIZE: usize = 100;

/// Pause after each batch, in which other writers have their turn.
const BATCH_PAUSE: Duration = Duration::from_millis(100);

/// Discards dead letters and purges events at the purge interval. Never completes.
pub(super) async fn clean_up_periodically(
    store: &BoundedStore<impl Store>,
    retention: Retention,
    clock: &dyn Clock,
) {
    // Jitter, so that workers started together do not purge together.
    clock.sleep(PURGE_INTERVAL.mul_f64(fastrand::f64())).await;
    loop {
        if let Some(age) = retention.dead_letters
            && let Err(error) = discard(store, age, clock).await
        {
            telemetry::store_failed("failed to discard old dead letters; retrying later", &error);
        }
        match purge(store, retention.finished, clock).await {
            Ok(0) => {}
            Ok(purged) => tracing::info!(purged, "purged events past their retention"),
            Err(error) => {
                telemetry::store_failed("failed to purge the inbox; retrying later", &error);
            }
        }
        clock.sleep(PURGE_INTERVAL).await;
    }
}

/// The numbers of discarded dead letters by handler. Logs them when it is dropped, so that they are
/// logged also if the store fails or the worker is shut down before all are discarded.
#[derive(Default)]
struct Discarded(BTreeMap<Arc<str>, u64>);

impl Drop for Discarded {
    fn drop(&mut self) {
        if self.0.is_empty() {
            return;
        }
        let handlers = self.0.iter().map(|(handler, number)| format!("{handler}: {number}"));
        tracing::warn!(
            discarded = self.0.values().sum::<u64>(),
            handlers = handlers.collect::<Vec<_>>().join(", "),
            "discarded dead letters that died longer ago than `max_dead_letter_age`; they can be \
             retried until their events are purged"
        );
    }
}

/// Discards dead letters in batches.
async fn discard(
    store: &BoundedStore<impl Store>,
    age: Duration,
    clock: &dyn Clock,
) -> Result<(), StoreError> {
    let Some(operations) = store.unbounded().operations() else { return Ok(()) };
    let old = ListFilter {
        states: vec![DeliveryState::Dead],
        min_ended_age: Some(age),
        limit: usize::MAX,
        ..ListFilter::default()
    };
    let select = operations.select_deliveries(&old);
    let old = store.within_limit("select old dead letters", select).await?;
    let mut discarded = Discarded::default();
    for batch in old.chunks(BATCH_SIZE) {
        let change = operations.change(batch, Change::Discard);
        let outcomes = store.within_limit("discard old dead letters", change).await?;
        for (SelectedDelivery { handler, .. }, outcome) in batch.iter().zip(outcomes) {
            if outcome == ChangeOutcome::Applied {
                *discarded.0.entry(handler.clone()).or_default() += 1;
            }
        }
        clock.sleep(BATCH_PAUSE).await;
    }
    Ok(())
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
    for events in store.within_limit("select old events", select).await?.chunks(BATCH_SIZE) {
        let purge = operations.purge(events, older_than);
        purged += store.within_limit("purge old events", purge).await?;
        clock.sleep(BATCH_PAUSE).await;
    }
    Ok(purged)
}
