//! The embedded store: one SQLite file.

mod checkpoints;
mod claims;
mod existing;
mod file;
mod history;
mod open;
mod operations;
pub(crate) mod options;
mod paused;
mod private_file;
mod quick_check;
mod redeliver;
mod schema;
mod time;
mod workers;
mod writes;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use router_core::{
    clock::Clock,
    delivery::{Delivery, DeliveryService, ProvidedType},
};
use sqlx::{
    Row as _, Sqlite, SqliteConnection, SqlitePool, Transaction, pool::PoolConnection,
    sqlite::SqliteRow,
};
use tokio::sync::Mutex;

use self::{file::OpenFiles, time::StoreTime};
use crate::{
    Store, StoreError, Tx,
    store::{
        Backlog, Claim, ClaimRequest, CompleteResult, DeliveryOutcome, Effects, Lease, NewEvent,
        Operations, PausedHandler, StoreErrorKind, Stored, StoredDelivery, WorkerInfo, rows::state,
        sql_error::kind,
    },
    tx::{self, TxPermits, TxStore},
};

/// A store in one SQLite file, which several processes on one machine can share. Every stored event
/// is on disk (`synchronous = FULL`) before Stripe is answered.
///
/// SQLite allows one writer at a time, so the writes of this process wait in one fair queue. Reads
/// do not wait.
///
/// The file may hold the application's own tables too, which a [`Tx`] writes to. Names of tables,
/// indexes, views and triggers that begin with `stripe_inbox_` are reserved for the inbox.
///
/// If the file, its WAL or the WAL's index is moved, deleted or replaced while the store is open,
/// nothing is committed until the file is back or the process restarts: storing and claiming fail,
/// and an error is logged. The same holds for a file that the check at [opening](Self::open) finds
/// damaged, until the process restarts.
///
/// ```
/// use router_inbox::{SqliteStore, Store as _};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let url = format!("sqlite:{}/inbox.db", folder.path().display());
/// let store = SqliteStore::open(&url).await?; // "sqlite:inbox.db"
/// assert!(store.deliveries("evt_1").await?.is_empty());
/// # Ok(())
/// # }
/// ```
///
/// Cloning is cheap; clones share the connections.
#[derive(Clone)]
pub struct SqliteStore {
    /// A pool of the only connection that writes. The pool's queue is fair.
    writer: SqlitePool,
    readers: SqlitePool,
    /// A permit to wait for the writer and use it, which one handler at a time has. The store
    /// itself thus never waits behind several handlers.
    permits: TxPermits,
    files: Arc<OpenFiles>,
    /// See [`open::Opened::first`].
    _first: Arc<Mutex<SqliteConnection>>,
    time: StoreTime,
    transaction_limit: Duration,
}

#[derive(Debug, thiserror::Error)]
enum WriterBusy {
    #[error(
        "other tasks of this process have been writing to the file for {}; check whether a handler holds its `Tx` \
         too long",
        humantime::format_duration(open::ACQUIRE_TIMEOUT)
    )]
    ThisProcess,
    #[error(
        "another connection, of this or of another process, has been writing to the file for {}; check whether a \
         transaction outside the inbox is open too long",
        humantime::format_duration(open::BUSY_TIMEOUT)
    )]
    OtherConnection,
}

const BEGIN: &str = "BEGIN IMMEDIATE";

impl SqliteStore {
    /// Begins a transaction that takes the write lock at once. If it took the lock later, its first
    /// write would fail if another process had written since its first read.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.files.check_if_suspect().await?;
        match self.writer.begin_with(BEGIN).await {
            Ok(write) => Ok(write),
            Err(sqlx::Error::PoolTimedOut) => Err(StoreError::busy(WriterBusy::ThisProcess)),
            Err(error) if kind(&error) == StoreErrorKind::Busy => {
                Err(StoreError::busy(WriterBusy::OtherConnection))
            }
            Err(error) => Err(self.files.explain(error).await),
        }
    }

    async fn commit(&self, write: Transaction<'static, Sqlite>) -> Result<(), StoreError> {
        match write.commit().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.files.explain(error).await),
        }
    }

    async fn reader(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.files.check_if_suspect().await?;
        match self.readers.acquire().await {
            Ok(reader) => Ok(reader),
            Err(error) => Err(self.files.explain(error).await),
        }
    }

    /// Returns the current time in milliseconds since 1970.
    fn now(&self) -> i64 {
        self.time.now()
    }

    /// Limits the due times to the scheduled delays from now. Returns the number of deliveries
    /// changed, or `None` if none is due too late.
    async fn correct_due_times(&self) -> Result<Option<u64>, StoreError> {
        let mut reader = self.reader().await?;
        let needed = claims::is_due_too_late(&mut reader, self.now()).await;
        drop(reader);
        if !needed? {
            return Ok(None);
        }
        let mut write = self.begin().await?;
        let corrected = claims::correct_due_times(&mut write, self.now()).await;
        let deliveries = corrected?;
        self.commit(write).await?;
        Ok(Some(deliveries))
    }
}

impl DeliveryService for SqliteStore {
    fn provides(&self) -> Vec<ProvidedType> {
        vec![ProvidedType::of::<Tx<Sqlite>>()]
    }
}

#[async_trait]
impl TxStore<Sqlite> for SqliteStore {
    fn permits(&self) -> &TxPermits {
        &self.permits
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        SqliteStore::begin(self).await
    }

    async fn complete_in(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        lease: &Lease,
        outcome: &DeliveryOutcome,
    ) -> Result<CompleteResult, StoreError> {
        Ok(writes::complete(tx, lease, outcome, self.now()).await?)
    }

    async fn explain(&self, error: sqlx::Error) -> StoreError {
        self.files.explain(error).await
    }

    fn limit(&self) -> Option<Duration> {
        Some(self.transaction_limit)
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.time.clock().clone()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        let mut write = self.begin().await?;
        let now = self.now();
        let mut stored = Vec::with_capacity(events.len());
        for event in events {
            let result = match writes::store_new(&mut write, event, now).await? {
                true => Stored::New,
                false => redeliver::redeliver(&mut write, event, now).await?,
            };
            stored.push(result);
        }
        self.commit(write).await?;
        Ok(stored)
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        self.time.correct(self.correct_due_times()).await?;
        // Usually nothing is due, which a reader can find out without waiting for the writer.
        let mut reader = self.reader().await?;
        let time = self.time.for_claim(request.lease);
        let due = claims::due(&mut reader, request, time).await?;
        drop(reader);
        if due.is_empty() {
            // No commit follows that would check the files.
            self.files.check_and_log().await?;
            return Ok(Vec::new());
        }
        let mut write = self.begin().await?;
        let time = self.time.for_claim(request.lease);
        let claims = claims::claim(&mut write, request, time).await?;
        self.commit(write).await?;
        Ok(claims)
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        let mut write = self.begin().await?;
        let now = self.now();
        let mut extended = Vec::with_capacity(leases.len());
        for lease in leases {
            let held = writes::extend(&mut write, lease, duration, now).await?;
            extended.push(held);
        }
        self.commit(write).await?;
        Ok(extended)
    }

    async fn complete(
        &self,
        outcomes: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<CompleteResult>, StoreError> {
        let mut write = self.begin().await?;
        let now = self.now();
        let mut completed = Vec::with_capacity(outcomes.len());
        for (lease, outcome) in outcomes {
            let recorded = writes::complete(&mut write, lease, outcome, now).await;
            completed.push(recorded?);
        }
        self.commit(write).await?;
        Ok(completed)
    }

    async fn deliveries(&self, event_id: &str) -> Result<Vec<StoredDelivery>, StoreError> {
        let rows = sqlx::query(
            "select endpoint, account, generation, handler, state, attempts, error
             from stripe_inbox_events e join stripe_inbox_deliveries d on d.event = e.id
             where identity in (select identity from stripe_inbox_identities where event_id = ?1)
             order by endpoint, account, generation, handler, d.id",
        );
        let mut reader = self.reader().await?;
        let rows = rows.bind(event_id).fetch_all(&mut *reader).await?;
        rows.iter().map(delivery).collect::<Result<_, _>>().map_err(StoreError::from)
    }

    fn prepare(&self, delivery: Delivery) -> (Delivery, Option<Box<dyn Effects>>) {
        tx::provide(Arc::new(self.clone()), delivery)
    }

    fn blocking_limit(&self) -> Duration {
        self.transaction_limit
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    async fn report_worker(&self, worker: &WorkerInfo, ttl: Duration) -> Result<(), StoreError> {
        let mut write = self.begin().await?;
        workers::report(&mut write, worker, ttl, self.now()).await?;
        self.commit(write).await
    }

    async fn workers(&self) -> Result<Option<Vec<WorkerInfo>>, StoreError> {
        let mut reader = self.reader().await?;
        Ok(Some(workers::running(&mut reader, self.now()).await?))
    }

    async fn paused_handlers(&self) -> Result<Vec<PausedHandler>, StoreError> {
        let mut reader = self.reader().await?;
        Ok(paused::list(&mut reader).await?)
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        claims::backlog(&self.readers, self.now()).await.map_err(StoreError::from)
    }
}

fn delivery(row: &SqliteRow) -> sqlx::Result<StoredDelivery> {
    let account: String = row.try_get("account")?;
    let handler: String = row.try_get("handler")?;
    Ok(StoredDelivery {
        endpoint: row.try_get("endpoint")?,
        account: (!account.is_empty()).then_some(account),
        generation: row.try_get("generation")?,
        handler: handler.into(),
        state: state(row.try_get("state")?)?,
        attempts: row.try_get("attempts")?,
        error: row.try_get("error")?,
    })
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("transaction_limit", &self.transaction_limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `synchronous` is a setting of a connection, not of the file, so only a unit test can read
    /// it.
    #[tokio::test]
    async fn commit_is_on_disk_before_it_returns() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/inbox.db", folder.path().display());
        let store = SqliteStore::open(&url).await.unwrap();
        let mut writer = store.writer.acquire().await.unwrap();
        let level = sqlx::query("pragma synchronous").fetch_one(&mut *writer).await.unwrap();
        assert_eq!(level.get::<i64, _>(0), 2, "FULL");
        let mode = sqlx::query("pragma journal_mode").fetch_one(&mut *writer).await.unwrap();
        assert_eq!(mode.get::<String, _>(0), "wal");
    }
}
