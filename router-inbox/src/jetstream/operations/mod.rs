//! Operations: status, list, show, retry, discard, select, replay and purge.

mod changes;
mod list;
mod purge;
mod replay;
mod show;
mod status;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use router_catalog::Pattern;

use super::{
    Connection, JetStreamStore,
    event_meta::EventMeta,
    open_records::VersionedRecord,
    read::{self, Reader},
    record::{Record, Stage},
};
use crate::{
    Operations, StoreError,
    operations::{
        ChangeResult, EventDetails, EventSelector, InboxStatus, ListEntry, ListFilter,
        PurgeTooSoon, ReplayResult,
    },
};

#[async_trait]
impl Operations for JetStreamStore {
    async fn status(&self) -> Result<InboxStatus, StoreError> {
        self.0.status().await
    }

    /// Reads every record of the stages that can match, because the stream has no index for the
    /// filter. This takes long if `filter` matches finished deliveries.
    async fn list(&self, filter: &ListFilter) -> Result<Vec<ListEntry>, StoreError> {
        self.0.list(filter).await
    }

    async fn show(&self, event_id: &str) -> Result<Vec<EventDetails>, StoreError> {
        self.0.show(event_id).await
    }

    async fn retry(
        &self,
        event_id: &str,
        handler: Option<&str>,
    ) -> Result<Vec<ChangeResult>, StoreError> {
        self.0.retry(event_id, handler).await
    }

    async fn discard(
        &self,
        event_id: &str,
        handler: Option<&str>,
    ) -> Result<Vec<ChangeResult>, StoreError> {
        self.0.discard(event_id, handler).await
    }

    async fn select(&self, selection: &EventSelector) -> Result<Vec<i64>, StoreError> {
        self.0.select(selection).await
    }

    async fn replay(
        &self,
        events: &[i64],
        handlers: &[Arc<str>],
    ) -> Result<Vec<ReplayResult>, StoreError> {
        self.0.replay(events, handlers).await
    }

    async fn purge(&self, events: &[i64], older_than: Duration) -> Result<u64, StoreError> {
        PurgeTooSoon::check(older_than)?;
        self.0.purge(events, older_than).await
    }
}

/// An event's payload message.
pub(super) struct PayloadMessage {
    pub(super) sequence: u64,
    pub(super) meta: EventMeta,
    pub(super) payload: bytes::Bytes,
}

impl Connection {
    /// Reads the payload messages of all events with this id, in the order of their sequences.
    async fn events_with_id(&self, id: &str) -> Result<Vec<PayloadMessage>, StoreError> {
        let subjects = self.subjects.events_with_id(id);
        let (mut events, mut from) = (Vec::new(), 1);
        while let Some(message) = read::first_from(&self.stream, &subjects, from).await? {
            from = message.sequence + 1;
            if let Some(meta) = read::event_meta(&message.headers).filter(|meta| meta.id == id) {
                let (sequence, payload) = (message.sequence, message.payload);
                events.push(PayloadMessage { sequence, meta, payload });
            }
        }
        Ok(events)
    }

    /// Reads the payload messages of all generations of an event, the first generation first.
    async fn generations(&self, meta: &EventMeta) -> Result<Vec<PayloadMessage>, StoreError> {
        let mut events = self.events_with_id(&meta.id).await?;
        events.retain(|event| event.meta.is_same_event(meta));
        events.sort_by_key(|event| event.meta.generation);
        Ok(events)
    }

    /// Reads an event's record, on whichever subject it is.
    async fn record(&self, meta: &EventMeta) -> Result<Option<VersionedRecord>, StoreError> {
        // The subjects are not read atomically. If the record moves in the meantime, it can be
        // missed on both its old and its new subject, so the reads are repeated.
        for _ in 0..3 {
            let subjects = Stage::ALL.map(|stage| self.subjects.record(meta, stage));
            let messages = subjects.iter().map(|subject| read::last(&self.stream, subject));
            let messages = try_join_all(messages).await?.into_iter().flatten();
            let records = messages.filter(|message| !message.payload.is_empty());
            let Some(newest) = records.max_by_key(|message| message.sequence) else { continue };
            let record =
                Record::from_message(&newest.payload, newest.sequence).map_err(StoreError::new)?;
            return Ok(record.map(|record| VersionedRecord {
                subject: newest.subject.as_str().into(),
                revision: newest.sequence,
                record: Arc::new(record),
            }));
        }
        Ok(None)
    }

    /// Reads the records of these events. An event without a record is left out.
    async fn records(&self, events: &[PayloadMessage]) -> Result<Vec<VersionedRecord>, StoreError> {
        let records = events.iter().map(|event| self.record(&event.meta));
        Ok(try_join_all(records).await?.into_iter().flatten().collect())
    }

    /// Returns all records at this stage. Open records come from the local view.
    async fn records_in(&self, stage: Stage) -> Result<Vec<Record>, StoreError> {
        if stage == Stage::Open {
            let mirror = self.mirror().await?;
            return Ok(mirror.records().iter().map(|record| (**record).clone()).collect());
        }
        let mut reader =
            Reader::new(&self.stream, vec![self.subjects.records(stage)], false).await?;
        let mut records = Vec::new();
        while let Some(message) = reader.next_existing().await? {
            let record = Record::from_message(&message.payload, message.sequence)
                .map_err(StoreError::new)?;
            records.extend(record);
        }
        reader.close().await;
        Ok(records)
    }

    /// Returns the numbers of the selected events. An event's number is the sequence of its first
    /// generation's payload message.
    async fn select(&self, selection: &EventSelector) -> Result<Vec<i64>, StoreError> {
        use crate::store::millis::millis;
        let now = self.time.now();
        let ago = |time: Duration| now.saturating_sub(millis(time));
        let (since, until) = (selection.max_age.map(ago), selection.min_age.map(ago));
        let is_selected = |meta: &EventMeta| {
            meta.generation == 0
                && selection.event_id.as_ref().is_none_or(|id| *id == meta.id)
                && matches_type(selection.event_type.as_deref(), &meta.event_type)
                && since.is_none_or(|since| meta.stored_at >= since)
                && until.is_none_or(|until| meta.stored_at <= until)
        };
        let subjects = match &selection.event_id {
            Some(id) => self.subjects.events_with_id(id),
            None => self.subjects.events(),
        };
        let mut reader = Reader::new(&self.stream, vec![subjects], true).await?;
        let mut selected = Vec::new();
        while let Some(message) = reader.next_existing().await? {
            let Some(meta) = read::event_meta(&message.headers) else { continue };
            // Events are in the order of their times, apart from clock skew between servers.
            if until.is_some_and(|until| meta.stored_at > until.saturating_add(MAX_CLOCK_SKEW)) {
                break;
            }
            if is_selected(&meta) {
                selected.push(super::record::number_from_sequence(message.sequence));
            }
        }
        reader.close().await;
        Ok(selected)
    }

    /// Reads the payload message of the event with this number.
    async fn event_by_number(&self, number: i64) -> Result<Option<PayloadMessage>, StoreError> {
        let Ok(sequence) = u64::try_from(number) else { return Ok(None) };
        let message = read::by_sequence(&self.stream, sequence).await?;
        Ok(message.and_then(|message| {
            let meta = read::event_meta(&message.headers)?;
            Some(PayloadMessage { sequence, meta, payload: message.payload })
        }))
    }

    /// Deletes tombstones that would be counted as records until they expire. Failures are ignored,
    /// because a tombstone that is not deleted expires.
    async fn delete_tombstones(&self, sequences: impl IntoIterator<Item = u64>) {
        let deletions = sequences.into_iter().map(|sequence| self.stream.delete_message(sequence));
        drop(futures_util::future::join_all(deletions).await);
    }
}

/// The assumed maximum difference between the servers' clocks, in milliseconds.
const MAX_CLOCK_SKEW: i64 = 60_000;

fn matches_type(pattern: Option<&str>, event_type: &str) -> bool {
    pattern.is_none_or(|pattern| Pattern::parse_unchecked(pattern).matches(event_type))
}
