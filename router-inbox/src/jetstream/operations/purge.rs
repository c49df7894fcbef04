//! Purges events whose deliveries ended long ago.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use futures_util::future::try_join_all;

use super::{
    super::{
        Connection,
        lookup::{EventsWithRecords, PayloadMessage},
        messages::{self, Message, WriteError},
        open_records::VersionedRecord,
        record::{CopyRef, Record, Stage},
        writes::{Contended, MAX_ATTEMPTS},
    },
    EVENTS_PER_READ,
};
use crate::{StoreError, store::millis::millis};

impl Connection {
    pub(super) async fn purge(
        &self,
        events: &[i64],
        older_than: Duration,
    ) -> Result<u64, StoreError> {
        let mut purged = 0;
        for events in events.chunks(EVENTS_PER_READ) {
            purged += self.purge_batch(events, older_than).await?;
        }
        Ok(purged)
    }

    async fn purge_batch(&self, events: &[i64], older_than: Duration) -> Result<u64, StoreError> {
        let mut purged = 0;
        for _ in 0..MAX_ATTEMPTS {
            let before = self.time.now().saturating_sub(millis(older_than));
            let found = events.iter().map(|number| self.purgeable(*number, before));
            let mut seen = HashSet::new();
            let mut purgeable: Vec<EventsWithRecords> = Vec::new();
            for event in try_join_all(found).await?.into_iter().flatten() {
                if event.payloads.first().is_some_and(|first| seen.insert(first.sequence)) {
                    purgeable.push(event);
                }
            }
            match self.delete(&purgeable, &mut purged).await {
                Ok(()) => return Ok(purged),
                Err(WriteError::Failed(error)) => return Err(error),
                Err(WriteError::Conflict) => {}
            }
        }
        Err(StoreError::busy(Contended))
    }

    /// Returns all generations of the event with this number, if all of them ended before this
    /// time.
    async fn purgeable(
        &self,
        number: i64,
        before: i64,
    ) -> Result<Option<EventsWithRecords>, StoreError> {
        let Some(meta) = self.event_by_number(number).await? else { return Ok(None) };
        let found = self.records_of(&meta).await?;
        let is_old = |versioned: &VersionedRecord| {
            let record = &versioned.record;
            [Stage::Ended, Stage::Unhandled].contains(&record.stage())
                && record.meta.stored_at <= before
                && record
                    .deliveries
                    .iter()
                    .all(|delivery| delivery.ended_at.is_some_and(|ended_at| ended_at <= before))
        };
        Ok(found.records.iter().all(is_old).then_some(found))
    }

    /// Replaces all messages of the events by tombstones in atomic batches, and deletes the
    /// tombstones. Adds the number of the deleted events to `purged`.
    async fn delete(
        &self,
        events: &[EventsWithRecords],
        purged: &mut u64,
    ) -> Result<(), WriteError> {
        let events: Vec<_> = events.iter().map(|event| self.tombstones(event)).collect();
        for batch in messages::batches(&events, Vec::len) {
            let tombstones = batch.concat();
            let last = self.write(&tombstones).await?;
            *purged += batch.len() as u64;
            self.delete_tombstones(last - tombstones.len() as u64 + 1..=last).await;
        }
        Ok(())
    }

    /// Returns tombstones for all messages of an event. Only those of payloads and records expect a
    /// revision, because the other messages are written only together with a record.
    fn tombstones(&self, event: &EventsWithRecords) -> Vec<Message> {
        let mut tombstones = Vec::new();
        for PayloadMessage { subject, sequence, meta, .. } in &event.payloads {
            let tombstone = Message::tombstone(subject.clone());
            tombstones.push(tombstone.expect_revision(*sequence));
            if meta.generation == 0 {
                let erased = meta.erased.map(|number| self.subjects.erased(number));
                tombstones.extend(erased.map(Message::tombstone));
            }
        }
        let mut aliases = BTreeSet::new();
        for VersionedRecord { subject, revision, record } in &event.records {
            tombstones.push(Message::tombstone(subject.to_string()).expect_revision(*revision));
            let Record { meta, copies, .. } = &**record;
            for number in 0..copies.len() {
                let copy = CopyRef { generation: meta.generation, number };
                tombstones.push(Message::tombstone(self.subjects.copy(meta, copy)));
            }
            let ids = copies.iter().chain([&meta.id]);
            let ids = ids.filter(|id| **id != meta.id || *id != meta.key_id());
            aliases.extend(ids.map(|id| self.subjects.alias(id, meta)));
        }
        tombstones.extend(aliases.into_iter().map(Message::tombstone));
        tombstones
    }
}
