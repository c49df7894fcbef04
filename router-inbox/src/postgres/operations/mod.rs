//! What people ask of the database, beside the inboxes that use it.
//!
//! Who changes something first locks the events that it is about, by number, and then as everybody does: see
//! `writes.rs`. So two who change the same events do it one after the other, and what has ended stays as it is.

mod changes;
mod list;
mod purge;
mod replay;
mod show;
mod status;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{PgConnection, Postgres, Transaction};

use super::{PostgresStore, schema::Schema};
use crate::{
    Operations, StoreError,
    operations::{
        ChangeResult, EventDetails, EventSelector, InboxStatus, ListEntry, ListFilter,
        PurgeTooSoon, Replayed,
    },
};

/// All that is read is as of one moment.
const READ: &str = "begin isolation level repeatable read, read only";

#[async_trait]
impl Operations for PostgresStore {
    /// What is open and what is dead is counted. Of events, of those that are unhandled and of deliveries each is
    /// counted where there are up to 100,000; of more, their number is estimated, by how many the server's last
    /// `analyze` found in a page.
    async fn status(&self) -> Result<InboxStatus, StoreError> {
        let status = async { status::status(&mut *self.read().await?, &self.schema).await };
        status.await.map_err(|error| self.failed(error))
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<ListEntry>, StoreError> {
        let listed = async { list::list(&mut *self.read().await?, &self.schema, filter).await };
        listed.await.map_err(|error| self.failed(error))
    }

    async fn show(&self, event_id: &str) -> Result<Vec<EventDetails>, StoreError> {
        let shown = async { show::show(&mut *self.read().await?, &self.schema, event_id).await };
        shown.await.map_err(|error| self.failed(error))
    }

    async fn retry(
        &self,
        event_id: &str,
        handler: Option<&str>,
    ) -> Result<Vec<ChangeResult>, StoreError> {
        let retried = async {
            let mut write = self.pool.begin().await?;
            let retried = changes::retry(&mut write, self, event_id, handler).await?;
            write.commit().await?;
            Ok(retried)
        };
        retried.await.map_err(|error| self.failed(error))
    }

    async fn discard(
        &self,
        event_id: &str,
        handler: Option<&str>,
    ) -> Result<Vec<ChangeResult>, StoreError> {
        let discarded = async {
            let mut write = self.pool.begin().await?;
            let discarded = changes::discard(&mut write, self, event_id, handler).await?;
            write.commit().await?;
            Ok(discarded)
        };
        discarded.await.map_err(|error| self.failed(error))
    }

    async fn select(&self, selection: &EventSelector) -> Result<Vec<i64>, StoreError> {
        let selected =
            async { list::select(&mut *self.read().await?, &self.schema, selection).await };
        selected.await.map_err(|error| self.failed(error))
    }

    async fn replay(
        &self,
        events: &[i64],
        handlers: &[Arc<str>],
    ) -> Result<Vec<Replayed>, StoreError> {
        let replayed = async {
            let mut write = self.pool.begin().await?;
            let replayed = replay::replay(&mut write, self, events, handlers).await?;
            write.commit().await?;
            Ok(replayed)
        };
        replayed.await.map_err(|error| self.failed(error))
    }

    async fn purge(&self, events: &[i64], older_than: Duration) -> Result<u64, StoreError> {
        PurgeTooSoon::check(older_than)?;
        let purged = async {
            let mut write = self.pool.begin().await?;
            let purged = purge::purge(&mut write, &self.schema, events, older_than).await?;
            write.commit().await?;
            Ok(purged)
        };
        purged.await.map_err(|error| self.failed(error))
    }
}

impl PostgresStore {
    async fn read(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.pool.begin_with(READ).await
    }
}

/// Nobody else changes these events, in any of their generations, nor replays them, until this commits. What comes
/// next must be another statement: this one does not see what it has waited for.
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
