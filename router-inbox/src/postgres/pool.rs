//! A connection pool that recovers if the server stops answering without closing its connections.

use std::{
    future::Future,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use router_core::clock::{Clock as _, SystemClock};
use sqlx::{
    AssertSqlSafe, Error, PgConnection, PgPool, Postgres, Row as _, Transaction,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::connect::SESSION_SETTINGS;

/// A pool that connects lazily and replaces lost connections.
///
/// sqlx returns a connection to its pool only after the server has answered a ping, for which sqlx
/// has no time limit. A connection that went silent, for example in a failover behind a proxy,
/// would thus occupy its slot forever. A sqlx pool that yields no connection in time is therefore
/// replaced by a new one.
#[derive(Clone)]
pub(super) struct Pool(Arc<Inner>);

struct Inner {
    options: PgConnectOptions,
    size: PoolSize,
    current: RwLock<PgPool>,
}

#[derive(Clone, Copy)]
pub(super) struct PoolSize {
    pub(super) connections: u32,
    /// Timeout of getting a connection.
    pub(super) acquire_timeout: Duration,
    /// The time after which the server ends a session that is idle in a transaction. The server may
    /// detect a lost connection late or never, and until then the transaction holds its locks.
    pub(super) idle_in_transaction: Duration,
    /// The time after which the server ends a statement; zero for no limit. The server goes on with
    /// the statement of a client that has stopped waiting.
    pub(super) statement: Duration,
}

/// Time for which a connection may be idle before the pool closes it. The pool looks for such
/// connections once per this time, so it may close one twice as late.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The time after which the server ends an idle session. It is longer than the pool leaves a
/// connection idle, so it ends only the sessions of lost connections. A proxy that keeps its side
/// of these connections open would otherwise keep the sessions too, until the server accepts no
/// more.
const IDLE_SESSION_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Timeout of the check whether an idle connection is alive.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

impl Pool {
    pub(super) fn new(options: PgConnectOptions, size: PoolSize) -> Self {
        let current = RwLock::new(size.pool(options.clone()));
        Self(Arc::new(Inner { options, size, current }))
    }

    /// Acquires a connection.
    ///
    /// # Errors
    ///
    /// Fails if no connection is available within the pool's timeout.
    pub(super) async fn acquire(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        self.try_with(|pool| async move { pool.acquire().await }).await
    }

    /// Begins a transaction on a connection of its own.
    ///
    /// # Errors
    ///
    /// Fails like [`acquire`](Self::acquire), and if the server does not begin the transaction.
    pub(super) async fn begin(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.try_with(|pool| async move { pool.begin().await }).await
    }

    /// Begins a transaction with this statement.
    ///
    /// # Errors
    ///
    /// Fails like [`begin`](Self::begin).
    pub(super) async fn begin_with(
        &self,
        statement: &'static str,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.try_with(|pool| async move { pool.begin_with(statement).await }).await
    }

    /// Calls `acquire` with the current pool, and replaces that pool if it yields no connection.
    async fn try_with<T, F>(&self, acquire: impl Fn(PgPool) -> F) -> sqlx::Result<T>
    where
        F: Future<Output = sqlx::Result<T>>,
    {
        loop {
            let pool = self.current();
            match acquire(pool.clone()).await {
                Err(Error::PoolTimedOut) => {
                    self.replace(&pool);
                    return Err(Error::PoolTimedOut);
                }
                // Another task has replaced the pool.
                Err(Error::PoolClosed) => {}
                acquired => return acquired,
            }
        }
    }

    fn current(&self) -> PgPool {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces a pool that has yielded no connection in time, unless another task has done so.
    fn replace(&self, exhausted: &PgPool) {
        let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
        if exhausted.is_closed() {
            return;
        }
        while let Some(idle) = exhausted.try_acquire() {
            drop(idle.detach());
        }
        // Marks the pool as closed at once. The returned future would wait until its connections
        // are closed too, so it is dropped.
        drop(exhausted.close());
        *current = self.0.size.pool(self.0.options.clone());
    }
}

impl PoolSize {
    fn pool(self, options: PgConnectOptions) -> PgPool {
        let settings = [
            SESSION_SETTINGS.to_owned(),
            set_timeout("idle_in_transaction_session_timeout", self.idle_in_transaction),
            set_timeout("idle_session_timeout", IDLE_SESSION_TIMEOUT),
            format!("set statement_timeout = {}", self.statement.as_millis()),
        ];
        let settings = settings.join("; ");
        let settings: Arc<str> = settings.into();
        PgPoolOptions::new()
            .max_connections(self.connections)
            .acquire_timeout(self.acquire_timeout)
            .idle_timeout(IDLE_TIMEOUT)
            .after_connect(move |connection, _| {
                let settings = sqlx::raw_sql(AssertSqlSafe(settings.clone()));
                Box::pin(async { settings.execute(connection).await.map(drop) })
            })
            .test_before_acquire(false)
            .before_acquire(|connection, _| Box::pin(is_usable(connection)))
            .connect_lazy_with(options)
    }
}

/// Returns the statement that sets a timeout of the session, unless the URL, the role or the
/// database sets it, or the server is too old to have it.
fn set_timeout(name: &str, timeout: Duration) -> String {
    let milliseconds = timeout.as_millis();
    format!(
        "select set_config('{name}', '{milliseconds}', false)
         where current_setting('{name}', true) = '0'"
    )
}

/// Returns whether a connection may write; fails if it is dead, so this replaces
/// `test_before_acquire`.
///
/// A session that began while the database was read-only, for example during a failover, stays
/// read-only; a new session does not.
async fn is_usable(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let is_read_only = sqlx::query("show transaction_read_only").fetch_one(connection);
    let row = tokio::select! {
        row = is_read_only => row?,
        () = SystemClock.sleep(CHECK_TIMEOUT) => return Err(Error::PoolTimedOut),
    };
    Ok(row.try_get::<String, _>(0)? == "off")
}
