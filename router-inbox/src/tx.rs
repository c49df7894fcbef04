//! The transaction that commits a handler's writes together with its delivery.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use router_core::{Event, FromEvent, PerDelivery, Rejection, clock::Clock};
use sqlx::{Database, Transaction};
use tokio::sync::watch;

use crate::{Completed, DeliveryOutcome, Effects, Lease, StoreError};

/// The transaction in which the delivery is marked as done.
///
/// Writes that a handler makes in it are committed atomically with that mark, and therefore take
/// effect exactly once. An error, a panic or a timeout of the handler rolls both back, and so does
/// a crash of the process. Committing is left to the inbox.
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
/// If a handler returns while its `Tx` has begun and is still alive, for example in a spawned task,
/// the attempt fails and is retried.
pub struct Tx<DB: Database> {
    slot: Arc<Slot<DB>>,
    open: Option<Transaction<'static, DB>>,
}

impl<DB: Database> Tx<DB> {
    /// Returns the transaction's connection. The first call begins the transaction.
    ///
    /// SQLite has a single writer, so begin as late as possible: from then on other handlers and
    /// all received events wait until the handler returns. A handler that exceeds the
    /// [limit](crate::SqliteStore::transaction_limit) is stopped and retried.
    ///
    /// # Errors
    ///
    /// Fails if the database cannot begin a transaction, or if the attempt has already finished.
    pub async fn begin(&mut self) -> Result<&mut DB::Connection, StoreError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let open = self.slot.store.begin().await.map_err(StoreError::new)?;
                self.slot.set_begun()?;
                open
            }
        };
        Ok(&mut **self.open.insert(open))
    }
}

/// A store that can complete a delivery in the transaction its handler has used.
#[async_trait]
pub(crate) trait TxStore<DB: Database>: Send + Sync {
    async fn begin(&self) -> sqlx::Result<Transaction<'static, DB>>;

    /// Records the outcome of the delivery in `tx`, without committing.
    async fn complete_in(
        &self,
        tx: &mut Transaction<'static, DB>,
        lease: &Lease,
        end: &DeliveryOutcome,
    ) -> sqlx::Result<Completed>;
}

/// The state shared by a handler's [`Tx`] and the worker's [`TxEffects`]. The transaction is moved
/// here when the handler drops its `Tx`.
struct Slot<DB: Database> {
    store: Arc<dyn TxStore<DB>>,
    state: Mutex<SlotState<DB>>,
    /// The time at which the transaction began.
    begun: watch::Sender<Option<Instant>>,
    clock: Arc<dyn Clock>,
}

enum SlotState<DB: Database> {
    /// The handler holds its [`Tx`].
    InUse,
    /// The handler has dropped its [`Tx`]. `None` if the transaction was never begun.
    Returned(Option<Transaction<'static, DB>>),
    /// The attempt has finished.
    Finished,
}

/// Duration of a transaction on a single-writer store after which a warning is logged.
const WARN_AFTER: Duration = Duration::from_millis(250);

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

impl<DB: Database> Slot<DB> {
    /// Notes that the transaction has begun.
    ///
    /// # Errors
    ///
    /// Fails if the attempt has already finished.
    fn set_begun(&self) -> Result<(), StoreError> {
        let state = self.state();
        if matches!(*state, SlotState::Finished) {
            return Err(StoreError::new(Misuse::Finished));
        }
        self.begun.send_replace(Some(self.clock.monotonic()));
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, SlotState<DB>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Database> Drop for Tx<DB> {
    fn drop(&mut self) {
        let mut state = self.slot.state();
        if matches!(*state, SlotState::InUse) {
            *state = SlotState::Returned(self.open.take());
        }
    }
}

impl<DB: Database> FromEvent for Tx<DB> {
    type Needs = PerDelivery<Self>;

    async fn from_event(_: &Event, provided: PerDelivery<Self>) -> Result<Self, Rejection> {
        Ok(provided.0)
    }
}

/// The worker's half: commits or rolls back the transaction when the handler has returned.
pub(crate) struct TxEffects<DB: Database> {
    slot: Arc<Slot<DB>>,
    /// Maximum duration of the transaction.
    limit: Option<Duration>,
}

/// Creates both halves of a delivery's transaction, which begins with [`Tx::begin`].
pub(crate) fn for_delivery<DB: Database>(
    store: Arc<dyn TxStore<DB>>,
    limit: Option<Duration>,
    clock: Arc<dyn Clock>,
) -> (Tx<DB>, TxEffects<DB>) {
    let (state, begun) = (Mutex::new(SlotState::InUse), watch::Sender::new(None));
    let slot = Arc::new(Slot { store, state, begun, clock });
    (Tx { slot: slot.clone(), open: None }, TxEffects { slot, limit })
}

#[async_trait]
impl<DB: Database> Effects for TxEffects<DB> {
    async fn deadline_exceeded(&self) -> Duration {
        let mut begun = self.slot.begun.subscribe();
        let begun = begun.wait_for(Option::is_some).await.ok().and_then(|begun| *begun);
        match (begun, self.limit) {
            (Some(begun), Some(limit)) => {
                self.slot.clock.sleep_until(begun + limit).await;
                limit
            }
            _ => std::future::pending().await,
        }
    }

    async fn finish(
        self: Box<Self>,
        lease: &Lease,
        end: &DeliveryOutcome,
    ) -> Result<Option<Completed>, StoreError> {
        let state = std::mem::replace(&mut *self.slot.state(), SlotState::Finished);
        let begun = *self.slot.begun.borrow();
        let is_done = matches!(end, DeliveryOutcome::Done | DeliveryOutcome::Ignored);
        let result = match state {
            SlotState::Returned(Some(tx)) if is_done => {
                self.complete(tx, lease, end).await.map(Some)
            }
            SlotState::Returned(Some(tx)) => {
                // If this fails, the database rolls back when the connection is closed.
                drop(tx.rollback().await);
                Ok(None)
            }
            SlotState::InUse if is_done && begun.is_some() => {
                Err(StoreError::new(Misuse::StillInUse))
            }
            _ => Ok(None),
        };
        if let Some(begun) = begun {
            self.warn_if_long(lease, self.slot.clock.monotonic() - begun);
        }
        result
    }
}

impl<DB: Database> TxEffects<DB> {
    async fn complete(
        &self,
        mut tx: Transaction<'static, DB>,
        lease: &Lease,
        end: &DeliveryOutcome,
    ) -> Result<Completed, StoreError> {
        let completed = self.slot.store.complete_in(&mut tx, lease, end).await;
        let completed = completed.map_err(StoreError::new)?;
        let closed = match completed {
            Completed::Recorded => tx.commit().await,
            Completed::LeaseLost => tx.rollback().await,
        };
        closed.map_err(StoreError::new)?;
        Ok(completed)
    }

    fn warn_if_long(&self, lease: &Lease, took: Duration) {
        if self.limit.is_some() && took > WARN_AFTER {
            tracing::warn!(
                handler = &*lease.handler,
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
