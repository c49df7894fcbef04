//! Operations: status, list, show, change, select, replay, purge, erase, pause, resume and
//! checkpoints.

mod changes;
mod erase;
mod list;
mod purge;
mod replay;
mod select;
mod show;
mod status;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use router_catalog::Pattern;

use super::{
    Connection, JetStreamStore,
    read::Reader,
    record::{Record, Stage},
};
use crate::{
    StoreError,
    operations::{
        Change, ChangeOutcome, EraseResult, EventDetails, EventSelector, InboxStatus,
        InvalidCheckpoint, ListEntry, ListFilter, PurgeTooSoon, ReplayResult, SelectedDelivery,
    },
    store::{Operations, PausedHandler},
};

/// Number of events that an operation reads at a time.
const EVENTS_PER_READ: usize = 50;

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

    /// The former messages remain in the server's files until the server compacts these: once it no
    /// longer appends to a file and less than half of the file is in use.
    async fn erase(&self, events: &[i64]) -> Result<Vec<EraseResult>, StoreError> {
        let results = self.0.erase(events).await?;
        EraseResult::log(&results);
        Ok(results)
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

    async fn checkpoint(&self, name: &str) -> Result<Option<String>, StoreError> {
        InvalidCheckpoint::check_name(name)?;
        self.0.checkpoint(name).await
    }

    async fn set_checkpoint(&self, name: &str, value: &str) -> Result<(), StoreError> {
        InvalidCheckpoint::check(name, value)?;
        self.0.set_checkpoint(name, value).await
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
}

fn matches_type(pattern: Option<&str>, event_type: &str) -> bool {
    pattern.is_none_or(|pattern| Pattern::parse_unchecked(pattern).matches(event_type))
}

/// Returns the length of the longest prefix without repetitions. The changes of a repeated event
/// depend on each other, so they must not be in one batch.
fn distinct_prefix(events: &[i64]) -> usize {
    let mut seen = BTreeSet::new();
    events.iter().take_while(|event| seen.insert(**event)).count()
}
