//! Stores new events, and finds the redelivered ones among them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use async_nats::jetstream::message::StreamMessage;
use futures_util::future::try_join_all;
use router_core::delivery::DeliveryOrder;

use super::{
    Connection, HandlerEntry,
    event_meta::EventMeta,
    messages::{MAX_BATCH, Message, TooLarge, WriteError},
    read,
    record::Record,
    writes::{Contended, MAX_ATTEMPTS},
};
use crate::{
    StoreError,
    store::{NewEvent, OrderKey, Stored},
};

/// Upper bound for a payload message's subject and headers, in bytes, without the metadata header.
const HEADER_OVERHEAD: usize = 512;

/// Maximum number of events that are stored in one atomic batch. Each is two or three messages. The
/// rest of the batch is for the entries of new handlers.
const EVENTS_PER_BATCH: usize = MAX_BATCH / 4;

/// Maximum number of redelivered events that are processed concurrently. The server accepts 50
/// concurrent batches in a stream, from all clients.
const CONCURRENT_REDELIVERIES: usize = 16;

/// Handler names, each with the order of the handler's deliveries.
type Handlers = BTreeMap<Arc<str>, Option<DeliveryOrder>>;

impl Connection {
    pub(super) async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        let mut stored = Vec::with_capacity(events.len());
        for batch in events.chunks(EVENTS_PER_BATCH) {
            stored.extend(self.store_batch(batch).await?);
        }
        Ok(stored)
    }

    /// Stores the new ones among these events in one atomic batch, and then each redelivered one.
    async fn store_batch(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        let now = self.time.now();
        let records: Vec<_> = events.iter().map(|new| Record::new(new, now)).collect();
        let mut stored: Vec<Option<Stored>> = vec![None; events.len()];
        for _ in 0..MAX_ATTEMPTS {
            // All events of one identity but the first are redeliveries of the first.
            let mut by_identity: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
            for index in (0..events.len()).filter(|index| stored[*index].is_none()) {
                by_identity.entry(&records[index].meta.identity).or_default().push(index);
            }
            let mut groups: Vec<_> = by_identity.into_values().collect();
            if groups.is_empty() {
                return Ok(stored.into_iter().flatten().collect());
            }
            // Numbers ascend in the order of the call.
            groups.sort_unstable();
            let pending = groups.iter().map(|group| PendingEvent {
                index: group[0],
                new: &events[group[0]],
                record: &records[group[0]],
                subject: self.subjects.event(&records[group[0]].meta),
                expected_revision: 0,
            });
            let new = self.store_new(pending.collect()).await?;
            for index in &new {
                stored[*index] = Some(Stored::New);
            }
            for group in &mut groups {
                group.retain(|index| !new.contains(index));
            }
            for groups in groups.chunks(CONCURRENT_REDELIVERIES) {
                let redelivered =
                    groups.iter().map(|group| self.redeliver_all(events, &records, group));
                for (index, result) in try_join_all(redelivered).await?.concat() {
                    stored[index] = Some(result);
                }
            }
        }
        Err(StoreError::busy(Contended))
    }

    /// Stores the new ones among these events in one atomic batch. Returns their indexes.
    ///
    /// Each event's payload message expects its subject to contain no event: to be empty, or to end
    /// with a known tombstone. An event that is stored already therefore makes the whole batch
    /// fail. Such events are then looked up, and the rest is tried again.
    async fn store_new(
        &self,
        mut pending: Vec<PendingEvent<'_>>,
    ) -> Result<HashSet<usize>, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            if pending.is_empty() {
                return Ok(HashSet::new());
            }
            let deliveries = pending.iter().flat_map(|event| &event.new.deliveries);
            let handlers = deliveries.map(|delivery| (&delivery.handler, delivery.order));
            let (handlers, mut messages) = self.unwritten_handlers(handlers)?;
            let mut positions = Vec::with_capacity(pending.len());
            for event in &pending {
                messages.push(event.payload_message()?);
                positions.push(messages.len() as u64);
                messages.push(Message::record(self.subjects.record(event.record), event.record)?);
                messages.extend(self.alias_of_new(&event.record.meta)?);
            }
            match self.write(&messages).await {
                Ok(last) => {
                    self.remember_handlers(handlers);
                    let first = last + 1 - messages.len() as u64;
                    for (event, position) in pending.iter().zip(positions) {
                        self.apply_written(event.record, first + position);
                    }
                    return Ok(pending.iter().map(|event| event.index).collect());
                }
                Err(WriteError::Failed(error)) => return Err(error),
                // The server does not say which event exists already.
                Err(WriteError::Conflict) => {
                    let existing =
                        pending.iter().map(|event| read::last(&self.stream, &event.subject));
                    let existing = try_join_all(existing).await?;
                    pending = pending
                        .into_iter()
                        .zip(existing)
                        .filter_map(|(event, existing)| event.unless_stored(existing))
                        .collect();
                }
            }
        }
        Err(StoreError::busy(Contended))
    }

    /// Stores redelivered events of one identity, in this order. Stops at an event that is not
    /// stored, because another process has purged it.
    async fn redeliver_all(
        &self,
        events: &[NewEvent],
        records: &[Record],
        indexes: &[usize],
    ) -> Result<Vec<(usize, Stored)>, StoreError> {
        let mut results = Vec::with_capacity(indexes.len());
        for index in indexes {
            let redelivered = self.redeliver(&events[*index], &records[*index].meta).await?;
            let Some(stored) = redelivered else { break };
            results.push((*index, stored));
        }
        Ok(results)
    }

    /// Fails if the event's payload message is larger than the server accepts.
    pub(super) fn check(&self, new: &NewEvent) -> Result<(), StoreError> {
        let (payload, max) = (new.event.payload().len(), self.client.max_payload());
        // Most of the metadata repeats parts of the payload. Its size is therefore estimated as
        // `payload + HEADER_OVERHEAD`, which doubles the size of the message. The metadata is
        // serialized and measured only if the estimate exceeds the maximum.
        if 2 * (payload + HEADER_OVERHEAD) <= max {
            return Ok(());
        }
        let order_key = OrderKey::from_event(&new.event);
        let meta = EventMeta::new(new, &order_key, self.time.now());
        let meta = serde_json::to_string(&meta).map_err(StoreError::corrupt)?;
        let size = payload + meta.len() + HEADER_OVERHEAD;
        if size <= max {
            return Ok(());
        }
        Err(StoreError::rejected(TooLarge { size, max, server: self.address.server.clone() }))
    }

    /// Returns the handlers whose entries this process has not written to the stream yet, and the
    /// messages with these entries.
    ///
    /// After the messages have been written, the caller must pass the handlers to
    /// [`remember_handlers`](Self::remember_handlers).
    pub(super) fn unwritten_handlers<'h>(
        &self,
        all: impl Iterator<Item = (&'h Arc<str>, Option<DeliveryOrder>)>,
    ) -> Result<(Handlers, Vec<Message>), StoreError> {
        let mut handlers = Handlers::new();
        {
            let written = self.written_handlers();
            for (name, order) in all.filter(|(name, order)| written.get(*name) != Some(order)) {
                handlers.insert(name.clone(), order);
            }
        }
        let messages = handlers.iter().map(|(name, order)| {
            let entry = HandlerEntry { name: name.clone(), order: *order };
            let entry = serde_json::to_vec(&entry).map_err(StoreError::corrupt)?;
            Ok(Message::new(self.subjects.handler(name), entry))
        });
        let messages = messages.collect::<Result<_, StoreError>>()?;
        Ok((handlers, messages))
    }

    pub(super) fn remember_handlers(&self, handlers: Handlers) {
        self.written_handlers().extend(handlers);
    }
}

/// An event to store.
struct PendingEvent<'e> {
    /// The event's index in the batch.
    index: usize,
    new: &'e NewEvent,
    record: &'e Record,
    /// The subject of the payload message.
    subject: String,
    /// The sequence of the tombstone expected on the subject, or 0 if the subject is expected to be
    /// empty.
    expected_revision: u64,
}

impl PendingEvent<'_> {
    fn payload_message(&self) -> Result<Message, StoreError> {
        let payload = self.new.event.payload().clone();
        let message = Message::event(self.subject.clone(), &self.record.meta, payload)?;
        Ok(message.expect_revision(self.expected_revision))
    }

    /// Returns the event for another attempt, or `None` if `existing` is its payload message.
    fn unless_stored(mut self, existing: Option<StreamMessage>) -> Option<Self> {
        match existing {
            Some(message) if read::event_meta(&message.headers).is_some() => None,
            tombstone => {
                self.expected_revision = tombstone.map_or(0, |message| message.sequence);
                Some(self)
            }
        }
    }
}
