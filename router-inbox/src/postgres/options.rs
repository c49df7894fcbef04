//! The settings of a store, and the ways to open it.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use sqlx::{PgPool, Row as _, postgres::PgConnectOptions};

use super::{
    HANDLER_IDLE_IN_TRANSACTION, PostgresStore, STORE_IDLE_IN_TRANSACTION, STORE_STATEMENT_TIMEOUT,
    connect::Server,
    pool::{Pool, PoolSize},
    schema::Schema,
    time::ServerTime,
};
use crate::{StoreError, bounded::MIN_OPERATION_LIMIT, tx::TxPermits};

/// The settings of a [`PostgresStore`]. The settings of the connection, such as TLS, are in the URL
/// or in the pool.
///
/// ```no_run
/// # use std::num::NonZeroU32;
/// use router_inbox::PostgresStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = PostgresStore::options().schema("shop_inbox");
/// let options = options.transactions(NonZeroU32::new(50).expect("50 is not 0"));
/// let store = options.connect("postgres://user:password@localhost/shop").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a store is opened by `connect` or `connect_with`"]
pub struct PostgresOptions {
    schema: String,
    connections: u32,
    transactions: u32,
    acquire_timeout: Duration,
    create_if_missing: bool,
}

/// The longest and the default time to get a connection.
const MAX_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// A shorter timeout would also fail if the server is healthy but on another machine.
const MIN_ACQUIRE_TIMEOUT: Duration = Duration::from_millis(100);

/// A worker waits longer than it takes to get a connection and to execute a statement.
const _: () = assert!(
    MAX_ACQUIRE_TIMEOUT.as_millis() + STORE_STATEMENT_TIMEOUT.as_millis()
        < MIN_OPERATION_LIMIT.as_millis()
);

#[derive(Debug, thiserror::Error)]
#[error(
    "acquire_timeout is {0:?}; it must be from {MIN_ACQUIRE_TIMEOUT:?} to {MAX_ACQUIRE_TIMEOUT:?}, so \
     that a statement can follow within the time limit of an operation"
)]
struct InvalidAcquireTimeout(Duration);

impl PostgresStore {
    /// Returns the default settings, from which a store is opened with other ones.
    pub fn options() -> PostgresOptions {
        PostgresOptions::new()
    }

    /// Connects to the database at a URL with the default settings, see
    /// [`PostgresOptions::connect`].
    ///
    /// # Errors
    ///
    /// Fails like `PostgresOptions::connect`.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::options().connect(url).await
    }

    /// Opens the inbox in the database of a pool with the default settings, see
    /// [`PostgresOptions::connect_with`].
    ///
    /// # Errors
    ///
    /// Fails like `PostgresOptions::connect_with`.
    pub async fn from_pool(pool: &PgPool) -> Result<Self, StoreError> {
        Self::options().connect_with(pool).await
    }
}

impl PostgresOptions {
    fn new() -> Self {
        Self {
            schema: "stripe_inbox".to_owned(),
            connections: 10,
            transactions: 20,
            acquire_timeout: MAX_ACQUIRE_TIMEOUT,
            create_if_missing: true,
        }
    }

    /// Sets the schema of the tables. Default: `stripe_inbox`. Each schema is a separate inbox.
    pub fn schema(self, schema: impl Into<String>) -> Self {
        Self { schema: schema.into(), ..self }
    }

    /// Sets the maximum number of connections with which the store stores events, claims deliveries
    /// and records outcomes. Default: 10.
    ///
    /// One more connection listens for notifications. Handlers' transactions have
    /// [connections of their own](Self::transactions).
    pub fn connections(self, connections: NonZeroU32) -> Self {
        Self { connections: connections.get(), ..self }
    }

    /// Sets the maximum number of [`Tx`](crate::Tx)s that are open at the same time, each on a
    /// connection of its own. Default: 20. A worker logs a warning at its start if its
    /// [concurrency](crate::Worker::concurrency) needs more.
    ///
    /// Further handlers wait in [`Tx::begin`](crate::Tx::begin), and their timeouts are paused
    /// meanwhile.
    pub fn transactions(self, transactions: NonZeroU32) -> Self {
        Self { transactions: transactions.get(), ..self }
    }

    /// Sets the timeout of getting a connection, for opening the store and for each operation.
    /// Default and maximum: 3 s. Minimum: 100 ms. Stripe waits for the answer meanwhile.
    ///
    /// The maximum leaves an operation the 6 s of its statement within its limit of 10 s.
    pub fn acquire_timeout(self, acquire_timeout: Duration) -> Self {
        Self { acquire_timeout, ..self }
    }

    /// Sets whether the inbox's tables are created if they do not exist. Default: `true`.
    pub fn create_if_missing(self, create_if_missing: bool) -> Self {
        Self { create_if_missing, ..self }
    }

    /// Connects to the database at a URL such as `postgres://user:password@host:5432/database`, and
    /// creates or migrates the inbox's tables.
    ///
    /// With `?sslmode=verify-full` the server must present a certificate signed by an authority
    /// that the system trusts, or by one in the file named by `&sslrootcert=…`.
    ///
    /// # Errors
    ///
    /// The error says what to do and never contains the password. Fails if:
    ///
    /// - the URL is invalid, or has an unknown or repeated parameter;
    /// - the server cannot be reached;
    /// - authentication fails;
    /// - the database is missing, or its encoding is not UTF-8;
    /// - the user may not create the tables;
    /// - the schema contains tables of another program with the same names, or lacks some of the
    ///   inbox's tables;
    /// - the database contains no inbox, and [`create_if_missing`](Self::create_if_missing) is
    ///   `false`;
    /// - the schema's name or the [`acquire_timeout`](Self::acquire_timeout) is invalid.
    pub async fn connect(self, url: &str) -> Result<PostgresStore, StoreError> {
        let options = Server::parse(url)?;
        self.open(options).await
    }

    /// Opens the inbox in the database of a pool, like [`connect`](Self::connect).
    ///
    /// The store connects with the [options](PgPool::connect_options) that the pool has at this
    /// time, for example with TLS settings that a URL cannot express. It does not use the pool's
    /// connections: its sessions have [limits](Self::connections) and settings of their own, such
    /// as a time limit of 6 s for each statement, which would break other queries. The pool's own
    /// settings therefore do not matter.
    ///
    /// # Errors
    ///
    /// Fails like `connect`.
    pub async fn connect_with(self, pool: &PgPool) -> Result<PostgresStore, StoreError> {
        self.open(PgConnectOptions::clone(&pool.connect_options())).await
    }

    /// Migrates the tables and opens the connection pools.
    async fn open(self, options: PgConnectOptions) -> Result<PostgresStore, StoreError> {
        let Self { acquire_timeout, transactions, .. } = self;
        if !(MIN_ACQUIRE_TIMEOUT..=MAX_ACQUIRE_TIMEOUT).contains(&acquire_timeout) {
            return Err(StoreError::misuse(InvalidAcquireTimeout(acquire_timeout)));
        }
        let schema = Schema::new(&self.schema).map_err(StoreError::misuse)?;
        let (server, options) = Server::new(options, acquire_timeout);
        let mut connection = server.connect(&options, &schema).await?;
        if !self.create_if_missing {
            let is_inbox = schema.has_inbox(&mut connection).await;
            if !is_inbox.map_err(|error| server.connect_error(error, &schema))? {
                return Err(server.no_inbox());
            }
        }
        let migrated = schema.migrate(&mut connection).await;
        migrated.map_err(|error| server.connect_error(error, &schema))?;
        if let Some(table) = schema.missing_table(&mut connection).await? {
            return Err(server.incomplete(&schema, &table));
        }
        if !schema.may_read_pauses(&mut connection).await? {
            return Err(server.pauses_unreadable(&schema));
        }
        let name = sqlx::query("select gen_random_uuid()::text").fetch_one(&mut connection).await;
        let name = name.and_then(|row| row.try_get(0))?;
        let own = PoolSize {
            connections: self.connections,
            acquire_timeout,
            idle_in_transaction: STORE_IDLE_IN_TRANSACTION,
            statement: STORE_STATEMENT_TIMEOUT,
        };
        let handlers = PoolSize {
            connections: transactions,
            acquire_timeout,
            idle_in_transaction: HANDLER_IDLE_IN_TRANSACTION,
            statement: Duration::ZERO,
        };
        Ok(PostgresStore {
            pool: Pool::new(options.clone(), own),
            transactions: Pool::new(options.clone(), handlers),
            permits: TxPermits::new(transactions as usize),
            schema,
            server,
            options,
            name,
            listener: Arc::default(),
            time: Arc::new(ServerTime::new()),
        })
    }
}
