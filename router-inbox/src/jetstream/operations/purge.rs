//! Purges events whose deliveries ended long ago.

use std::{collections::HashSet, time::Duration};

use futures_util::future::try_join_all;

use super::{
    super::{
        Connection,
        messages::{Message, WriteError},
        open_records::VersionedRecord,
        record::Stage,
        writes::Contended,
    },
    PayloadMessage,
};
use crate::{StoreError, store::millis::millis};

/// Number of times a purge is attempted while other processes change the same records.
const MAX_ATTEMPTS: usize = 8;

/// Number of events that are purged in one atomic batch. An event is two messages, and two more for
/// each of its replays.
const EVENTS_PER_BATCH: usize = 50;

/// All generations of an event that can be purged.
struct PurgeableEvent {
    payloads: Vec<PayloadMessage>,
    records: Vec<VersionedRecord>,
}

impl Connection {
    pub(super) async fn purge(
        &self,
        events: &[i64],
        older_than: Duration,
    ) -> Result<u64, StoreError> {
        let mut purged = 0;
        for events in events.chunks(EVENTS_PER_BATCH) {
            purged += self.purge_batch(events, older_than).await?;
        }
        Ok(purged)
    }

    async fn purge_batch(&self, events: &[i64], older_than: Duration) -> Result<u64, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let before = self.time.now().saturating_sub(millis(older_than));
            let found = events.iter().map(|number| self.purgeable(*number, before));
            let mut seen = HashSet::new();
            let mut purgeable: Vec<PurgeableEvent> = Vec::new();
            for event in try_join_all(found).await?.into_iter().flatten() {
                if event.payloads.first().is_some_and(|first| seen.insert(first.sequence)) {
                    purgeable.push(event);
                }
            }
            match self.delete(&purgeable).await {
                Ok(()) => return Ok(purgeable.len() as u64),
                Err(WriteError::Failed(error)) => return Err(error),
                Err(WriteError::Conflict) => {}
            }
        }
        Err(StoreError::new(Contended))
    }

    /// Returns the event with this number and all its generations, if all of them ended before this
    /// time.
    async fn purgeable(
        &self,
        number: i64,
        before: i64,
    ) -> Result<Option<PurgeableEvent>, StoreError> {
        let Some(event) = self.event_by_number(number).await? else { return Ok(None) };
        let payloads = self.generations(&event.meta).await?;
        let records = self.records(&payloads).await?;
        let is_old = |versioned: &VersionedRecord| {
            let record = &versioned.record;
            [Stage::Ended, Stage::Unhandled].contains(&record.stage())
                && record.meta.stored_at <= before
                && record
                    .deliveries
                    .iter()
                    .all(|delivery| delivery.ended_at.is_some_and(|ended_at| ended_at <= before))
        };
        let is_complete = records.len() == payloads.len();
        let is_purgeable = is_complete && records.iter().all(is_old);
        Ok(is_purgeable.then_some(PurgeableEvent { payloads, records }))
    }

    /// Replaces all messages of the events by tombstones in one atomic batch, and deletes these.
    async fn delete(&self, events: &[PurgeableEvent]) -> Result<(), WriteError> {
        let mut messages = Vec::new();
        for PurgeableEvent { payloads, records } in events {
            messages.extend(payloads.iter().map(|payload| {
                Message::tombstone(self.subjects.event(&payload.meta))
                    .expect_revision(payload.sequence)
            }));
            messages.extend(records.iter().map(|base| {
                Message::tombstone(base.subject.to_string()).expect_revision(base.revision)
            }));
        }
        if messages.is_empty() {
            return Ok(());
        }
        let last = self.write(&messages).await?;
        self.delete_tombstones(last - messages.len() as u64 + 1..=last).await;
        Ok(())
    }
}
