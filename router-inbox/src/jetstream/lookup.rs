//! Looks up events and their records by id or by number.

use std::{
    collections::{BTreeMap, HashSet},
    future::Future,
    sync::Arc,
};

use async_nats::jetstream::message::StreamMessage;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{
    Connection,
    event_meta::EventMeta,
    messages::Message,
    open_records::VersionedRecord,
    read,
    record::{CopyRef, Record, Stage, number_from_sequence},
    writes::{Contended, MAX_ATTEMPTS},
};
use crate::StoreError;

/// A message with a payload of an event, as received, as redelivered or as replayed.
pub(super) struct PayloadMessage {
    pub(super) subject: String,
    pub(super) sequence: u64,
    pub(super) meta: EventMeta,
    pub(super) payload: bytes::Bytes,
}

/// The payload messages of events, and the record of each of them in the same order.
pub(super) struct EventsWithRecords {
    pub(super) payloads: Vec<PayloadMessage>,
    pub(super) records: Vec<VersionedRecord>,
}

/// An id of an event that the event's subjects do not contain: the own id of a thin event, or that
/// of a snapshot event which was received after the thin event.
#[derive(Serialize, Deserialize)]
struct Alias {
    id: String,
    /// The id in the event's key, which its subjects contain.
    key_id: String,
    identity: String,
}

impl PayloadMessage {
    /// Returns `None` for any other message, such as the tombstone of a purged event.
    fn new(message: StreamMessage) -> Option<Self> {
        let StreamMessage { subject, sequence, headers, payload, .. } = message;
        let meta = read::event_meta(&headers)?;
        Some(Self { subject: subject.to_string(), sequence, meta, payload })
    }

    /// Returns the event's number. For a later generation, the result only serves to sort.
    pub(super) fn number(&self) -> i64 {
        self.meta.erased.unwrap_or_else(|| number_from_sequence(self.sequence))
    }
}

impl Connection {
    /// Reads the payload messages of all events that were received with this id, in all
    /// generations, in the order of their numbers.
    pub(super) async fn events_with_id(&self, id: &str) -> Result<Vec<PayloadMessage>, StoreError> {
        let aliases = self.aliases(id).await?;
        let mut events = self.payloads(&self.subjects.events_with_key_id(id)).await?;
        let found: HashSet<String> = events
            .iter()
            .filter(|event| event.meta.id == id)
            .map(|event| event.meta.identity.clone())
            .chain(aliases.keys().cloned())
            .collect();
        events.retain(|event| found.contains(&event.meta.identity));
        for (identity, key_id) in aliases.iter().filter(|(_, key_id)| **key_id != id) {
            events.extend(self.payloads(&self.subjects.generations(key_id, identity)).await?);
        }
        events.sort_by_key(PayloadMessage::number);
        Ok(events)
    }

    /// Reads the payload messages of all generations of an event, the first generation first.
    async fn generations(&self, meta: &EventMeta) -> Result<Vec<PayloadMessage>, StoreError> {
        let subjects = self.subjects.generations(meta.key_id(), &meta.identity);
        let mut events = self.payloads(&subjects).await?;
        events.sort_by_key(|event| event.meta.generation);
        Ok(events)
    }

    /// Reads all payload messages on these subjects, in the order of their sequences.
    async fn payloads(&self, subjects: &str) -> Result<Vec<PayloadMessage>, StoreError> {
        let (mut payloads, mut from) = (Vec::new(), 1);
        while let Some(message) = read::first_from(&self.stream, subjects, from).await? {
            from = message.sequence + 1;
            payloads.extend(PayloadMessage::new(message));
        }
        Ok(payloads)
    }

    /// Reads the redelivered payloads of an event in the record's generation, oldest first.
    pub(super) async fn copies(&self, record: &Record) -> Result<Vec<PayloadMessage>, StoreError> {
        let generation = record.meta.generation;
        let messages = (0..record.copies.len()).map(async |number| {
            let subject = self.subjects.copy(&record.meta, CopyRef { generation, number });
            read::last(&self.stream, &subject).await
        });
        let messages = try_join_all(messages).await?.into_iter().flatten();
        Ok(messages.filter_map(PayloadMessage::new).collect())
    }

    /// Reads the metadata of the event with this number. An erased event has no message with this
    /// sequence, and is found by another one, see [`erase`](super::operations).
    pub(super) async fn event_by_number(
        &self,
        number: i64,
    ) -> Result<Option<EventMeta>, StoreError> {
        // The server rejects a read of the sequence 0.
        let Some(sequence) = u64::try_from(number).ok().filter(|sequence| *sequence > 0) else {
            return Ok(None);
        };
        let message = match read::by_sequence(&self.stream, sequence).await? {
            Some(message) => Some(message),
            None => read::last(&self.stream, &self.subjects.erased(number)).await?,
        };
        Ok(message.and_then(|message| read::event_meta(&message.headers)))
    }

    /// Returns the identities of the events with this alias, each with the id in the event's key.
    async fn aliases(&self, id: &str) -> Result<BTreeMap<String, String>, StoreError> {
        let subjects = self.subjects.aliases(id);
        let (mut aliases, mut from) = (BTreeMap::new(), 1);
        while let Some(message) = read::first_from(&self.stream, &subjects, from).await? {
            from = message.sequence + 1;
            if message.payload.is_empty() {
                continue;
            }
            let alias: Alias =
                serde_json::from_slice(&message.payload).map_err(StoreError::corrupt)?;
            if alias.id == id {
                aliases.insert(alias.identity, alias.key_id);
            }
        }
        Ok(aliases)
    }

    /// Returns the alias that a new event needs.
    pub(super) fn alias_of_new(&self, meta: &EventMeta) -> Result<Option<Message>, StoreError> {
        if meta.id == meta.key_id() { Ok(None) } else { self.alias(&meta.id, meta).map(Some) }
    }

    /// Returns the message with which the event is found by this id.
    pub(super) fn alias(&self, id: &str, meta: &EventMeta) -> Result<Message, StoreError> {
        let (key_id, identity) = (meta.key_id().to_owned(), meta.identity.clone());
        let alias = serde_json::to_vec(&Alias { id: id.to_owned(), key_id, identity });
        Ok(Message::new(self.subjects.alias(id, meta), alias.map_err(StoreError::corrupt)?))
    }

    /// Reads all events that were received with this id, in all generations, in the order of their
    /// numbers.
    ///
    /// # Errors
    ///
    /// Fails with [`Contended`] if the records keep moving while they are looked up.
    pub(super) async fn records_with_id(&self, id: &str) -> Result<EventsWithRecords, StoreError> {
        self.with_records(|| self.events_with_id(id)).await
    }

    /// Reads all generations of an event, the first generation first.
    ///
    /// # Errors
    ///
    /// Fails with [`Contended`] if the records keep moving while they are looked up.
    pub(super) async fn records_of(
        &self,
        meta: &EventMeta,
    ) -> Result<EventsWithRecords, StoreError> {
        self.with_records(|| self.generations(meta)).await
    }

    /// Adds the records to the events that `read` returns. An event and its record are written in
    /// one batch, so a missing record has moved while it was looked up, or the event has just been
    /// purged. Both are read again in this case.
    async fn with_records<F>(&self, read: impl Fn() -> F) -> Result<EventsWithRecords, StoreError>
    where
        F: Future<Output = Result<Vec<PayloadMessage>, StoreError>>,
    {
        for _ in 0..MAX_ATTEMPTS {
            let payloads = read().await?;
            let records = payloads.iter().map(|event| self.record(&event.meta));
            let records: Option<_> = try_join_all(records).await?.into_iter().collect();
            if let Some(records) = records {
                return Ok(EventsWithRecords { payloads, records });
            }
        }
        Err(StoreError::busy(Contended))
    }

    /// Reads an event's record, which may be at any stage. The subjects are not read atomically, so
    /// a record that moves in the meantime may be found on neither its old nor its new subject.
    async fn record(&self, meta: &EventMeta) -> Result<Option<VersionedRecord>, StoreError> {
        // A record moves between two subjects of one stage only by way of another stage, so the
        // last message of a stage is the record, or the record is at another stage.
        let subjects = Stage::ALL.map(|stage| self.subjects.record_of(meta, stage));
        let messages = subjects.iter().map(|subject| read::last(&self.stream, subject));
        let messages = try_join_all(messages).await?.into_iter().flatten();
        let records = messages.filter(|message| !message.payload.is_empty());
        let Some(newest) = records.max_by_key(|message| message.sequence) else { return Ok(None) };
        let record =
            Record::from_message(&newest.payload, newest.sequence).map_err(StoreError::corrupt)?;
        Ok(record.map(|record| VersionedRecord {
            subject: newest.subject.as_str().into(),
            revision: newest.sequence,
            record: Arc::new(record),
        }))
    }
}
