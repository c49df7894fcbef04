//! What people ask of the stream.

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
    about::About,
    open::Located,
    read::{self, Reader},
    record::{Record, Stage},
};
use crate::{
    Operations, StoreError,
    operations::{
        ChangeResult, EventDetails, EventSelector, InboxStatus, ListEntry, ListFilter,
        PurgeTooSoon, Replayed,
    },
};

#[async_trait]
impl Operations for JetStreamStore {
    async fn status(&self) -> Result<InboxStatus, StoreError> {
        self.0.status().await
    }

    /// What has ended is found by reading all of it.
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
    ) -> Result<Vec<Replayed>, StoreError> {
        self.0.replay(events, handlers).await
    }

    async fn purge(&self, events: &[i64], older_than: Duration) -> Result<u64, StoreError> {
        PurgeTooSoon::check(older_than)?;
        self.0.purge(events, older_than).await
    }
}

/// An event's message.
pub(super) struct KeptMessage {
    pub(super) sequence: u64,
    pub(super) about: About,
    pub(super) payload: bytes::Bytes,
}

impl Connection {
    /// All events with this id, as they came.
    async fn events_with_id(&self, id: &str) -> Result<Vec<KeptMessage>, StoreError> {
        let subjects = self.subjects.events_with_id(id);
        let (mut events, mut from) = (Vec::new(), 1);
        while let Some(message) = read::next(&self.stream, &subjects, from).await? {
            from = message.sequence + 1;
            if let Some(about) = read::about(&message.headers).filter(|about| about.id == id) {
                let (sequence, payload) = (message.sequence, message.payload);
                events.push(KeptMessage { sequence, about, payload });
            }
        }
        Ok(events)
    }

    /// All generations of an event, the first one first.
    async fn generations(&self, about: &About) -> Result<Vec<KeptMessage>, StoreError> {
        let mut events = self.events_with_id(&about.id).await?;
        events.retain(|event| event.about.is_of_the_same(about));
        events.sort_by_key(|event| event.about.generation);
        Ok(events)
    }

    /// An event's record, wherever it is.
    async fn record(&self, about: &About) -> Result<Option<Located>, StoreError> {
        // It can move from where it is not looked for any more to where it was not yet.
        for _ in 0..3 {
            let places = Stage::ALL.map(|stage| self.subjects.record(about, stage));
            let asked = places.iter().map(|subject| read::last(&self.stream, subject));
            // Where it was, a message without anything is left for a while.
            let there = try_join_all(asked).await?.into_iter().flatten();
            let there = there.filter(|message| !message.payload.is_empty());
            let Some(there) = there.max_by_key(|message| message.sequence) else { continue };
            let record = Record::read(&there.payload, there.sequence).map_err(StoreError::of)?;
            return Ok(record.map(|record| Located {
                subject: there.subject.as_str().into(),
                revision: there.sequence,
                record: Arc::new(record),
            }));
        }
        Ok(None)
    }

    async fn records(&self, events: &[KeptMessage]) -> Result<Vec<Located>, StoreError> {
        let records = events.iter().map(|event| self.record(&event.about));
        Ok(try_join_all(records).await?.into_iter().flatten().collect())
    }

    /// All records that are so far.
    async fn records_in(&self, stage: Stage) -> Result<Vec<Record>, StoreError> {
        if stage == Stage::Open {
            let mirror = self.mirror().await?;
            return Ok(mirror.open().records().map(|record| (**record).clone()).collect());
        }
        let mut reader =
            Reader::of(&self.stream, vec![self.subjects.records(stage)], false).await?;
        let mut records = Vec::new();
        while let Some(read) = reader.next_there().await? {
            let record = Record::read(&read.payload, read.sequence).map_err(StoreError::of)?;
            records.extend(record);
        }
        reader.end().await;
        Ok(records)
    }

    /// The numbers of the events that are as the selection says.
    async fn select(&self, selection: &EventSelector) -> Result<Vec<i64>, StoreError> {
        use crate::store::millis::millis;
        let now = self.time.now();
        let ago = |time: Duration| now.saturating_sub(millis(time));
        let (since, until) = (selection.since.map(ago), selection.until.map(ago));
        let is_selected = |about: &About| {
            about.generation == 0
                && selection.event_id.as_ref().is_none_or(|id| *id == about.id)
                && is_of_type(selection.event_type.as_deref(), &about.event_type)
                && since.is_none_or(|since| about.stored_at >= since)
                && until.is_none_or(|until| about.stored_at <= until)
        };
        let subjects = match &selection.event_id {
            Some(id) => self.subjects.events_with_id(id),
            None => self.subjects.events(),
        };
        let mut reader = Reader::of(&self.stream, vec![subjects], true).await?;
        let mut selected = Vec::new();
        while let Some(read) = reader.next_there().await? {
            let Some(about) = read::about(&read.headers) else { continue };
            // They are in the order in which they came, but for what differs between the clocks of servers.
            if until.is_some_and(|until| about.stored_at > until.saturating_add(SKEW)) {
                break;
            }
            if is_selected(&about) {
                selected.push(super::record::number_of(read.sequence));
            }
        }
        reader.end().await;
        Ok(selected)
    }

    /// An event by its number.
    async fn numbered(&self, number: i64) -> Result<Option<KeptMessage>, StoreError> {
        let Ok(sequence) = u64::try_from(number) else { return Ok(None) };
        let message = read::numbered(&self.stream, sequence).await?;
        Ok(message.and_then(|message| {
            let about = read::about(&message.headers)?;
            Some(KeptMessage { sequence, about, payload: message.payload })
        }))
    }

    /// Deletes messages that say that something is elsewhere now, where they would be counted until they go by
    /// themselves.
    async fn forget(&self, sequences: impl IntoIterator<Item = u64>) {
        let deleted = sequences.into_iter().map(|sequence| self.stream.delete_message(sequence));
        drop(futures_util::future::join_all(deleted).await);
    }
}

/// By how much clocks may differ, in milliseconds.
const SKEW: i64 = 60_000;

fn is_of_type(pattern: Option<&str>, event_type: &str) -> bool {
    pattern.is_none_or(|pattern| Pattern::form(pattern).matches(event_type))
}
