//! Operations: status, list, show, change, select, replay, purge, pause and resume.

mod changes;
mod list;
mod purge;
mod replay;
mod show;
mod status;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use router_catalog::Pattern;

use super::{
    Connection, JetStreamStore,
    event_meta::EventMeta,
    read::{self, Reader},
    record::{Record, Stage, number_from_sequence},
};
use crate::{
    StoreError,
    operations::{
        Change, ChangeOutcome, EventDetails, EventSelector, InboxStatus, ListEntry, ListFilter,
        PurgeTooSoon, ReplayResult, SelectedDelivery,
    },
    store::{Operations, PausedHandler},
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

    /// Reads every record of the stages that can match, like [`list`](Operations::list).
    async fn select_deliveries(
        &self,
        filter: &ListFilter,
    ) -> Result<Vec<SelectedDelivery>, StoreError> {
        self.0.select_deliveries(filter).await
    }

    async fn change(
        &self,
        deliveries: &[SelectedDelivery],
        change: Change,
    ) -> Result<Vec<ChangeOutcome>, StoreError> {
        self.0.change(deliveries, change).await
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

    async fn pause(
        &self,
        handler: &str,
        note: Option<&str>,
    ) -> Result<Option<PausedHandler>, StoreError> {
        self.0.pause(handler, note).await
    }

    async fn resume(&self, handler: &str) -> Result<Option<PausedHandler>, StoreError> {
        self.0.resume(handler).await
    }
}

impl Connection {
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
                .map_err(StoreError::corrupt)?;
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
                && matches_type(selection.event_type.as_deref(), &meta.event_type)
                && since.is_none_or(|since| meta.stored_at >= since)
                && until.is_none_or(|until| meta.stored_at <= until)
        };
        if let Some(id) = &selection.event_id {
            let events = self.events_with_id(id).await?.into_iter();
            let selected = events.filter(|event| is_selected(&event.meta));
            return Ok(selected.map(|event| number_from_sequence(event.sequence)).collect());
        }
        let subjects = self.subjects.events();
        let mut reader = Reader::new(&self.stream, vec![subjects], true).await?;
        let mut selected = Vec::new();
        while let Some(message) = reader.next_existing().await? {
            let Some(meta) = read::event_meta(&message.headers) else { continue };
            // Events are in the order of their times, apart from clock skew between servers.
            if until.is_some_and(|until| meta.stored_at > until.saturating_add(MAX_CLOCK_SKEW)) {
                break;
            }
            if is_selected(&meta) {
                selected.push(number_from_sequence(message.sequence));
            }
        }
        reader.close().await;
        Ok(selected)
    }
}

/// The assumed maximum difference between the servers' clocks, in milliseconds.
const MAX_CLOCK_SKEW: i64 = 60_000;

fn matches_type(pattern: Option<&str>, event_type: &str) -> bool {
    pattern.is_none_or(|pattern| Pattern::parse_unchecked(pattern).matches(event_type))
}
