//! Operations: status, list, show, change, replay, purge, erase, pause, resume and checkpoints.

mod changes;
mod erase;
mod list;
mod replay;
mod show;
mod status;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::Connection as _;

use super::{SqliteStore, checkpoints, paused};
use crate::{
    StoreError,
    operations::{
        Change, ChangeOutcome, EraseResult, EventDetails, EventSelector, InboxStatus,
        InvalidCheckpoint, ListEntry, ListFilter, PurgeTooSoon, ReplayResult, SelectedDelivery,
    },
    store::{Operations, PausedHandler, millis::millis},
};

#[async_trait]
impl Operations for SqliteStore {
    async fn status(&self) -> Result<InboxStatus, StoreError> {
        let mut reader = self.reader().await?;
        // In a transaction, so that all counts are of one snapshot.
        let mut read = reader.begin().await?;
        status::status(&mut read, self.now()).await.map_err(StoreError::from)
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<ListEntry>, StoreError> {
        let mut reader = self.reader().await?;
        list::list(&mut reader, filter, self.now()).await.map_err(StoreError::from)
    }

    async fn show(&self, event_id: &str) -> Result<Vec<EventDetails>, StoreError> {
        let mut reader = self.reader().await?;
        let mut read = reader.begin().await?;
        show::show(&mut read, event_id).await.map_err(StoreError::from)
    }

    async fn select_deliveries(
        &self,
        filter: &ListFilter,
    ) -> Result<Vec<SelectedDelivery>, StoreError> {
        let mut reader = self.reader().await?;
        let selected = list::select_deliveries(&mut reader, filter, self.now()).await;
        selected.map_err(StoreError::from)
    }

    async fn change(
        &self,
        deliveries: &[SelectedDelivery],
        change: Change,
    ) -> Result<Vec<ChangeOutcome>, StoreError> {
        let mut write = self.begin().await?;
        let now = self.now();
        let mut outcomes = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let outcome = changes::change(&mut write, delivery, change, now).await;
            outcomes.push(outcome?);
        }
        self.commit(write).await?;
        Ok(outcomes)
    }

    async fn select(&self, selection: &EventSelector) -> Result<Vec<i64>, StoreError> {
        let mut reader = self.reader().await?;
        list::select(&mut reader, selection, self.now()).await.map_err(StoreError::from)
    }

    async fn replay(
        &self,
        events: &[i64],
        handlers: &[Arc<str>],
    ) -> Result<Vec<ReplayResult>, StoreError> {
        let mut write = self.begin().await?;
        let now = self.now();
        let mut replayed = Vec::with_capacity(events.len());
        for event in events {
            let result = replay::replay(&mut write, *event, handlers, now).await;
            replayed.push(result?);
        }
        self.commit(write).await?;
        Ok(replayed)
    }

    async fn purge(&self, events: &[i64], older_than: Duration) -> Result<u64, StoreError> {
        PurgeTooSoon::check(older_than)?;
        let mut write = self.begin().await?;
        let before = self.now().saturating_sub(millis(older_than));
        let mut purged = 0;
        for event in events {
            let deleted = changes::purge(&mut write, *event, before).await;
            purged += u64::from(deleted?);
        }
        self.commit(write).await?;
        Ok(purged)
    }

    async fn erase(&self, events: &[i64]) -> Result<Vec<EraseResult>, StoreError> {
        let mut write = self.begin().await?;
        let now = self.now();
        let mut results = Vec::with_capacity(events.len());
        for event in events {
            results.push(erase::erase(&mut write, *event, now).await?);
        }
        self.commit(write).await?;
        EraseResult::log(&results);
        Ok(results)
    }

    async fn pause(
        &self,
        handler: &str,
        note: Option<&str>,
    ) -> Result<Option<PausedHandler>, StoreError> {
        let mut write = self.begin().await?;
        let earlier = paused::pause(&mut write, handler, note, self.now()).await?;
        self.commit(write).await?;
        Ok(earlier)
    }

    async fn resume(&self, handler: &str) -> Result<Option<PausedHandler>, StoreError> {
        let mut write = self.begin().await?;
        let resumed = paused::resume(&mut write, handler).await?;
        self.commit(write).await?;
        Ok(resumed)
    }

    async fn checkpoint(&self, name: &str) -> Result<Option<String>, StoreError> {
        InvalidCheckpoint::check_name(name)?;
        let mut reader = self.reader().await?;
        checkpoints::get(&mut reader, name).await.map_err(StoreError::from)
    }

    async fn set_checkpoint(&self, name: &str, value: &str) -> Result<(), StoreError> {
        InvalidCheckpoint::check(name, value)?;
        let mut write = self.begin().await?;
        checkpoints::set(&mut write, name, value).await?;
        self.commit(write).await
    }
}
