//! Stores new events, and replaces records by compare-and-set.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use futures_util::future::try_join_all;

use super::{
    Connection, HandlerEntry,
    event_meta::EventMeta,
    messages::{MAX_BATCH, Message, TooLarge, WriteError},
    open_records::VersionedRecord,
    read,
    record::{Record, Stage},
};
use crate::{NewEvent, OrderKey, StoreError, Stored};

/// Maximum number of attempts of a write that conflicts with writes of other processes.
const MAX_ATTEMPTS: usize = 16;

#[derive(Debug, thiserror::Error)]
#[error("other processes keep changing the same records; retry")]
pub(super) struct Contended;

/// Upper bound for a payload message's subject and headers, in bytes, without the metadata header.
const HEADER_OVERHEAD: usize = 512;

/// Handler names, and whether each handler is ordered.
type Handlers = BTreeMap<Arc<str>, bool>;

/// A changed record, and the revision that it replaces.
pub(super) struct Replacement {
    /// The revision that the change is based on. The write fails if it has been replaced.
    pub(super) base: VersionedRecord,
    pub(super) record: Record,
}

impl Connection {
    pub(super) async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        let mut stored = Vec::with_capacity(events.len());
        // Each event is two messages. The rest of the batch is for the entries of new handlers.
        for batch in events.chunks(MAX_BATCH / 3) {
            stored.extend(self.store_batch(batch).await?);
        }
        Ok(stored)
    }

    /// Stores events in one atomic batch.
    ///
    /// Each event's payload message expects its subject to contain no event: to be empty, or to end
    /// with a known tombstone. A duplicate therefore makes the whole batch fail. The duplicates are
    /// then looked up, and the rest is tried again.
    async fn store_batch(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        let now = self.time.now();
        let mut stored = vec![Stored::Duplicate; events.len()];
        let mut seen = HashSet::new();
        let mut pending: Vec<PendingEvent<'_>> = Vec::new();
        for (index, new) in events.iter().enumerate() {
            let record = Record::new(new, now);
            let subject = self.subjects.event(&record.meta);
            if seen.insert(subject.clone()) {
                pending.push(PendingEvent { index, new, record, subject, expected_revision: 0 });
            }
        }
        for _ in 0..MAX_ATTEMPTS {
            if pending.is_empty() {
                return Ok(stored);
            }
            let deliveries = pending.iter().flat_map(|event| &event.new.deliveries);
            let handlers = deliveries.map(|delivery| (&delivery.handler, delivery.ordered));
            let (handlers, mut messages) = self.unwritten_handlers(handlers)?;
            for event in &pending {
                messages.extend(self.event_messages(event)?);
            }
            match self.write(&messages).await {
                Ok(last) => {
                    self.remember_handlers(handlers);
                    let first = last + 1 - 2 * pending.len() as u64;
                    for (position, event) in pending.iter().enumerate() {
                        stored[event.index] = Stored::New;
                        self.apply_written(&event.record, first + 2 * position as u64 + 1);
                    }
                    return Ok(stored);
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
        Err(StoreError::new(Contended))
    }

    /// Returns the two messages of a new event: its payload and its record.
    fn event_messages(&self, event: &PendingEvent<'_>) -> Result<[Message; 2], StoreError> {
        let meta = &event.record.meta;
        let payload = event.new.event.payload().clone();
        let payload = Message::event(event.subject.clone(), meta, payload)?
            .expect_revision(event.expected_revision);
        let record_subject = self.subjects.record(meta, event.record.stage());
        Ok([payload, Message::record(record_subject, &event.record)?])
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
        let meta = EventMeta::new(new, &OrderKey::from_event(&new.event), self.time.now());
        let meta = serde_json::to_string(&meta).map_err(StoreError::new)?;
        let size = payload + meta.len() + HEADER_OVERHEAD;
        if size <= max {
            return Ok(());
        }
        Err(StoreError::new(TooLarge { size, max, server: self.address.server.clone() }))
    }

    /// Returns the handlers whose entries this process has not written to the stream yet, and the
    /// messages with these entries.
    ///
    /// After the messages have been written, the caller must pass the handlers to
    /// [`remember_handlers`](Self::remember_handlers).
    pub(super) fn unwritten_handlers<'h>(
        &self,
        all: impl Iterator<Item = (&'h Arc<str>, bool)>,
    ) -> Result<(Handlers, Vec<Message>), StoreError> {
        let mut handlers = Handlers::new();
        {
            let written = self.written_handlers();
            let is_unwritten =
                |(name, ordered): &(&Arc<str>, bool)| written.get(*name) != Some(ordered);
            for (name, ordered) in all.filter(is_unwritten) {
                handlers.insert(name.clone(), ordered);
            }
        }
        let messages = handlers.iter().map(|(name, ordered)| {
            let entry = HandlerEntry { name: name.clone(), ordered: *ordered };
            let entry = serde_json::to_vec(&entry).map_err(StoreError::new)?;
            Ok(Message::new(self.subjects.handler(name), entry))
        });
        let messages = messages.collect::<Result<_, StoreError>>()?;
        Ok((handlers, messages))
    }

    pub(super) fn remember_handlers(&self, handlers: Handlers) {
        self.written_handlers().extend(handlers);
    }

    /// Replaces records in one atomic batch.
    ///
    /// Returns the sequences of the tombstones that the caller should delete, because they would be
    /// counted as records until they expire.
    pub(super) async fn replace(
        &self,
        replacements: &[Replacement],
    ) -> Result<Vec<u64>, WriteError> {
        let mut messages = Vec::new();
        for replacement in replacements {
            messages.extend(self.replacement_messages(replacement)?);
        }
        let mut sequence = self.write(&messages).await? - messages.len() as u64;
        let mut tombstones = Vec::new();
        for replacement in replacements {
            tombstones.extend(self.apply_replacement(replacement, &mut sequence));
        }
        Ok(tombstones)
    }

    /// Returns the messages that replace a record: the new record, and, if its subject changes, a
    /// tombstone on the old subject.
    pub(super) fn replacement_messages(
        &self,
        replacement: &Replacement,
    ) -> Result<Vec<Message>, StoreError> {
        let Replacement { base, record } = replacement;
        let subject = self.subjects.record(&record.meta, record.stage());
        if *subject == *base.subject {
            return Ok(vec![Message::record(subject, record)?.expect_revision(base.revision)]);
        }
        let tombstone = Message::tombstone(base.subject.to_string()).expect_revision(base.revision);
        Ok(vec![Message::record(subject, record)?, tombstone])
    }

    /// Updates open records, each independently of the others, and retries on conflicts.
    ///
    /// For each number, `update` receives the open record with that number, or `None` if there is
    /// none. It returns `true` if the record must be written, and is called again after a conflict.
    pub(super) async fn update_open(
        &self,
        numbers: BTreeSet<i64>,
        mut update: impl FnMut(i64, Option<&mut Record>) -> bool,
    ) -> Result<(), StoreError> {
        let mirror = self.mirror().await?;
        let mut remaining = numbers;
        for _ in 0..MAX_ATTEMPTS {
            let mut replacements = Vec::new();
            for number in std::mem::take(&mut remaining) {
                let base = mirror.records().find(number);
                let mut record = base.as_ref().map(|base| (*base.record).clone());
                if update(number, record.as_mut())
                    && let (Some(base), Some(record)) = (base, record)
                {
                    replacements.push(Replacement { base, record });
                }
            }
            for batch in replacements.chunks(MAX_BATCH / 2) {
                match self.replace(batch).await {
                    Ok(_) => {}
                    Err(WriteError::Failed(error)) => return Err(error),
                    Err(WriteError::Conflict) => {
                        remaining.extend(self.replace_individually(batch).await?);
                    }
                }
            }
            if remaining.is_empty() {
                return Ok(());
            }
        }
        Err(StoreError::new(Contended))
    }

    /// Replaces records in separate writes, after their batch had a conflict.
    ///
    /// If a write has a conflict, its record is read again into the local view. Returns the numbers
    /// of these records.
    async fn replace_individually(
        &self,
        replacements: &[Replacement],
    ) -> Result<BTreeSet<i64>, StoreError> {
        let results = replacements.iter().map(async |replacement| {
            let number = replacement.record.number;
            // In a batch of one, the conflict was with this record.
            match if replacements.len() == 1 {
                Err(WriteError::Conflict)
            } else {
                self.replace(std::slice::from_ref(replacement)).await
            } {
                Ok(_) => Ok(None),
                Err(WriteError::Failed(error)) => Err(error),
                Err(WriteError::Conflict) => {
                    self.refresh(&replacement.base.subject).await?;
                    Ok(Some(number))
                }
            }
        });
        Ok(try_join_all(results).await?.into_iter().flatten().collect())
    }

    /// Reads the current message on an open record's subject into the local view.
    pub(super) async fn refresh(&self, subject: &str) -> Result<(), StoreError> {
        let Some(mirror) = self.mirror.get() else { return Ok(()) };
        match read::last(&self.stream, subject).await? {
            Some(message) => {
                let record = Record::from_message(&message.payload, message.sequence);
                let record = record.map_err(StoreError::new)?;
                mirror.records().put(subject, message.sequence, record);
            }
            None if self.confirm_empty(subject).await? => mirror.records().remove(subject),
            None => {}
        }
        Ok(())
    }

    /// Returns whether a subject has no message, as confirmed by the leader.
    ///
    /// A former leader that has not noticed its replacement may answer a read without the latest
    /// messages. Only the current leader accepts a write, so this writes a tombstone that expects
    /// the subject to be empty.
    pub(super) async fn confirm_empty(&self, subject: &str) -> Result<bool, StoreError> {
        let tombstone = Message::tombstone(subject.to_owned()).expect_revision(0);
        match self.write(&[tombstone]).await {
            Ok(_) => Ok(true),
            Err(WriteError::Conflict) => Ok(false),
            Err(WriteError::Failed(error)) => Err(error),
        }
    }

    /// Updates the local view with a record that this process has just written, without waiting
    /// for the follower to read it.
    pub(super) fn apply_written(&self, record: &Record, sequence: u64) {
        let Some(mirror) = self.mirror.get() else { return };
        if record.stage() == Stage::Open {
            let subject = self.subjects.record(&record.meta, Stage::Open);
            let mut record = record.clone();
            if record.number == 0 {
                record.number = super::record::number_from_sequence(sequence);
            }
            mirror.records().put(&subject, sequence, Some(record));
        }
    }

    /// Updates the local view with a replacement that this process has just written.
    ///
    /// Before the call, `sequence` must be one less than the sequence of the replacement's first
    /// message. After the call, it is the sequence of the replacement's last message.
    ///
    /// Returns the tombstone's sequence if the caller should delete the tombstone. The tombstone of
    /// an open record must stay until it expires, because the followers of other processes have to
    /// read it.
    pub(super) fn apply_replacement(
        &self,
        replacement: &Replacement,
        sequence: &mut u64,
    ) -> Option<u64> {
        let Replacement { base, record } = replacement;
        *sequence += 1;
        self.apply_written(record, *sequence);
        if *self.subjects.record(&record.meta, record.stage()) == *base.subject {
            return None;
        }
        *sequence += 1;
        if base.record.stage() != Stage::Open {
            return Some(*sequence);
        }
        if let Some(mirror) = self.mirror.get() {
            mirror.records().put(&base.subject, *sequence, None);
        }
        None
    }
}

/// An event to store.
struct PendingEvent<'e> {
    /// The event's index in the batch.
    index: usize,
    new: &'e NewEvent,
    record: Record,
    /// The subject of the payload message.
    subject: String,
    /// The sequence of the tombstone expected on the subject, or 0 if the subject is expected to be
    /// empty.
    expected_revision: u64,
}

impl PendingEvent<'_> {
    /// Returns the event for another attempt, or `None` if `existing` is its payload message.
    fn unless_stored(
        mut self,
        existing: Option<async_nats::jetstream::message::StreamMessage>,
    ) -> Option<Self> {
        match existing {
            Some(message) if read::event_meta(&message.headers).is_some() => None,
            tombstone => {
                self.expected_revision = tombstone.map_or(0, |message| message.sequence);
                Some(self)
            }
        }
    }
}
