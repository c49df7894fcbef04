//! The store for many machines: a PostgreSQL database.

mod claims;
mod connect;
mod listen;
mod operations;
mod schema;
mod writes;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use router_core::{DeliveringService, Delivery, ProvidedType, clock::SystemClock};
use sqlx::{
    PgConnection, PgPool, Postgres, Row as _, Transaction,
    postgres::{PgConnectOptions, PgRow},
};

use self::{connect::Server, listen::Listener, schema::Schema};
use crate::{
    Backlog, Claim, ClaimRequest, Completed, DeliveryOutcome, Effects, Lease, NewEvent, Operations,
    Store, StoreError, Stored, StoredDelivery, Tx,
    store::rows::state,
    tx::{self, TxStore},
};

/// A store in a PostgreSQL database, which any number of processes on any number of machines share. The time is the
/// database's, so their clocks need not agree. What was stored is on the server's disk before Stripe is answered,
/// also where `synchronous_commit` is off for others.
///
/// The tables are in a schema of their own, `stripe_inbox`, which is made if it is not there. Processes tell each
/// other by `LISTEN` and `NOTIFY` that something was stored. The server is PostgreSQL 13 or later, with the encoding
/// UTF-8. A pooler in between has to give each connection a session of its own.
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
/// Cheap to clone; clones are one store.
#[derive(Clone)]
pub struct PostgresStore {
    pool: PgPool,
    schema: Schema,
    server: Server,
    options: PgConnectOptions,
    /// As which this store tells others that it has stored something.
    name: String,
    listener: Arc<OnceLock<Listener>>,
}

/// In which the tables are by default.
const SCHEMA: &str = "stripe_inbox";

impl PostgresStore {
    /// Connects to the database that a URL such as `postgres://user:password@host:5432/database` names, and brings
    /// the inbox's tables up to date. With `?sslmode=verify-full` the server must show a certificate that the system
    /// trusts, or that is in the file of `&sslrootcert=…`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the server cannot be reached, does not let this user in, or does not let it make the
    /// tables; says what to do, and never the password.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::connect_in(url, SCHEMA).await
    }

    /// As [`connect`](Self::connect), with the tables in another schema: each is an inbox of its own.
    ///
    /// # Errors
    ///
    /// As of `connect`; and where the schema cannot have this name.
    pub async fn connect_in(url: &str, schema: &str) -> Result<Self, StoreError> {
        let schema = Schema::new(schema).map_err(StoreError::of)?;
        let (server, options) = Server::of(url)?;
        let connection = server.connect(&options, &schema).await?;
        Self::with(connection, server, options, schema).await
    }

    /// As [`connect`](Self::connect), but makes no inbox where there is none.
    ///
    /// # Errors
    ///
    /// As of `connect`; and where the database has no inbox in it.
    pub async fn connect_existing(url: &str) -> Result<Self, StoreError> {
        let schema = Schema::new(SCHEMA).map_err(StoreError::of)?;
        let (server, options) = Server::of(url)?;
        let mut connection = server.connect(&options, &schema).await?;
        let is_inbox = schema.is_there(&mut connection).await;
        if !is_inbox.map_err(|error| server.unusable(error, &schema))? {
            return Err(server.no_inbox());
        }
        Self::with(connection, server, options, schema).await
    }

    /// Brings the tables up to date.
    async fn with(
        mut connection: PgConnection,
        server: Server,
        options: PgConnectOptions,
        schema: Schema,
    ) -> Result<Self, StoreError> {
        let migrated = schema.migrate(&mut connection).await;
        migrated.map_err(|error| server.unusable(error, &schema))?;
        let name = sqlx::query("select gen_random_uuid()::text").fetch_one(&mut connection).await;
        let name = name.and_then(|row| row.try_get(0)).map_err(StoreError::of)?;
        let pool = connect::pool(options.clone());
        Ok(Self { pool, schema, server, options, name, listener: Arc::default() })
    }

    fn failed(&self, error: sqlx::Error) -> StoreError {
        self.server.failed(error)
    }
}

impl DeliveringService for PostgresStore {
    fn provides(&self) -> Vec<ProvidedType> {
        vec![ProvidedType::of::<Tx<Postgres>>()]
    }
}

#[async_trait]
impl TxStore<Postgres> for PostgresStore {
    async fn begin(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.pool.begin().await
    }

    async fn complete_in(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        lease: &Lease,
        end: &DeliveryOutcome,
    ) -> sqlx::Result<Completed> {
        let ends = [(lease.clone(), end.clone())];
        Ok(writes::complete(tx, &self.schema, &ends).await?[0])
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        let stored = async {
            let mut write = self.pool.begin().await?;
            let stored = writes::store(&mut write, &self.schema, events, &self.name).await?;
            write.commit().await?;
            Ok(stored)
        };
        stored.await.map_err(|error| self.failed(error))
    }

    async fn claim(&self, wanted: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        let claimed = async {
            let mut connection = self.pool.acquire().await?;
            claims::claim(&mut connection, &self.schema, wanted).await
        };
        claimed.await.map_err(|error| self.failed(error))
    }

    async fn extend(&self, leases: &[Lease], time: Duration) -> Result<Vec<bool>, StoreError> {
        let held = async {
            let mut connection = self.pool.acquire().await?;
            writes::extend(&mut connection, &self.schema, leases, time).await
        };
        let held = held.await.map_err(|error| self.failed(error))?;
        Ok(leases.iter().map(|lease| held.contains(&(lease.delivery, lease.token))).collect())
    }

    async fn complete(
        &self,
        ends: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<Completed>, StoreError> {
        let completed = async {
            let mut write = self.pool.begin().await?;
            let completed = writes::complete(&mut write, &self.schema, ends).await?;
            write.commit().await?;
            Ok(completed)
        };
        completed.await.map_err(|error| self.failed(error))
    }

    async fn deliveries(&self, event_id: &str) -> Result<Vec<StoredDelivery>, StoreError> {
        let rows = sqlx::query(self.schema.sql(
            "select endpoint, account, generation, handler, state, attempts, error
             from inbox.events event join inbox.deliveries delivery on delivery.event = event.id
             where event_id = $1 order by endpoint, account nulls first, generation, handler",
        ));
        let rows = rows.bind(writes::text(event_id)).fetch_all(&self.pool).await;
        let rows = rows.map_err(|error| self.failed(error))?;
        rows.iter().map(kept).collect::<Result<_, _>>().map_err(StoreError::of)
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        let backlog = claims::backlog(&self.pool, &self.schema).await;
        backlog.map_err(|error| self.failed(error))
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    /// Nobody else waits for a handler that has its transaction open, so only the handler's own time is its limit.
    fn prepare(&self, delivery: Delivery) -> (Delivery, Option<Box<dyn Effects>>) {
        let (store, clock) = (Arc::new(self.clone()), Arc::new(SystemClock));
        let (tx, effects) = tx::for_delivery(store, None, clock);
        (delivery.provide(tx), Some(Box::new(effects)))
    }

    async fn notified(&self) {
        let listener = self.listener.get_or_init(|| {
            Listener::start(self.options.clone(), self.schema.name().to_owned(), self.name.clone())
        });
        listener.heard().await;
    }
}

fn kept(row: &PgRow) -> sqlx::Result<StoredDelivery> {
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

/// PostgreSQL has only numbers with a sign.
fn number<N: TryFrom<i64>>(row: &PgRow, column: &str) -> sqlx::Result<N> {
    let number: i64 = row.try_get(column)?;
    let out_of_range = || sqlx::Error::Decode(format!("{number} is no {column}").into());
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
