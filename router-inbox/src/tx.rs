//! The transaction that commits a handler's writes together with its delivery.
//!
//! A handler takes a [`Tx`]. A SQL store of your own provides it: the store implements [`TxStore`],
//! calls [`provide`] in [`Store::prepare`](crate::Store::prepare), and names the type in
//! [`DeliveryService::provides`](router_core::delivery::DeliveryService::provides).
//!
//! ```
//! use std::sync::Arc;
//!
//! use router_core::delivery::{Delivery, DeliveryService, ProvidedType};
//! use router_inbox::{
//!     StoreError, Tx,
//!     sqlx::{Sqlite, SqlitePool, Transaction},
//!     store::{CompleteResult, DeliveryOutcome, Effects, Lease},
//!     tx::{self, TxPermits, TxStore},
//! };
//!
//! #[derive(Clone)]
//! struct MyStore {
//!     pool: SqlitePool,
//!     permits: TxPermits,
//! }
//!
//! #[async_trait::async_trait]
//! impl TxStore<Sqlite> for MyStore {
//!     fn permits(&self) -> &TxPermits {
//!         &self.permits
//!     }
//!
//!     async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
//!         // Takes the write lock now, because SQLite cannot wait for it after a first read.
//!         Ok(self.pool.begin_with("begin immediate").await?)
//!     }
//!
//!     async fn complete_in(
//!         &self,
//!         tx: &mut Transaction<'static, Sqlite>,
//!         lease: &Lease,
//!         outcome: &DeliveryOutcome,
//!     ) -> Result<CompleteResult, StoreError> {
//!         // As `Store::complete` does, but in `tx` and without committing.
//! #       let _ = (tx, lease, outcome);
//!         Ok(CompleteResult::Recorded)
//!     }
//! }
//!
//! impl DeliveryService for MyStore {
//!     fn provides(&self) -> Vec<ProvidedType> {
//!         vec![ProvidedType::of::<Tx<Sqlite>>()]
//!     }
//! }
//!
//! /// In `impl Store for MyStore`.
//! fn prepare(store: &MyStore, delivery: Delivery) -> (Delivery, Option<Box<dyn Effects>>) {
//!     tx::provide(Arc::new(store.clone()), delivery)
//! }
//! ```

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use router_core::{
    Event, FromEvent, Rejection,
    clock::{Clock, SystemClock},
    delivery::{Delivery, TimeoutPause},
    extract::PerDelivery,
};
use sqlx::{Database, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{
    StoreError,
    store::{CompleteResult, DeliveryOutcome, Effects, Lease},
};

/// A transaction in which a handler writes, and in which the inbox then completes the delivery.
///
/// The handler's writes are committed atomically with the completion of the delivery, and therefore
/// take effect exactly once. An error, a panic or a timeout of the handler rolls the writes back,
/// and so does a crash of the process. The handler does not commit; the inbox does.
///
/// A `SqliteStore` provides `Tx<Sqlite>`, and a `PostgresStore` provides `Tx<Postgres>`. Building
/// the router fails if a handler takes a `Tx` that its store does not provide.
///
/// ```
/// use router_core::{BoxError, Event, on_event};
/// use router_inbox::{Tx, sqlx::{self, Sqlite}};
///
/// #[on_event("invoice.paid", name = "shop.fulfil")]
/// async fn fulfil(event: Event, mut tx: Tx<Sqlite>) -> Result<(), BoxError> {
///     // Do slow work before this line: from here on, nothing else can write to SQLite.
///     let db = tx.begin().await?;
///     let insert = sqlx::query("insert into orders (event) values (?)").bind(event.id());
///     insert.execute(db).await?;
///     Ok(())
/// }
/// # fn main() {}
/// ```
///
/// A handler for both engines takes an extractor that needs
/// [`Either`](router_core::extract::Either) of the two.
///
/// A test runs the handler with `testing::TestInbox` (feature `testing`).
///
/// If a handler returns while its `Tx` has begun and is still alive, for example in a spawned task,
/// the attempt fails and is retried.
pub struct Tx<DB: Database> {
    shared: Arc<SharedTx<DB>>,
    open: Option<OpenTx<DB>>,
}

/// A transaction that has begun.
struct OpenTx<DB: Database> {
    transaction: Transaction<'static, DB>,
    /// The permit, which is released after the connection.
    _permit: OwnedSemaphorePermit,
}

impl<DB: Database> Tx<DB> {
    /// Returns the transaction's connection. The first call begins the transaction.
    ///
    /// SQLite has a single writer, so begin as late as possible: until the handler returns, all
    /// other writes wait, including those of received events. A handler that exceeds the
    /// [limit](crate::SqliteOptions::transaction_limit) is stopped and retried.
    ///
    /// If other handlers hold all connections, the call waits for a connection. The handler's
    /// timeout is paused during the call.
    ///
    /// # Errors
    ///
    /// - Fails if the database cannot begin a transaction. If the handler returns this error, or
    ///   one that has it as a [source](std::error::Error::source), the attempt is not counted.
    /// - Fails if the attempt has already finished.
    pub async fn begin(&mut self) -> Result<&mut DB::Connection, StoreError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let open = self.shared.begin().await?;
                self.shared.record_begin()?;
                open
            }
        };
        Ok(&mut *self.open.insert(open).transaction)
    }
}

/// A store that can complete a delivery in its handler's transaction.
#[async_trait]
pub trait TxStore<DB: Database>: Send + Sync + 'static {
    /// Returns the permits, one for each transaction that handlers may have open at the same time.
    /// Each transaction should have a connection of its own, so that a slow handler delays no
    /// received event.
    fn permits(&self) -> &TxPermits;

    /// Begins a transaction. The caller holds a permit, and stops waiting after 10 s.
    ///
    /// # Errors
    ///
    /// Fails if the database cannot begin a transaction. The attempt is then not counted.
    async fn begin(&self) -> Result<Transaction<'static, DB>, StoreError>;

    /// Records the outcome of the delivery in `tx`, without committing. Must meet the requirements
    /// of [`Store::complete`](crate::Store::complete).
    ///
    /// # Errors
    ///
    /// Fails if the outcome cannot be recorded. The transaction is then rolled back.
    async fn complete_in(
        &self,
        tx: &mut Transaction<'static, DB>,
        lease: &Lease,
        outcome: &DeliveryOutcome,
    ) -> Result<CompleteResult, StoreError>;

    /// Returns the cause of a failed commit. The default implementation converts the error.
    async fn explain(&self, error: sqlx::Error) -> StoreError {
        error.into()
    }

    /// Returns the maximum duration of a transaction that blocks all other writes of the store; a
    /// handler that exceeds it is stopped and retried. `None`, the default, sets no limit. Should
    /// be equal to [`Store::blocking_limit`](crate::Store::blocking_limit).
    fn limit(&self) -> Option<Duration> {
        None
    }

    /// Returns the clock that measures the limit. Default: the system clock.
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }
}

/// The permits for the transactions of handlers. Clones share the permits, which are granted in the
/// order in which they are requested.
#[derive(Debug, Clone)]
pub struct TxPermits {
    semaphore: Arc<Semaphore>,
    transactions: usize,
}

impl TxPermits {
    /// Creates permits for this number of transactions.
    ///
    /// # Panics
    ///
    /// Panics if `transactions` is 0, because no transaction could then begin.
    #[must_use]
    pub fn new(transactions: usize) -> Self {
        assert!(transactions > 0, "without permits, no handler's transaction could begin");
        let transactions = transactions.min(Semaphore::MAX_PERMITS);
        Self { semaphore: Arc::new(Semaphore::new(transactions)), transactions }
    }

    /// Returns the number of transactions for which there are permits.
    #[must_use]
    pub fn transactions(&self) -> usize {
        self.transactions
    }
}

/// Adds a [`Tx`] to a delivery. Returns it with the [`Effects`] that commit the transaction or roll
/// it back, as [`Store::prepare`](crate::Store::prepare) does.
pub fn provide<DB: Database>(
    store: Arc<dyn TxStore<DB>>,
    mut delivery: Delivery,
) -> (Delivery, Option<Box<dyn Effects>>) {
    let (state, began_at) = (Mutex::new(TxState::InUse), watch::Sender::new(None));
    let (timeout_pause, clock, limit) = (delivery.timeout_pause(), store.clock(), store.limit());
    let shared = Arc::new(SharedTx { store, state, began_at, timeout_pause, clock });
    let delivery = delivery.provide(Tx { shared: shared.clone(), open: None });
    (delivery, Some(Box::new(TxEffects { shared, limit })))
}

/// The state shared by a handler's [`Tx`] and the worker's [`TxEffects`]. The transaction is moved
/// here when the handler drops its `Tx`.
struct SharedTx<DB: Database> {
    store: Arc<dyn TxStore<DB>>,
    state: Mutex<TxState<DB>>,
    /// The time at which the transaction began, or `None` before that.
    began_at: watch::Sender<Option<Instant>>,
    timeout_pause: TimeoutPause,
    clock: Arc<dyn Clock>,
}

enum TxState<DB: Database> {
    /// The handler holds its [`Tx`].
    InUse,
    /// The handler has dropped its [`Tx`]. `None` if the transaction was never begun.
    Returned(Option<OpenTx<DB>>),
    /// The attempt has finished.
    Finished,
}

/// Threshold of the warning about a long transaction on a single-writer store.
const WARN_AFTER: Duration = Duration::from_millis(250);

/// Timeout for beginning a transaction once the handler has a permit.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
#[error(
    "the database did not begin a transaction within {BEGIN_TIMEOUT:?}: it does not answer or \
     is overloaded"
)]
struct NotBegun;

#[derive(Debug, thiserror::Error)]
enum Misuse {
    #[error("the attempt has already finished, so its transaction can no longer be used")]
    Finished,
    #[error(
        "the handler returned but its `Tx` is still in use, so its writes cannot be committed with \
         the delivery; is the `Tx` in a task that the handler does not await?"
    )]
    StillInUse,
}

impl<DB: Database> SharedTx<DB> {
    /// Waits for a permit, and begins the transaction. The handler's timeout is paused meanwhile,
    /// because other handlers or the database cause the wait.
    ///
    /// # Errors
    ///
    /// Fails if the database does not begin a transaction in time.
    async fn begin(&self) -> Result<OpenTx<DB>, StoreError> {
        let _paused = self.timeout_pause.pause();
        let permit = self.store.permits().semaphore.clone().acquire_owned();
        let permit = permit.await.expect("semaphore is never closed");
        let begun = tokio::select! {
            begun = self.store.begin() => begun,
            () = SystemClock.sleep(BEGIN_TIMEOUT) => Err(StoreError::busy(NotBegun)),
        };
        let begun = begun.map_err(StoreError::unavailable_to_handler);
        Ok(OpenTx { transaction: begun?, _permit: permit })
    }

    /// Records the time at which the transaction began.
    ///
    /// # Errors
    ///
    /// Fails if the attempt has already finished.
    fn record_begin(&self) -> Result<(), StoreError> {
        let state = self.state();
        if matches!(*state, TxState::Finished) {
            return Err(StoreError::misuse(Misuse::Finished));
        }
        self.began_at.send_replace(Some(self.clock.monotonic()));
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, TxState<DB>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Database> Drop for Tx<DB> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if matches!(*state, TxState::InUse) {
            *state = TxState::Returned(self.open.take());
        }
    }
}

impl<DB: Database> FromEvent for Tx<DB> {
    type Needs = PerDelivery<Self>;

    async fn from_event(_: &Event, provided: PerDelivery<Self>) -> Result<Self, Rejection> {
        Ok(provided.0)
    }
}

/// The worker's access to a handler's transaction: commits it or rolls it back at the end of the
/// attempt.
struct TxEffects<DB: Database> {
    shared: Arc<SharedTx<DB>>,
    /// Maximum duration of the transaction.
    limit: Option<Duration>,
}

#[async_trait]
impl<DB: Database> Effects for TxEffects<DB> {
    async fn deadline_exceeded(&self) -> Duration {
        let mut receiver = self.shared.began_at.subscribe();
        let began_at = receiver.wait_for(Option::is_some).await.ok().and_then(|time| *time);
        match (began_at, self.limit) {
            (Some(began_at), Some(limit)) => {
                self.shared.clock.sleep_until(began_at + limit).await;
                limit
            }
            _ => std::future::pending().await,
        }
    }

    async fn finish(
        self: Box<Self>,
        lease: &Lease,
        outcome: &DeliveryOutcome,
    ) -> Result<Option<CompleteResult>, StoreError> {
        let state = std::mem::replace(&mut *self.shared.state(), TxState::Finished);
        let began_at = *self.shared.began_at.borrow();
        let is_success = outcome.is_success();
        let result = match state {
            TxState::Returned(Some(tx)) if is_success => {
                self.complete(tx, lease, outcome).await.map(Some)
            }
            TxState::Returned(Some(tx)) => {
                // If the rollback fails, the database rolls back when the connection is closed.
                drop(tx.transaction.rollback().await);
                Ok(None)
            }
            TxState::InUse if is_success && began_at.is_some() => {
                Err(StoreError::misuse(Misuse::StillInUse))
            }
            _ => Ok(None),
        };
        if let Some(began_at) = began_at {
            self.warn_if_long(lease, self.shared.clock.monotonic() - began_at);
        }
        result
    }
}

impl<DB: Database> TxEffects<DB> {
    async fn complete(
        &self,
        OpenTx { transaction: mut tx, _permit }: OpenTx<DB>,
        lease: &Lease,
        outcome: &DeliveryOutcome,
    ) -> Result<CompleteResult, StoreError> {
        let completed = self.shared.store.complete_in(&mut tx, lease, outcome).await?;
        let closed = match completed {
            CompleteResult::Recorded | CompleteResult::Restarted => tx.commit().await,
            CompleteResult::LeaseLost => tx.rollback().await,
        };
        match closed {
            Ok(()) => Ok(completed),
            Err(error) => Err(self.shared.store.explain(error).await),
        }
    }

    fn warn_if_long(&self, lease: &Lease, took: Duration) {
        if self.limit.is_some() && took > WARN_AFTER {
            tracing::warn!(
                handler = &*lease.handler,
                event.id = &*lease.event_id,
                ?took,
                "a handler's transaction was open for a long time, during which nothing else, not \
                 even received events, could be written to the inbox; call `tx.begin()` as late as \
                 possible, or use the PostgreSQL store"
            );
        }
    }
}

impl<DB: Database> fmt::Debug for Tx<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("begun", &self.open.is_some()).finish_non_exhaustive()
    }
}
