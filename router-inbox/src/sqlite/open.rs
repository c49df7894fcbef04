//! Opens the file, also while others do.

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
    "{url} cannot be opened as an inbox; name a file of an inbox, or a new one in a folder that can be written to"
)]
struct NotOpened {
    url: String,
    source: sqlx::Error,
}

/// How long another process's write is waited for.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// How long one's turn in this process is waited for. Whoever has it has a limit of its own that is shorter; who has an
/// event to store stops waiting much earlier.
pub(super) const TURN: Duration = Duration::from_secs(30);

/// The one connection that writes, and those that read.
pub(super) async fn file(url: &str) -> Result<(SqlitePool, SqlitePool), StoreError> {
    let opened = open(url).await;
    opened.map_err(|source| StoreError::of(NotOpened { url: url.to_owned(), source }))
}

async fn open(url: &str) -> sqlx::Result<(SqlitePool, SqlitePool)> {
    let options = SqliteConnectOptions::from_str(url)?;
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY);
    schema::migrate(&mut connect(&options).await?).await?;
    // Should the file vanish, an empty one in its place would hide that.
    let options = options.create_if_missing(false);
    let writer = only_when_broken_anew(1).connect_lazy_with(options.clone());
    let readers = only_when_broken_anew(4).connect_lazy_with(options.read_only(true));
    Ok((writer, readers))
}

/// Connections that stay.
fn only_when_broken_anew(connections: u32) -> SqlitePoolOptions {
    let options = SqlitePoolOptions::new().max_connections(connections).acquire_timeout(TURN);
    let options = options.idle_timeout(None).max_lifetime(None).test_before_acquire(false);
    // After some errors, a full disk's for one, SQLite has undone the transaction by itself. sqlx then fails to undo
    // it, and would be in it for ever.
    options.before_acquire(|connection, _| {
        Box::pin(std::future::ready(Ok(!connection.is_in_transaction())))
    })
}

/// Connects, once no other process is about to make the file too.
///
/// SQLite waits for other writers (`busy_timeout`), but not where a file becomes one with a WAL: for that it
/// must be alone, and two that each wait for the other would wait for ever, so one of them is told at once that
/// the file is locked.
async fn connect(options: &SqliteConnectOptions) -> sqlx::Result<SqliteConnection> {
    let until = SystemClock.monotonic() + BUSY;
    loop {
        match options.connect().await {
            Err(error) if is_locked(&error) && SystemClock.monotonic() < until => {
                SystemClock.sleep(Duration::from_millis(10)).await;
            }
            connected => return connected,
        }
    }
}

pub(super) fn is_locked(error: &sqlx::Error) -> bool {
    // `SQLITE_BUSY`; an extended code has it in its lowest byte.
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}
