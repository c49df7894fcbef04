//! The embedded store: one SQLite file.

mod claims;
mod existing;
mod open;
mod operations;
mod schema;
mod writes;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use router_core::{
    DeliveringService, Delivery, ProvidedType,
    clock::{Clock, SystemClock},
};
use sqlx::{Row as _, Sqlite, SqlitePool, Transaction, sqlite::SqliteRow};

use crate::{
    Backlog, Claim, ClaimRequest, Completed, DeliveryOutcome, Effects, Lease, NewEvent, Operations,
    Store, StoreError, Stored, StoredDelivery, Tx,
    store::rows::{millis, state},
    tx::{self, TxStore},
};

/// A store in one SQLite file, which this process and others on the machine share. What was stored is on the
/// disk (`synchronous = FULL`) before Stripe is answered.
///
/// SQLite has one writer at a time, so all that writes in this process waits for its turn in one fair queue.
/// Readers do not wait.
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
/// Cheap to clone; clones are one store.
#[derive(Clone)]
pub struct SqliteStore {
    /// One connection, which waits for its turn in one fair queue.
    writer: SqlitePool,
    readers: SqlitePool,
    clock: Arc<dyn Clock>,
    transaction_limit: Duration,
}

#[derive(Debug, thiserror::Error)]
enum WriterBusy {
    #[error(
        "this process was writing to the file for {}, which nothing may: does a handler keep its `Tx`?",
        humantime::format_duration(open::TURN)
    )]
    Here,
    #[error(
        "another program was writing to the file for {}",
        humantime::format_duration(open::BUSY)
    )]
    Elsewhere,
}

const BEGIN: &str = "BEGIN IMMEDIATE";

impl SqliteStore {
    /// Opens the file that a URL such as `sqlite:inbox.db` names, makes it if it is not there, and brings its
    /// tables up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the file cannot be opened or is no database.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let (writer, readers) = open::file(url).await?;
        let (clock, transaction_limit) = (Arc::new(SystemClock), Duration::from_secs(5));
        Ok(Self { writer, readers, clock, transaction_limit })
    }

    /// Where the time comes from; the machine's clock by default. All processes that share the file must agree
    /// about it.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// How long a handler may have its [`Tx`] open, which holds up everybody else; 5 s by default. It is stopped then, what
    /// it wrote is undone, and it is tried again.
    #[must_use]
    pub fn transaction_limit(self, transaction_limit: Duration) -> Self {
        Self { transaction_limit, ..self }
    }

    /// A transaction that nobody else's write can fail: whoever reads first and then writes could be told that what it
    /// read is old.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        match self.writer.begin_with(BEGIN).await {
            Ok(write) => Ok(write),
            Err(sqlx::Error::PoolTimedOut) => Err(StoreError::of(WriterBusy::Here)),
            Err(error) if open::is_locked(&error) => Err(StoreError::of(WriterBusy::Elsewhere)),
            Err(error) => Err(StoreError::of(error)),
        }
    }

    fn now(&self) -> i64 {
        millis(self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl DeliveringService for SqliteStore {
    fn provides(&self) -> Vec<ProvidedType> {
        vec![ProvidedType::of::<Tx<Sqlite>>()]
    }
}

#[async_trait]
impl TxStore<Sqlite> for SqliteStore {
    /// Waits for as long as the handler may take: its turn comes.
    async fn begin(&self) -> sqlx::Result<Transaction<'static, Sqlite>> {
        loop {
            match self.writer.begin_with(BEGIN).await {
                Err(sqlx::Error::PoolTimedOut) => {}
                begun => return begun,
            }
        }
    }

    async fn complete_in(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        lease: &Lease,
        end: &DeliveryOutcome,
    ) -> sqlx::Result<Completed> {
        writes::complete(tx, lease, end, self.now()).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        let mut write = self.begin().await?;
        let now = self.now();
        let mut stored = Vec::with_capacity(events.len());
        for event in events {
            stored.push(writes::store(&mut write, event, now).await.map_err(StoreError::of)?);
        }
        write.commit().await.map_err(StoreError::of)?;
        Ok(stored)
    }

    async fn claim(&self, wanted: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        // Mostly nothing is due, and then nobody need wait for a turn to write.
        let mut reader = self.readers.acquire().await.map_err(StoreError::of)?;
        let due = claims::due(&mut reader, wanted, self.now()).await.map_err(StoreError::of)?;
        drop(reader);
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mut write = self.begin().await?;
        let claims = claims::claim(&mut write, wanted, self.now()).await.map_err(StoreError::of)?;
        write.commit().await.map_err(StoreError::of)?;
        Ok(claims)
    }

    async fn extend(&self, leases: &[Lease], time: Duration) -> Result<Vec<bool>, StoreError> {
        let mut write = self.begin().await?;
        let until = self.now().saturating_add(millis(time));
        let mut extended = Vec::with_capacity(leases.len());
        for lease in leases {
            let held = writes::extend(&mut write, lease, until).await.map_err(StoreError::of)?;
            extended.push(held);
        }
        write.commit().await.map_err(StoreError::of)?;
        Ok(extended)
    }

    async fn complete(
        &self,
        ends: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<Completed>, StoreError> {
        let mut write = self.begin().await?;
        let now = self.now();
        let mut completed = Vec::with_capacity(ends.len());
        for (lease, end) in ends {
            let recorded = writes::complete(&mut write, lease, end, now).await;
            completed.push(recorded.map_err(StoreError::of)?);
        }
        write.commit().await.map_err(StoreError::of)?;
        Ok(completed)
    }

    async fn deliveries(&self, event_id: &str) -> Result<Vec<StoredDelivery>, StoreError> {
        let rows = sqlx::query(
            "select endpoint, account, generation, handler, state, attempts, error
             from events join deliveries on deliveries.event = events.id
             where event_id = ?1 order by endpoint, account, generation, handler",
        );
        let rows = rows.bind(event_id).fetch_all(&self.readers).await.map_err(StoreError::of)?;
        rows.iter().map(kept).collect::<Result<_, _>>().map_err(StoreError::of)
    }

    fn prepare(&self, delivery: Delivery) -> (Delivery, Option<Box<dyn Effects>>) {
        let (store, limit) = (Arc::new(self.clone()), Some(self.transaction_limit));
        let (tx, effects) = tx::for_delivery(store, limit, self.clock.clone());
        (delivery.provide(tx), Some(Box::new(effects)))
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        claims::backlog(&self.readers, self.now()).await.map_err(StoreError::of)
    }
}

fn kept(row: &SqliteRow) -> sqlx::Result<StoredDelivery> {
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
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `synchronous` is of a connection, not of the file, so nobody else could look.
    #[tokio::test]
    async fn a_commit_is_on_the_disk_before_it_returns() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/inbox.db", folder.path().display());
        let store = SqliteStore::open(&url).await.unwrap();
        let mut writer = store.writer.acquire().await.unwrap();
        let set = sqlx::query("pragma synchronous").fetch_one(&mut *writer).await.unwrap();
        assert_eq!(set.get::<i64, _>(0), 2, "FULL");
        let mode = sqlx::query("pragma journal_mode").fetch_one(&mut *writer).await.unwrap();
        assert_eq!(mode.get::<String, _>(0), "wal");
    }
}
