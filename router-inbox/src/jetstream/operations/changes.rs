//! Retries and discards deliveries.

use std::time::Duration;

use super::{
    super::{
        Connection,
        messages::WriteError,
        open_records::VersionedRecord,
        record::{Delivery, Record},
        writes::{Contended, MAX_ATTEMPTS, Replacement},
    },
    show::delivery_order,
};
use crate::{
    StoreError,
    operations::{Change, ChangeOutcome, ChangeResult},
    store::DeliveryState,
};

impl Connection {
    pub(super) async fn retry(
        &self,
        event_id: &str,
        handler: Option<&str>,
    ) -> Result<Vec<ChangeResult>, StoreError> {
        self.change_deliveries(event_id, handler, Change::Retry, |delivery, now| {
            if delivery.is_open() {
                // A delivery that is already due keeps its place in the queue.
                delivery.schedule(delivery.due.min(now), Duration::ZERO);
                delivery.state = DeliveryState::Waiting;
            } else {
                delivery.restart(now);
            }
        })
        .await
    }

    pub(super) async fn discard(
        &self,
        event_id: &str,
        handler: Option<&str>,
    ) -> Result<Vec<ChangeResult>, StoreError> {
        self.change_deliveries(event_id, handler, Change::Discard, |delivery, now| {
            (delivery.state, delivery.ended_at) = (DeliveryState::Discarded, Some(now));
        })
        .await
    }

    /// Makes a change with `apply` to the deliveries of an event that permit the change. Of each
    /// handler, only the delivery of the last generation is retried.
    async fn change_deliveries(
        &self,
        event_id: &str,
        handler: Option<&str>,
        change: Change,
        apply: impl Fn(&mut Delivery, i64),
    ) -> Result<Vec<ChangeResult>, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let now = self.time.now();
            let records = self.records(&self.events_with_id(event_id).await?).await?;
            let (mut changed, mut replacements) = (Vec::new(), Vec::new());
            for base in &records {
                let mut record = (*base.record).clone();
                for (index, delivery) in record.deliveries.iter_mut().enumerate() {
                    let is_requested = handler.is_none_or(|name| *name == *delivery.handler)
                        && (change == Change::Discard
                            || is_last_generation(&records, base, &delivery.handler));
                    if is_requested {
                        let before = base.record.stored_delivery(delivery);
                        let outcome = change.outcome(delivery.state, delivery.due > now);
                        if outcome == ChangeOutcome::Applied {
                            delivery.abandon(now);
                            apply(delivery, now);
                        }
                        let result = ChangeResult { delivery: before, change: outcome };
                        changed.push((base.record.list_number(index), result));
                    }
                }
                if record != *base.record {
                    replacements.push(Replacement::new(base.clone(), record));
                }
            }
            match self.replace_and_clean_up(&replacements).await {
                Ok(()) => {
                    changed.sort_by_cached_key(|(number, result)| {
                        delivery_order(*number, &result.delivery)
                    });
                    return Ok(changed.into_iter().map(|(_, result)| result).collect());
                }
                Err(WriteError::Failed(error)) => return Err(error),
                Err(WriteError::Conflict) => {}
            }
        }
        Err(StoreError::busy(Contended))
    }

    /// Replaces records, and deletes the tombstones that would be counted as records.
    async fn replace_and_clean_up(&self, replacements: &[Replacement]) -> Result<(), WriteError> {
        if replacements.is_empty() {
            return Ok(());
        }
        let tombstones = self.replace(replacements).await?;
        self.delete_tombstones(tombstones).await;
        Ok(())
    }
}

/// Returns whether no later generation of the event has a delivery for this handler.
fn is_last_generation(records: &[VersionedRecord], base: &VersionedRecord, handler: &str) -> bool {
    let meta = &base.record.meta;
    let is_later =
        |other: &Record| other.meta.is_same_event(meta) && other.meta.generation > meta.generation;
    let has_handler =
        |other: &Record| other.deliveries.iter().any(|delivery| *delivery.handler == *handler);
    !records.iter().any(|other| is_later(&other.record) && has_handler(&other.record))
}
