//! Opens the file, also while other processes open it.

use std::{str::FromStr as _, time::Duration};

use router_core::clock::{Clock as _, SystemClock};
use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::schema;
use crate::StoreError;

#[derive(Debug, thiserror::Error)]
#[error(
    "{url} cannot be opened as an inbox; name an inbox's file, or a new file in a writable directory"
)]
struct NotOpened {
    url: String,
    source: sqlx::Error,
}

/// Timeout of waiting for another process's write.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout of waiting for the writer or a reader of this process. Every write has a shorter time
/// limit of its own, and an event to store has a much shorter timeout.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens the file and returns the pool of the writer and the pool of the readers.
pub(super) async fn file(url: &str) -> Result<(SqlitePool, SqlitePool), StoreError> {
    let opened = open(url).await;
    opened.map_err(|source| StoreError::new(NotOpened { url: url.to_owned(), source }))
}

async fn open(url: &str) -> sqlx::Result<(SqlitePool, SqlitePool)> {
    let options = SqliteConnectOptions::from_str(url)?;
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT);
    schema::migrate(&mut connect(&options).await?).await?;
    // If the file is deleted later, reconnecting must fail rather than create an empty file.
    let options = options.create_if_missing(false);
    let writer = permanent_connections(1).connect_lazy_with(options.clone());
    let readers = permanent_connections(4).connect_lazy_with(options.read_only(true));
    Ok((writer, readers))
}

/// A pool that keeps its connections open, and replaces one only if it is broken.
fn permanent_connections(connections: u32) -> SqlitePoolOptions {
    let options =
        SqlitePoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
    let options = options.idle_timeout(None).max_lifetime(None).test_before_acquire(false);
    // After some errors, such as a full disk, SQLite rolls back the transaction itself. sqlx's own
    // rollback then fails, and sqlx considers the connection to be in a transaction forever. Such a
    // connection is replaced.
    options.before_acquire(|connection, _| {
        Box::pin(std::future::ready(Ok(!connection.is_in_transaction())))
    })
}

/// Connects, and retries while another process creates the file.
///
/// SQLite waits for other writers (`busy_timeout`), but not when it switches a new file to WAL
/// mode. That needs exclusive access, and two processes waiting for it would deadlock, so SQLite
/// fails one of them at once with "database is locked".
async fn connect(options: &SqliteConnectOptions) -> sqlx::Result<SqliteConnection> {
    let deadline = SystemClock.monotonic() + BUSY_TIMEOUT;
    loop {
        match options.connect().await {
            Err(error) if is_locked(&error) && SystemClock.monotonic() < deadline => {
                SystemClock.sleep(Duration::from_millis(10)).await;
            }
            connected => return connected,
        }
    }
}

/// Returns whether another process has locked the file.
pub(super) fn is_locked(error: &sqlx::Error) -> bool {
    // The primary code `SQLITE_BUSY`, which is the lowest byte of an extended code.
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}
