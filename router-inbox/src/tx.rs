//! The transaction in which a handler's "done" is recorded.

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

/// The transaction in which this delivery is marked as done: what a handler writes in it is there exactly once,
/// together with that mark. An error, a panic or a timeout undoes both; so does a process that dies.
///
/// `Tx<Sqlite>` comes from a `SqliteStore`, and `Tx<Postgres>` from a `PostgresStore`; a router with a handler that takes
/// the other one, or has no such inbox, is not built. Committing is not for the handler.
///
/// ```
/// use router_core::{BoxError, Event, on_event};
/// use router_inbox::{Tx, sqlx::{self, Sqlite}};
///
/// #[on_event("invoice.paid", name = "shop.fulfil")]
/// async fn fulfil(event: Event, mut tx: Tx<Sqlite>) -> Result<(), BoxError> {
///     // What takes time comes first: from here on, nobody else can write.
///     let db = tx.begin().await?;
///     let insert = sqlx::query("insert into orders (event) values (?)").bind(event.id());
///     insert.execute(db).await?;
///     Ok(())
/// }
/// # fn main() {}
/// ```
///
/// A handler that keeps it, in a task for example, is not done, and is tried again.
pub struct Tx<DB: Database> {
    slot: Arc<Slot<DB>>,
    open: Option<Transaction<'static, DB>>,
}

impl<DB: Database> Tx<DB> {
    /// The transaction, which begins when this is first called.
    ///
    /// On SQLite it is then the only one that writes: begin as late as possible. Other handlers and all events that come
    /// wait until the handler returns, and a handler that takes longer than
    /// [it may](crate::SqliteStore::transaction_limit) is stopped and tried again.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the database does not begin one, and where the delivery has ended already.
    pub async fn begin(&mut self) -> Result<&mut DB::Connection, StoreError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let open = self.slot.store.begin().await.map_err(StoreError::of)?;
                self.slot.begins()?;
                open
            }
        };
        Ok(&mut **self.open.insert(open))
    }
}

/// A store whose deliveries can be completed in a transaction that a handler has used.
#[async_trait]
pub(crate) trait TxStore<DB: Database>: Send + Sync {
    async fn begin(&self) -> sqlx::Result<Transaction<'static, DB>>;

    /// Completes the delivery, but for the commit.
    async fn complete_in(
        &self,
        tx: &mut Transaction<'static, DB>,
        lease: &Lease,
        end: &DeliveryOutcome,
    ) -> sqlx::Result<Completed>;
}

/// What a handler and whoever delivers to it share: the transaction, once the handler has returned.
struct Slot<DB: Database> {
    store: Arc<dyn TxStore<DB>>,
    state: Mutex<State<DB>>,
    /// When it began.
    begun: watch::Sender<Option<Instant>>,
    clock: Arc<dyn Clock>,
}

enum State<DB: Database> {
    /// The handler has it.
    Out,
    /// It came back; none, if it was never begun.
    Back(Option<Transaction<'static, DB>>),
    /// The delivery has ended.
    Over,
}

/// A handler that holds the writer up for so long is told of.
const LONG: Duration = Duration::from_millis(250);

#[derive(Debug, thiserror::Error)]
enum Misuse {
    #[error("the delivery has ended, so that nothing can be written with it any more")]
    Over,
    #[error(
        "the handler returned and kept its `Tx`, so that what it does there cannot be recorded together with its end; \
         is it in a task that the handler does not wait for?"
    )]
    Kept,
}

impl<DB: Database> Slot<DB> {
    fn begins(&self) -> Result<(), StoreError> {
        let state = self.state();
        if matches!(*state, State::Over) {
            return Err(StoreError::of(Misuse::Over));
        }
        self.begun.send_replace(Some(self.clock.monotonic()));
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State<DB>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Database> Drop for Tx<DB> {
    fn drop(&mut self) {
        let mut state = self.slot.state();
        if matches!(*state, State::Out) {
            *state = State::Back(self.open.take());
        }
    }
}

impl<DB: Database> FromEvent for Tx<DB> {
    type Needs = PerDelivery<Self>;

    async fn from_event(_: &Event, provided: PerDelivery<Self>) -> Result<Self, Rejection> {
        Ok(provided.0)
    }
}

/// The store's half.
pub(crate) struct TxEffects<DB: Database> {
    slot: Arc<Slot<DB>>,
    /// How long it may take at most.
    limit: Option<Duration>,
}

/// A transaction for one delivery, not begun yet.
pub(crate) fn for_delivery<DB: Database>(
    store: Arc<dyn TxStore<DB>>,
    limit: Option<Duration>,
    clock: Arc<dyn Clock>,
) -> (Tx<DB>, TxEffects<DB>) {
    let (state, begun) = (Mutex::new(State::Out), watch::Sender::new(None));
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
        let state = std::mem::replace(&mut *self.slot.state(), State::Over);
        let begun = *self.slot.begun.borrow();
        let is_done = matches!(end, DeliveryOutcome::Done | DeliveryOutcome::Ignored);
        let ended = match state {
            State::Back(Some(tx)) if is_done => self.complete(tx, lease, end).await.map(Some),
            State::Back(Some(tx)) => {
                // It is undone in any case: if not so, then by the database once the connection is gone.
                drop(tx.rollback().await);
                Ok(None)
            }
            State::Out if is_done && begun.is_some() => Err(StoreError::of(Misuse::Kept)),
            _ => Ok(None),
        };
        if let Some(begun) = begun {
            self.tell_if_long(lease, self.slot.clock.monotonic() - begun);
        }
        ended
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
        let completed = completed.map_err(StoreError::of)?;
        let ended = match completed {
            Completed::Recorded => tx.commit().await,
            Completed::LeaseLost => tx.rollback().await,
        };
        ended.map_err(StoreError::of)?;
        Ok(completed)
    }

    fn tell_if_long(&self, lease: &Lease, took: Duration) {
        if self.limit.is_some() && took > LONG {
            tracing::warn!(
                handler = &*lease.handler,
                ?took,
                "a handler's transaction was open for long, and nothing else could be written to the inbox, no event \
                 that came either: call `tx.begin()` as late as possible, or keep the inbox in PostgreSQL"
            );
        }
    }
}

impl<DB: Database> fmt::Debug for Tx<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("begun", &self.open.is_some()).finish_non_exhaustive()
    }
}
