//! The settings of a store, and the ways to open it.

use std::{fmt, sync::Arc, time::Duration};

use router_core::clock::{Clock, SystemClock};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tokio::sync::Mutex;

use super::{
    SqliteStore, existing,
    open::{self, Opened},
    quick_check,
    time::StoreTime,
};
use crate::{StoreError, tx::TxPermits};

/// The settings of a [`SqliteStore`].
///
/// ```
/// # use std::time::Duration;
/// use router_inbox::SqliteStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let url = format!("sqlite:{}/inbox.db", folder.path().display());
/// let options = SqliteStore::options().transaction_limit(Duration::from_secs(2));
/// let store = options.open(&url).await?; // "sqlite:inbox.db"
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a store is opened by `open` or `open_with`"]
pub struct SqliteOptions {
    clock: Arc<dyn Clock>,
    transaction_limit: Duration,
    create_if_missing: bool,
}

impl SqliteStore {
    /// Returns the default settings, from which a store is opened with other ones.
    pub fn options() -> SqliteOptions {
        SqliteOptions::new()
    }

    /// Opens the file at a URL with the default settings, see [`SqliteOptions::open`].
    ///
    /// # Errors
    ///
    /// Fails like `SqliteOptions::open`.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::options().open(url).await
    }

    /// Opens the file of a pool with the default settings, see [`SqliteOptions::open_with`].
    ///
    /// # Errors
    ///
    /// Fails like `SqliteOptions::open_with`.
    pub async fn from_pool(pool: &SqlitePool) -> Result<Self, StoreError> {
        Self::options().open_with(pool).await
    }
}

impl SqliteOptions {
    fn new() -> Self {
        let (clock, transaction_limit) = (Arc::new(SystemClock), Duration::from_secs(5));
        Self { clock, transaction_limit, create_if_missing: true }
    }

    /// Sets the clock. Default: the system clock. All processes that share the file must agree on
    /// the time.
    ///
    /// If the clock is set forward while processes are running, their leases do not expire early.
    /// If the clock is set back, each delivery remains due within the delay with which it was
    /// scheduled.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Sets the time limit of a handler's [`Tx`](crate::Tx). Default: 5 s. A handler that exceeds
    /// the limit is stopped, its writes are rolled back, and the delivery is retried. From
    /// [`Tx::begin`](crate::Tx::begin) until the handler returns, nothing else can write to the
    /// file.
    pub fn transaction_limit(self, transaction_limit: Duration) -> Self {
        Self { transaction_limit, ..self }
    }

    /// Sets whether the file and the inbox's tables are created if they do not exist. Default:
    /// `true`. If `false`, the file is not checked for damage either, since the check takes minutes
    /// on a large file and this setting is for short commands.
    pub fn create_if_missing(self, create_if_missing: bool) -> Self {
        Self { create_if_missing, ..self }
    }

    /// Opens the file at a URL such as `sqlite:inbox.db`, creates it if it does not exist, and
    /// migrates its tables. Then checks the file for damage in the background
    /// (`PRAGMA quick_check`). The only parameter of the URL is `mode`, which may be `rw` or `rwc`.
    ///
    /// # Errors
    ///
    /// Fails if:
    ///
    /// - the URL names no file or has another parameter;
    /// - the file cannot be opened or is not a SQLite database;
    /// - the file contains no inbox, and [`create_if_missing`](Self::create_if_missing) is `false`;
    /// - the file contains no inbox, and another program uses a name that begins with
    ///   `stripe_inbox_`;
    /// - the inbox lacks one of its tables, or is from before the tables had this prefix.
    pub async fn open(self, url: &str) -> Result<SqliteStore, StoreError> {
        let options = open::parse(url)?;
        self.open_file(url, options).await
    }

    /// Opens the file of a pool like [`open`](Self::open).
    ///
    /// The store opens connections of its own with the pool's
    /// [options](SqlitePool::connect_options), for example with extensions. Its connections have
    /// the journal mode WAL, `synchronous = FULL` and the locking mode NORMAL, whatever the pool
    /// has. A pool that writes to the same file should wait for the store's writes
    /// (`busy_timeout`), and must not lock the file exclusively.
    ///
    /// # Errors
    ///
    /// Fails like `open`, and if the pool's database is in memory: the store could not share it,
    /// and its events would be lost.
    pub async fn open_with(self, pool: &SqlitePool) -> Result<SqliteStore, StoreError> {
        let (file, options) = open::options_of(pool).await?;
        self.open_file(&file, options).await
    }

    async fn open_file(
        self,
        url: &str,
        options: SqliteConnectOptions,
    ) -> Result<SqliteStore, StoreError> {
        let Self { clock, transaction_limit, create_if_missing } = self;
        if !create_if_missing {
            existing::check(url, &options).await?;
        }
        let opened = open::open(options).await;
        let opened = opened.map_err(|source| open::not_opened(url.to_owned(), source))?;
        let Opened { writer, readers, files, first } = opened;
        let (first, permits) = (Arc::new(Mutex::new(first)), TxPermits::new(1));
        if create_if_missing {
            tokio::spawn(quick_check::run(first.clone(), files.clone()));
        }
        let time = StoreTime::new(clock);
        Ok(SqliteStore { writer, readers, permits, files, _first: first, time, transaction_limit })
    }
}

impl fmt::Debug for SqliteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOptions")
            .field("transaction_limit", &self.transaction_limit)
            .field("create_if_missing", &self.create_if_missing)
            .finish_non_exhaustive()
    }
}
