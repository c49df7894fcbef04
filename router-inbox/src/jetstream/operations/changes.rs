//! Retries and discards deliveries.

use std::time::Duration;

use super::{
    super::{
        Connection,
        messages::WriteError,
        open_records::VersionedRecord,
        record::{Delivery, Record},
        writes::{Contended, Replacement},
    },
    show::delivery_order,
};
use crate::{
    DeliveryState, StoreError,
    operations::{ChangeOutcome, ChangeResult},
};

/// Number of times a change is attempted while other processes change the same records.
const MAX_ATTEMPTS: usize = 8;

impl Connection {
    pub(super) async fn retry(
        &self,
        event_id: &str,
        handler: Option<&str>,
    ) -> Result<Vec<ChangeResult>, StoreError> {
        let states = [DeliveryState::Waiting, DeliveryState::Dead, DeliveryState::Discarded];
        self.change_deliveries(event_id, handler, true, &states, |delivery, now| {
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
        let states = [DeliveryState::Waiting, DeliveryState::Dead];
        self.change_deliveries(event_id, handler, false, &states, |delivery, now| {
            (delivery.state, delivery.ended_at) = (DeliveryState::Discarded, Some(now));
        })
        .await
    }

    /// Applies `change` to an event's deliveries that are in one of these states.
    ///
    /// With `only_last`, only the deliveries of each handler's last generation are considered.
    async fn change_deliveries(
        &self,
        event_id: &str,
        handler: Option<&str>,
        only_last: bool,
        states: &[DeliveryState],
        change: impl Fn(&mut Delivery, i64),
    ) -> Result<Vec<ChangeResult>, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let now = self.time.now();
            let records = self.records(&self.events_with_id(event_id).await?).await?;
            let (mut changed, mut replacements) = (Vec::new(), Vec::new());
            for base in &records {
                let mut record = (*base.record).clone();
                for (index, delivery) in record.deliveries.iter_mut().enumerate() {
                    let is_requested = handler.is_none_or(|name| *name == *delivery.handler)
                        && (!only_last || is_last_generation(&records, base, &delivery.handler));
                    if is_requested {
                        let before = base.record.stored_delivery(delivery);
                        let permitted = permitted_change(delivery, states, now);
                        if permitted == ChangeOutcome::Applied {
                            change(delivery, now);
                        }
                        let change = ChangeResult { delivery: before, change: permitted };
                        changed.push((base.record.list_number(index), change));
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
        Err(StoreError::new(Contended))
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

/// Returns [`ChangeOutcome::Applied`] if the delivery may be changed, and otherwise the reason
/// against it.
fn permitted_change(delivery: &Delivery, states: &[DeliveryState], now: i64) -> ChangeOutcome {
    // A delivery whose lease has expired counts as waiting.
    let state = if delivery.is_open() { DeliveryState::Waiting } else { delivery.state };
    if delivery.state == DeliveryState::Running && delivery.due > now {
        ChangeOutcome::StillRunning
    } else if states.contains(&state) {
        ChangeOutcome::Applied
    } else {
        ChangeOutcome::AlreadyFinished
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
