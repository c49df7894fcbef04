//! Replays events: stores each in a new generation.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::future::try_join_all;
use router_core::{Event, delivery::DeliveryOrder};

use super::{
    super::{
        Connection,
        claims::stored_event,
        lookup::EventsWithRecords,
        messages::{Message, WriteError},
        open_records::VersionedRecord,
        record::{CopyRef, Record},
        redeliver::latest_delivery,
        writes::{Contended, MAX_ATTEMPTS, Replacement},
    },
    distinct_prefix,
};
use crate::{
    StoreError,
    operations::ReplayResult,
    store::{DeliveryState, NewDelivery, NewEvent},
};

/// Number of events that are replayed in one atomic batch. Each takes two messages, and up to two
/// for each earlier generation.
const EVENTS_PER_BATCH: usize = 100;

/// The result of an event's replay, and the messages to write for it.
#[derive(Default)]
struct Plan {
    replayed: Option<ReplayResult>,
    /// The new generation's record.
    new: Option<Record>,
    /// The two messages of the new generation.
    messages: Vec<Message>,
    /// Changes to the records of earlier generations.
    replacements: Vec<Replacement>,
}

impl Connection {
    pub(super) async fn replay(
        &self,
        events: &[i64],
        handlers: &[Arc<str>],
    ) -> Result<Vec<ReplayResult>, StoreError> {
        let orders = self.read_handlers().await?;
        let mut replayed = Vec::new();
        let mut remaining = events;
        while !remaining.is_empty() {
            let (batch, rest) =
                remaining.split_at(distinct_prefix(remaining).min(EVENTS_PER_BATCH));
            replayed.extend(self.replay_batch(batch, handlers, &orders).await?);
            remaining = rest;
        }
        Ok(replayed)
    }

    async fn replay_batch(
        &self,
        events: &[i64],
        handlers: &[Arc<str>],
        orders: &BTreeMap<Arc<str>, Option<DeliveryOrder>>,
    ) -> Result<Vec<ReplayResult>, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let plans = events.iter().map(|number| self.plan(*number, handlers, orders));
            let plans = try_join_all(plans).await?;
            match self.write_plans(&plans).await {
                Ok(()) => return Ok(plans.into_iter().filter_map(|plan| plan.replayed).collect()),
                Err(WriteError::Failed(error)) => return Err(error),
                Err(WriteError::Conflict) => {}
            }
        }
        Err(StoreError::busy(Contended))
    }

    async fn plan(
        &self,
        number: i64,
        requested: &[Arc<str>],
        orders: &BTreeMap<Arc<str>, Option<DeliveryOrder>>,
    ) -> Result<Plan, StoreError> {
        let nothing_to_write = |replayed| Plan { replayed: Some(replayed), ..Plan::default() };
        let Some(meta) = self.event_by_number(number).await? else {
            return Ok(nothing_to_write(ReplayResult::NotFound));
        };
        let EventsWithRecords { payloads, records } = self.records_of(&meta).await?;
        let Some(last) = payloads.last() else {
            return Ok(nothing_to_write(ReplayResult::NotFound));
        };
        let event_id = last.meta.id.clone();
        if records.iter().any(|base| base.record.meta.is_erased()) {
            return Ok(nothing_to_write(ReplayResult::Erased { event_id }));
        }
        let mut meta = last.meta.clone();
        meta.generation = meta.generation.saturating_add(1);
        let generation = meta.generation;
        let Ok(event) = Event::from_store(stored_event(&meta, last.payload.clone())) else {
            return Ok(nothing_to_write(ReplayResult::Damaged { event_id }));
        };
        let handlers = handlers_to_replay(requested, &records, last.meta.generation);
        if handlers.is_empty() {
            return Ok(nothing_to_write(ReplayResult::NoHandler { event_id }));
        }
        let delivery = |handler: &Arc<str>| NewDelivery {
            handler: handler.clone(),
            formerly: None,
            order: orders.get(handler).copied().flatten(),
        };
        let now = self.time.now();
        let deliveries = handlers.iter().map(delivery).collect();
        let mut record = Record::new(&NewEvent::new(event.clone(), deliveries), now);
        for delivery in &mut record.deliveries {
            delivery.copy = latest_copy(&records, &delivery.handler);
        }
        let subject = self.subjects.event(&record.meta);
        let payload = event.payload().clone();
        let message = Message::event(subject, &record.meta, payload)?.expect_revision(0);
        // An erasure replaces the payload. A payload that was read before must not be written.
        let record_message = Message::record(self.subjects.record(&record), &record)?
            .expect_last_of(&last.subject, last.sequence);
        let messages = vec![message, record_message];
        let replacements =
            records.iter().filter_map(|base| supersede(base, &handlers, now)).collect();
        let handlers = handlers.into_iter().collect();
        let replayed = Some(ReplayResult::Replayed { event_id, generation, handlers });
        Ok(Plan { replayed, new: Some(record), messages, replacements })
    }

    /// Writes all plans in one atomic batch.
    async fn write_plans(&self, plans: &[Plan]) -> Result<(), WriteError> {
        let deliveries =
            plans.iter().filter_map(|plan| plan.new.as_ref()).flat_map(|new| &new.deliveries);
        let handlers = deliveries.map(|delivery| (&delivery.handler, delivery.order));
        let (handlers, mut messages) = self.unwritten_handlers(handlers)?;
        let handler_messages = messages.len();
        for plan in plans {
            messages.extend(plan.messages.iter().cloned());
            for replacement in &plan.replacements {
                messages.extend(self.replacement_messages(replacement)?);
            }
        }
        if messages.is_empty() {
            return Ok(());
        }
        let last = self.write(&messages).await?;
        self.remember_handlers(handlers);
        let mut sequence = last - (messages.len() - handler_messages) as u64;
        let mut tombstones = Vec::new();
        for plan in plans {
            if let Some(new) = &plan.new {
                sequence += 2;
                self.apply_written(new, sequence);
            }
            for replacement in &plan.replacements {
                tombstones.extend(self.apply_replacement(replacement, &mut sequence));
            }
        }
        self.delete_tombstones(tombstones).await;
        Ok(())
    }
}

/// Returns the requested handlers, or, if none are requested, those of this generation.
fn handlers_to_replay(
    requested: &[Arc<str>],
    records: &[VersionedRecord],
    generation: u32,
) -> BTreeSet<Arc<str>> {
    if !requested.is_empty() {
        return requested.iter().cloned().collect();
    }
    let records = records.iter().filter(|base| base.record.meta.generation == generation);
    let deliveries = records.flat_map(|base| base.record.deliveries.iter());
    deliveries.map(|delivery| delivery.handler.clone()).collect()
}

/// Returns the redelivered payload of the handler's latest delivery, if that delivery has one.
fn latest_copy(records: &[VersionedRecord], handler: &str) -> Option<CopyRef> {
    let latest = latest_delivery(records.iter().map(|base| &*base.record), |name| name == handler);
    latest.and_then(|(record, index)| records[record].record.deliveries[index].copy)
}

/// Returns the change to an earlier generation's record: the replay replaces its dead letters of
/// these handlers, which are discarded, and it no longer counts as unhandled.
fn supersede(
    base: &VersionedRecord,
    handlers: &BTreeSet<Arc<str>>,
    now: i64,
) -> Option<Replacement> {
    let mut record = (*base.record).clone();
    record.replayed |= record.deliveries.is_empty();
    for delivery in &mut record.deliveries {
        if delivery.state == DeliveryState::Dead && handlers.contains(&delivery.handler) {
            (delivery.state, delivery.ended_at) = (DeliveryState::Discarded, Some(now));
        }
    }
    (record != *base.record).then(|| Replacement::new(base.clone(), record))
}
