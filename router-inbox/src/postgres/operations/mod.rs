//! Operations: status, list, show, change, replay, purge, erase, pause, resume and checkpoints.
//!
//! An operation that writes first locks the rows of its events, by id. The locks that follow are
//! taken in the order described in `writes.rs`. So two operations on one event run one after the
//! other, and no operation changes a finished delivery while another uses it.

mod changes;
mod erase;
mod list;
mod purge;
mod replay;
mod show;
mod status;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{PgConnection, Postgres, Transaction};

use super::{PostgresStore, checkpoints, paused, schema::Schema};
use crate::{
    StoreError,
    operations::{
        Change, ChangeOutcome, EraseResult, EventDetails, EventSelector, InboxStatus,
        InvalidCheckpoint, ListEntry, ListFilter, PurgeTooSoon, ReplayResult, SelectedDelivery,
    },
    store::{Operations, PausedHandler},
};

/// Begins a transaction. An operator waits longer than a worker, up to 5 minutes per statement.
const BEGIN_WRITE: &str = "begin; set local statement_timeout = 300000";

/// Begins a transaction whose statements all read one snapshot.
const BEGIN_READ: &str =
    "begin isolation level repeatable read, read only; set local statement_timeout = 300000";

#[async_trait]
impl Operations for PostgresStore {
    /// Counts waiting, running and dead deliveries exactly. The totals of events, unhandled events
    /// and deliveries are exact up to 100,000 each; above that they are estimates, from the rows
    /// per page found by the server's last `analyze`.
    async fn status(&self) -> Result<InboxStatus, StoreError> {
        let status = async { status::status(&mut *self.read().await?, &self.schema).await };
        status.await.map_err(|error| self.store_error(error))
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<ListEntry>, StoreError> {
        let listed = async { list::list(&mut *self.read().await?, &self.schema, filter).await };
        listed.await.map_err(|error| self.store_error(error))
    }

    async fn show(&self, event_id: &str) -> Result<Vec<EventDetails>, StoreError> {
        let shown = async { show::show(&mut *self.read().await?, &self.schema, event_id).await };
        shown.await.map_err(|error| self.store_error(error))
    }

    async fn select_deliveries(
        &self,
        filter: &ListFilter,
    ) -> Result<Vec<SelectedDelivery>, StoreError> {
        let selected =
            async { list::select_deliveries(&mut *self.read().await?, &self.schema, filter).await };
        selected.await.map_err(|error| self.store_error(error))
    }

    async fn change(
        &self,
        deliveries: &[SelectedDelivery],
        change: Change,
    ) -> Result<Vec<ChangeOutcome>, StoreError> {
        let outcomes = async {
            let mut write = self.pool.begin_with(BEGIN_WRITE).await?;
            let outcomes = changes::change(&mut write, self, deliveries, change).await?;
            write.commit().await?;
            Ok(outcomes)
        };
        outcomes.await.map_err(|error| self.store_error(error))
    }

    async fn select(&self, selection: &EventSelector) -> Result<Vec<i64>, StoreError> {
        let selected =
            async { list::select(&mut *self.read().await?, &self.schema, selection).await };
        selected.await.map_err(|error| self.store_error(error))
    }

    async fn replay(
        &self,
        events: &[i64],
        handlers: &[Arc<str>],
    ) -> Result<Vec<ReplayResult>, StoreError> {
        let replayed = async {
            let mut write = self.pool.begin_with(BEGIN_WRITE).await?;
            let replayed = replay::replay(&mut write, self, events, handlers).await?;
            write.commit().await?;
            Ok(replayed)
        };
        replayed.await.map_err(|error| self.store_error(error))
    }

    async fn purge(&self, events: &[i64], older_than: Duration) -> Result<u64, StoreError> {
        PurgeTooSoon::check(older_than)?;
        let purged = async {
            let mut write = self.pool.begin_with(BEGIN_WRITE).await?;
            let purged = purge::purge(&mut write, &self.schema, events, older_than).await?;
            write.commit().await?;
            Ok(purged)
        };
        purged.await.map_err(|error| self.store_error(error))
    }

    async fn erase(&self, events: &[i64]) -> Result<Vec<EraseResult>, StoreError> {
        let erased = async {
            let mut write = self.pool.begin_with(BEGIN_WRITE).await?;
            let results = erase::erase(&mut write, &self.schema, events).await?;
            write.commit().await?;
            EraseResult::log(&results);
            Ok(results)
        };
        erased.await.map_err(|error| self.store_error(error))
    }

    async fn pause(
        &self,
        handler: &str,
        note: Option<&str>,
    ) -> Result<Option<PausedHandler>, StoreError> {
        let earlier = async {
            let mut connection = self.pool.acquire().await?;
            paused::pause(&mut connection, &self.schema, handler, note).await
        };
        earlier.await.map_err(|error| self.store_error(error))
    }

    async fn resume(&self, handler: &str) -> Result<Option<PausedHandler>, StoreError> {
        let resumed = async {
            let mut connection = self.pool.acquire().await?;
            paused::resume(&mut connection, &self.schema, handler).await
        };
        resumed.await.map_err(|error| self.store_error(error))
    }

    async fn checkpoint(&self, name: &str) -> Result<Option<String>, StoreError> {
        InvalidCheckpoint::check_name(name)?;
        let value = async {
            let mut connection = self.pool.acquire().await?;
            checkpoints::get(&mut connection, &self.schema, name).await
        };
        value.await.map_err(|error| self.store_error(error))
    }

    async fn set_checkpoint(&self, name: &str, value: &str) -> Result<(), StoreError> {
        InvalidCheckpoint::check(name, value)?;
        let set = async {
            let mut connection = self.pool.acquire().await?;
            checkpoints::set(&mut connection, &self.schema, name, value).await
        };
        set.await.map_err(|error| self.store_error(error))
    }
}

impl PostgresStore {
    async fn read(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.pool.begin_with(BEGIN_READ).await
    }
}

/// Locks all generations of these events until the transaction ends, against other operations.
///
/// The rows must be read by a later statement, because this one does not see changes by the
/// transactions that it waited for.
async fn lock_generations(
    write: &mut PgConnection,
    schema: &Schema,
    events: &[i64],
) -> sqlx::Result<()> {
    let lock = sqlx::query(schema.sql(
        "select from inbox.events where id in (select other from inbox.generations where event = any($1))
         order by id for no key update",
    ));
    lock.bind(events).execute(write).await?;
    Ok(())
}
