//! The PostgreSQL store, which any number of machines can share.

mod checkpoints;
mod claims;
mod connect;
mod history;
mod listen;
mod operations;
pub(crate) mod options;
mod paused;
mod pool;
mod redeliver;
mod schema;
mod time;
mod workers;
mod writes;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use router_core::delivery::{Delivery, DeliveryService, ProvidedType};
use sqlx::{
    Postgres, Row as _, Transaction,
    postgres::{PgConnectOptions, PgRow},
};

use self::{connect::Server, listen::Listener, pool::Pool, schema::Schema, time::ServerTime};
use crate::{
    Store, StoreError, Tx,
    store::{
        Backlog, Claim, ClaimRequest, CompleteResult, DeliveryOutcome, Effects, Lease, NewEvent,
        Operations, PausedHandler, Stored, StoredDelivery, WorkerInfo, rows::state,
    },
    tx::{self, TxPermits, TxStore},
};

/// A store in a PostgreSQL database, shared by any number of processes on any number of machines.
///
/// All times come from the database server, so the clocks of the machines need not agree. If the
/// server's clock is set back, each delivery remains due within the delay with which it was
/// scheduled. Every stored event is on the server's disk before Stripe is answered, even if the
/// database or the role turns `synchronous_commit` off.
///
/// The tables are in their own schema, `stripe_inbox` by default, which is created if it does not
/// exist. The schema must contain nothing else. A [`Tx`] can write to tables in other schemas.
///
/// Processes notify each other of stored events by `LISTEN` and `NOTIFY`. The server must be
/// PostgreSQL 13 or later and the database's encoding must be UTF-8. A connection pooler between
/// the store and the server must use session pooling.
///
/// The server ends a handler's [`Tx`] that is idle for 5 minutes while the handler does something
/// else. The server cannot distinguish a slow handler from a lost connection, whose transaction
/// would hold its locks. From PostgreSQL 14 on, the server also ends a session that is idle for 15
/// minutes. The store has then lost the connection, since it closes idle connections earlier. An
/// `idle_in_transaction_session_timeout` or `idle_session_timeout` of the role or the database
/// takes precedence.
///
/// ```no_run
/// use router_inbox::{PostgresStore, Store as _};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::connect("postgres://user:password@localhost/shop").await?;
/// assert!(store.deliveries("evt_1").await?.is_empty());
/// # Ok(())
/// # }
/// ```
///
/// Cloning is cheap; clones share the connections.
#[derive(Clone)]
pub struct PostgresStore {
    /// The connections of the store itself.
    pool: Pool,
    /// The connections of handlers' transactions. They are separate, so that a slow handler delays
    /// no received event.
    transactions: Pool,
    /// A permit for each connection in `transactions`.
    permits: TxPermits,
    schema: Schema,
    server: Server,
    options: PgConnectOptions,
    /// A random name, sent as the payload of notifications, so that this store can ignore its own.
    name: String,
    listener: Arc<OnceLock<Listener>>,
    time: Arc<ServerTime>,
}

/// Maximum time for which a transaction of the store may be idle. A transaction is idle for so long
/// only if its connection is lost.
const STORE_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);

/// Maximum time for which a handler's transaction may be idle while the handler does something
/// else.
const HANDLER_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(5 * 60);

/// The time limit of a statement of the store. A claim is one statement, so that no delivery is
/// claimed for a worker that has stopped waiting.
const STORE_STATEMENT_TIMEOUT: Duration = Duration::from_secs(6);

impl PostgresStore {
    fn store_error(&self, error: sqlx::Error) -> StoreError {
        self.server.store_error(error)
    }
}

impl DeliveryService for PostgresStore {
    fn provides(&self) -> Vec<ProvidedType> {
        vec![ProvidedType::of::<Tx<Postgres>>()]
    }
}

#[async_trait]
impl TxStore<Postgres> for PostgresStore {
    fn permits(&self) -> &TxPermits {
        &self.permits
    }

    async fn begin(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        self.transactions.begin().await.map_err(|error| self.store_error(error))
    }

    async fn complete_in(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        lease: &Lease,
        outcome: &DeliveryOutcome,
    ) -> Result<CompleteResult, StoreError> {
        // From here on the transaction locks the delivery, so it must not outlive its connection
        // for long.
        let limit_idle = "select set_config('idle_in_transaction_session_timeout', $1, true)";
        let limit_idle =
            sqlx::query(limit_idle).bind(STORE_IDLE_IN_TRANSACTION.as_millis().to_string());
        limit_idle.execute(&mut **tx).await?;
        let outcomes = [(lease.clone(), outcome.clone())];
        Ok(writes::complete(tx, &self.schema, &outcomes).await?[0])
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        let stored = async {
            let mut write = self.pool.begin().await?;
            let new = writes::store(&mut write, self, events, |_, _| None).await?;
            write.commit().await?;
            let is_duplicate = |(index, _): &(usize, _)| !new.contains(index);
            let duplicates = events.iter().enumerate().filter(is_duplicate);
            let duplicates: Vec<_> = duplicates.map(|(_, event)| event).collect();
            let mut redelivered = redeliver::redeliver(self, &duplicates).await?.into_iter();
            let result = |index| {
                if new.contains(&index) { Some(Stored::New) } else { redelivered.next() }
            };
            Ok((0..events.len()).filter_map(result).collect())
        };
        stored.await.map_err(|error| self.store_error(error))
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        let claimed = async {
            let mut connection = self.pool.acquire().await?;
            self.time.correct(time::correct_due_times(&mut connection, &self.schema)).await?;
            let (claims, now) = claims::claim(&mut connection, &self.schema, request).await?;
            self.time.observe(now);
            Ok(claims)
        };
        claimed.await.map_err(|error| self.store_error(error))
    }

    async fn extend(&self, leases: &[Lease], time: Duration) -> Result<Vec<bool>, StoreError> {
        let extended = async {
            let mut connection = self.pool.acquire().await?;
            writes::extend(&mut connection, &self.schema, leases, time).await
        };
        let held = extended.await.map_err(|error| self.store_error(error))?;
        Ok(leases.iter().map(|lease| held.contains(&(lease.delivery, lease.token))).collect())
    }

    async fn complete(
        &self,
        outcomes: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<CompleteResult>, StoreError> {
        let completed = async {
            let mut write = self.pool.begin().await?;
            let completed = writes::complete(&mut write, &self.schema, outcomes).await?;
            write.commit().await?;
            Ok(completed)
        };
        completed.await.map_err(|error| self.store_error(error))
    }

    async fn deliveries(&self, event_id: &str) -> Result<Vec<StoredDelivery>, StoreError> {
        let rows = sqlx::query(self.schema.sql(
            "select endpoint, account, generation, handler, state, attempts, error
             from inbox.events event join inbox.deliveries delivery on delivery.event = event.id
             where identity = any(inbox.identities($1))
             order by endpoint, account nulls first, generation, handler, delivery.id",
        ));
        let rows = async {
            let mut connection = self.pool.acquire().await?;
            rows.bind(writes::replace_nul(event_id)).fetch_all(&mut *connection).await
        };
        let rows = rows.await.map_err(|error| self.store_error(error))?;
        rows.iter().map(delivery).collect::<Result<_, _>>().map_err(StoreError::from)
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        let backlog = async {
            let mut connection = self.pool.acquire().await?;
            claims::backlog(&mut connection, &self.schema).await
        };
        backlog.await.map_err(|error| self.store_error(error))
    }

    async fn report_worker(&self, worker: &WorkerInfo, ttl: Duration) -> Result<(), StoreError> {
        let reported = async {
            let mut connection = self.pool.acquire().await?;
            workers::report(&mut connection, &self.schema, worker, ttl).await
        };
        reported.await.map_err(|error| self.store_error(error))
    }

    async fn workers(&self) -> Result<Option<Vec<WorkerInfo>>, StoreError> {
        let workers = async {
            let mut connection = self.pool.acquire().await?;
            workers::running(&mut connection, &self.schema).await
        };
        workers.await.map(Some).map_err(|error| self.store_error(error))
    }

    async fn paused_handlers(&self) -> Result<Vec<PausedHandler>, StoreError> {
        let paused = async {
            let mut connection = self.pool.acquire().await?;
            paused::list(&mut connection, &self.schema).await
        };
        paused.await.map_err(|error| self.store_error(error))
    }

    fn max_transactions(&self) -> Option<usize> {
        Some(self.permits.transactions())
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    /// The transaction has no time limit of its own: no other writer waits for it, so the handler's
    /// timeout is enough.
    fn prepare(&self, delivery: Delivery) -> (Delivery, Option<Box<dyn Effects>>) {
        tx::provide(Arc::new(self.clone()), delivery)
    }

    async fn notified(&self) {
        let listener = self.listener.get_or_init(|| {
            Listener::start(self.options.clone(), self.schema.name().to_owned(), self.name.clone())
        });
        listener.notified().await;
    }
}

fn delivery(row: &PgRow) -> sqlx::Result<StoredDelivery> {
    Ok(StoredDelivery {
        endpoint: row.try_get("endpoint")?,
        account: row.try_get("account")?,
        generation: number(row, "generation")?,
        handler: Arc::from(row.try_get::<String, _>("handler")?),
        state: state(row.try_get::<i16, _>("state")?.into())?,
        attempts: row.try_get::<i32, _>("attempts")?.unsigned_abs(),
        error: row.try_get("error")?,
    })
}

/// Reads a `bigint` column as an integer type that may be unsigned, which PostgreSQL does not have.
fn number<N: TryFrom<i64>>(row: &PgRow, column: &str) -> sqlx::Result<N> {
    let number: i64 = row.try_get(column)?;
    let out_of_range =
        || sqlx::Error::Decode(format!("column {column}: {number} is out of range").into());
    N::try_from(number).map_err(|_| out_of_range())
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("server", &self.server)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}
