//! Retries and discards deliveries.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::try_join_all;

use super::{
    super::{
        Connection,
        messages::{self, WriteError},
        open_records::VersionedRecord,
        record::{Delivery, Record},
        writes::{Contended, MAX_ATTEMPTS, Replacement},
    },
    EVENTS_PER_READ,
};
use crate::{
    StoreError,
    operations::{Change, ChangeOutcome, CurrentDelivery, SelectedDelivery},
    store::DeliveryState,
};

/// The outcomes for the selected deliveries of one event id, by index in the call, and the changes
/// to the records.
#[derive(Default)]
struct Plan {
    outcomes: Vec<(usize, ChangeOutcome)>,
    replacements: Vec<Replacement>,
}

impl Connection {
    pub(super) async fn change(
        &self,
        selected: &[SelectedDelivery],
        change: Change,
    ) -> Result<Vec<ChangeOutcome>, StoreError> {
        let mut by_event = BTreeMap::<&str, Vec<usize>>::new();
        for (index, delivery) in selected.iter().enumerate() {
            by_event.entry(&delivery.event_id).or_default().push(index);
        }
        let mut outcomes = vec![ChangeOutcome::NotFound; selected.len()];
        let events: Vec<_> = by_event.into_iter().collect();
        for events in events.chunks(EVENTS_PER_READ) {
            for (index, outcome) in self.change_events(events, selected, change).await? {
                outcomes[index] = outcome;
            }
        }
        Ok(outcomes)
    }

    /// Changes the selected deliveries of these events: their ids, each with the indexes of its
    /// deliveries. Returns the outcomes by index.
    async fn change_events(
        &self,
        events: &[(&str, Vec<usize>)],
        selected: &[SelectedDelivery],
        change: Change,
    ) -> Result<Vec<(usize, ChangeOutcome)>, StoreError> {
        let mut outcomes = Vec::new();
        let mut remaining: Vec<_> = events.iter().collect();
        for _ in 0..MAX_ATTEMPTS {
            let plans = std::mem::take(&mut remaining).into_iter().map(async |event| {
                let plan = self.plan_change(event, selected, change).await?;
                Ok::<_, StoreError>((event, plan))
            });
            let plans = try_join_all(plans).await?;
            let messages = |(_, plan): &(_, Plan)| 2 * plan.replacements.len();
            for batch in messages::batches(&plans, messages) {
                match self
                    .write_changes(batch.iter().flat_map(|(_, plan)| &plan.replacements))
                    .await
                {
                    Ok(()) => outcomes.extend(batch.iter().flat_map(|(_, plan)| &plan.outcomes)),
                    Err(WriteError::Failed(error)) => return Err(error),
                    Err(WriteError::Conflict) => {
                        remaining.extend(batch.iter().map(|(event, _)| *event));
                    }
                }
            }
            if remaining.is_empty() {
                return Ok(outcomes);
            }
        }
        Err(StoreError::busy(Contended))
    }

    /// Plans the change of an event's selected deliveries.
    async fn plan_change(
        &self,
        (event_id, indexes): &(&str, Vec<usize>),
        selected: &[SelectedDelivery],
        change: Change,
    ) -> Result<Plan, StoreError> {
        let now = self.time.now();
        let records = self.records_with_id(event_id).await?.records;
        let mut plan = Plan::default();
        for base in &records {
            let mut record = (*base.record).clone();
            for index in indexes {
                let selected = &selected[*index];
                let is_selected = |(position, delivery): &(usize, &Delivery)| {
                    base.record.list_number(*position) == selected.number
                        && delivery.handler == selected.handler
                };
                let found = base.record.deliveries.iter().enumerate().find(is_selected);
                let Some((position, delivery)) = found else { continue };
                let current = CurrentDelivery {
                    state: delivery.state,
                    token: delivery.token,
                    is_leased: delivery.state == DeliveryState::Running && delivery.due > now,
                    is_superseded: !is_last_generation(&records, base, &delivery.handler),
                    is_erased: base.record.meta.is_erased(),
                };
                let outcome = change.outcome(selected, current);
                if outcome == ChangeOutcome::Applied {
                    apply(change, &mut record.deliveries[position], now);
                }
                plan.outcomes.push((*index, outcome));
            }
            if record != *base.record {
                plan.replacements.push(Replacement::new(base.clone(), record));
            }
        }
        Ok(plan)
    }

    /// Replaces records in one atomic batch, and deletes the tombstones that would be counted as
    /// records.
    async fn write_changes(
        &self,
        replacements: impl Iterator<Item = &Replacement> + Send,
    ) -> Result<(), WriteError> {
        let replacements: Vec<_> = replacements.collect();
        if replacements.is_empty() {
            return Ok(());
        }
        let tombstones = self.replace(&replacements).await?;
        self.delete_tombstones(tombstones).await;
        Ok(())
    }
}

fn apply(change: Change, delivery: &mut Delivery, now: i64) {
    delivery.abandon(now);
    match change {
        // A delivery that is already due keeps its place in the queue.
        Change::Retry if delivery.is_open() => {
            delivery.schedule(delivery.due.min(now), Duration::ZERO);
            delivery.state = DeliveryState::Waiting;
        }
        Change::Retry => delivery.restart(now),
        Change::Discard => {
            (delivery.state, delivery.ended_at) = (DeliveryState::Discarded, Some(now));
        }
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
