//! Applies the redelivery of an event that is already stored.

use std::collections::BTreeSet;

use router_core::Event;

use super::{
    Connection,
    event_meta::EventMeta,
    lookup::{EventsWithRecords, PayloadMessage},
    messages::{Message, WriteError},
    open_records::VersionedRecord,
    record::{CopyRef, Delivery, Record},
    writes::{Contended, MAX_ATTEMPTS, Replacement},
};
use crate::{
    StoreError,
    store::{DeliveryState, NewDelivery, NewEvent, Redelivery, Stored},
};

/// The effect of a redelivered event, decided on the records of all its generations.
struct Decision {
    results: Vec<Redelivery>,
    /// The handlers that get a delivery.
    added: Vec<NewDelivery>,
    /// The changed record of each generation.
    records: Vec<Record>,
    /// The index of the redelivered generation.
    generation: usize,
    /// The reference to the redelivered payload, if the payload must be stored.
    copy: Option<CopyRef>,
}

impl Connection {
    /// Stores a redelivered event. Returns `None` if no event with this key is stored.
    ///
    /// The redelivered payload is stored in the same atomic batch that replaces the records. The
    /// batch expects the revisions on which the decision is based, so it is decided again if
    /// another process changes a record first.
    pub(super) async fn redeliver(
        &self,
        new: &NewEvent,
        meta: &EventMeta,
    ) -> Result<Option<Stored>, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let EventsWithRecords { payloads, records: bases } = self.records_of(meta).await?;
            let is_redelivered =
                |payload: &PayloadMessage| payload.meta.generation == meta.generation;
            let Some(generation) = payloads.iter().position(is_redelivered) else {
                return Ok(None);
            };
            let same_form = self.unfinished_with_form(&new.event, &bases).await?;
            let decision = decide(new, &bases, generation, &same_form, self.time.now());
            match self.write_redelivery(new, meta, &bases, &decision).await {
                Ok(()) => return Ok(Some(Stored::Redelivered(decision.results))),
                Err(WriteError::Failed(error)) => return Err(error),
                Err(WriteError::Conflict) => {}
            }
        }
        Err(StoreError::busy(Contended))
    }

    /// Returns the indexes of the records and their unfinished deliveries whose payload has the
    /// same form as the event.
    async fn unfinished_with_form(
        &self,
        event: &Event,
        bases: &[VersionedRecord],
    ) -> Result<BTreeSet<(usize, usize)>, StoreError> {
        let mut same_form = BTreeSet::new();
        for (position, base) in bases.iter().enumerate() {
            let deliveries = base.record.deliveries.iter().enumerate();
            for (index, delivery) in deliveries.filter(|(_, delivery)| delivery.is_open()) {
                let current = self.event(&base.record.meta, delivery.copy).await?;
                if current.is_ok_and(|current| current.has_same_form(event)) {
                    same_form.insert((position, index));
                }
            }
        }
        Ok(same_form)
    }

    /// Writes the changed records with the redelivered payload, or nothing if nothing has changed.
    async fn write_redelivery(
        &self,
        NewEvent { event, .. }: &NewEvent,
        meta: &EventMeta,
        bases: &[VersionedRecord],
        Decision { added, records, generation, copy, .. }: &Decision,
    ) -> Result<(), WriteError> {
        let Some(copy) = copy else { return Ok(()) };
        let handlers = added.iter().map(|delivery| (&delivery.handler, delivery.order));
        let (handlers, mut others) = self.unwritten_handlers(handlers)?;
        let subject = self.subjects.copy(meta, *copy);
        others.push(Message::event(subject, meta, event.payload().clone())?);
        if !bases[*generation].record.has_id(event.id()) {
            others.push(self.alias(event.id(), meta)?);
        }
        let mut replacements = Vec::new();
        for (index, (base, record)) in bases.iter().zip(records).enumerate() {
            if *record != *base.record {
                let others =
                    if index == *generation { std::mem::take(&mut others) } else { Vec::new() };
                replacements.push(Replacement {
                    base: base.clone(),
                    record: record.clone(),
                    others,
                });
            }
        }
        let tombstones = self.replace(&replacements).await?;
        self.remember_handlers(handlers);
        self.delete_tombstones(tombstones).await;
        Ok(())
    }
}

/// Decides the effect of a redelivered event on the records of all its generations. `generation` is
/// the index of the redelivered one. `same_form` has the unfinished deliveries whose payload has
/// the same form, so that the redelivered one would fail too.
fn decide(
    NewEvent { event, deliveries, .. }: &NewEvent,
    bases: &[VersionedRecord],
    generation: usize,
    same_form: &BTreeSet<(usize, usize)>,
    now: i64,
) -> Decision {
    let mut records: Vec<_> = bases.iter().map(|base| (*base.record).clone()).collect();
    let Record { meta, copies, .. } = &records[generation];
    let is_erased = meta.is_erased();
    let copy = CopyRef { generation: meta.generation, number: copies.len() };
    let (mut results, mut added) = (Vec::with_capacity(deliveries.len()), Vec::new());
    let mut is_needed = false;
    for delivery in deliveries {
        let is_of_handler =
            |name: &str| *name == *delivery.handler || Some(name) == delivery.formerly.as_deref();
        let latest = latest_delivery(&records, is_of_handler);
        let has_same_form = latest.is_some_and(|latest| same_form.contains(&latest));
        results.push(match latest.map(|(record, index)| &mut records[record].deliveries[index]) {
            None if is_erased => Redelivery::Erased,
            None => {
                let copy = Some(copy);
                let deliveries = &mut records[generation].deliveries;
                deliveries.push(Delivery { copy, ..Delivery::new(delivery, now) });
                added.push(delivery.clone());
                Redelivery::Added
            }
            Some(latest) if latest.state == DeliveryState::Dead => {
                latest.restart(now);
                latest.copy = Some(copy);
                Redelivery::Restarted
            }
            Some(latest) => {
                if latest.is_open() && !has_same_form {
                    latest.copy_since = Some(copy);
                    is_needed = true;
                }
                Redelivery::Unchanged(latest.state)
            }
        });
    }
    let is_duplicate = results.iter().all(|result| matches!(result, Redelivery::Unchanged(_)));
    let is_needed = is_needed || !is_duplicate || !records[generation].has_id(event.id());
    let is_stored = is_needed && !is_erased;
    if is_stored {
        records[generation].copies.push(event.id().to_owned());
    }
    Decision { results, added, records, generation, copy: is_stored.then_some(copy) }
}

/// Returns the indexes of the record and the delivery of the latest generation that has a delivery
/// of this handler.
pub(super) fn latest_delivery<'r>(
    records: impl IntoIterator<Item = &'r Record>,
    is_of_handler: impl Fn(&str) -> bool,
) -> Option<(usize, usize)> {
    let deliveries = records.into_iter().enumerate().flat_map(|(position, record)| {
        let deliveries = record.deliveries.iter().enumerate();
        deliveries.map(move |(index, delivery)| (record.meta.generation, position, index, delivery))
    });
    let latest = deliveries
        .filter(|(.., delivery)| is_of_handler(&delivery.handler))
        .max_by_key(|(generation, _, index, _)| (*generation, *index));
    latest.map(|(_, position, index, _)| (position, index))
}
