//! Opens the file, also while other processes open it.

use std::{
    io::{self, ErrorKind},
    path,
    str::FromStr as _,
    sync::Arc,
    time::Duration,
};

use router_core::clock::{Clock as _, SystemClock};
use sqlx::{
    ConnectOptions as _, Connection as _, Row as _, SqliteConnection, SqlitePool,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqlitePoolOptions,
        SqliteSynchronous,
    },
};

use super::{
    file::{FileId, OpenFiles},
    private_file,
    schema::{self, MigrateError, Unusable},
};
use crate::{
    StoreError,
    store::{
        StoreErrorKind, parameters,
        sql_error::{kind, primary_code},
    },
};

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(
        "{url} cannot be opened as an inbox; name an inbox's file, or a new file in a writable directory"
    )]
    NotOpened { url: String, source: sqlx::Error },
    #[error("{url} {reason}")]
    Unusable { url: String, reason: Unusable },
}

/// Timeout of waiting for another process's write.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout of waiting for the writer or a reader of this process. Every write has a shorter time
/// limit of its own, and an event to store has a much shorter timeout.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// An open inbox.
pub(super) struct Opened {
    /// A pool with a single connection.
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
    pub(super) files: Arc<OpenFiles>,
    /// The first connection. While this connection is open, SQLite does not delete the WAL.
    pub(super) first: SqliteConnection,
}

/// Returns the kind of an error from opening a file. [`Misuse`](StoreErrorKind::Misuse) if the file
/// cannot be opened or is no database, because the URL then names a wrong file.
pub(super) fn open_error_kind(error: &sqlx::Error) -> StoreErrorKind {
    match error {
        sqlx::Error::Io(error) => match error.kind() {
            ErrorKind::StorageFull | ErrorKind::ResourceBusy => StoreErrorKind::Unavailable,
            _ => StoreErrorKind::Misuse,
        },
        // `SQLITE_CANTOPEN` and `SQLITE_NOTADB`
        sqlx::Error::Database(database) if matches!(primary_code(&**database), Some(14 | 26)) => {
            StoreErrorKind::Misuse
        }
        _ => kind(error),
    }
}

pub(super) fn not_opened(url: String, error: impl Into<MigrateError>) -> StoreError {
    match error.into() {
        MigrateError::Sql(source) => {
            StoreError::new(open_error_kind(&source), OpenError::NotOpened { url, source })
        }
        MigrateError::Unusable(reason) => StoreError::misuse(OpenError::Unusable { url, reason }),
    }
}

/// Returns the file of a pool, and options to open it.
pub(super) async fn options_of(
    pool: &SqlitePool,
) -> Result<(String, SqliteConnectOptions), StoreError> {
    let database = sqlx::query("select file from pragma_database_list where name = 'main'");
    let file = database.fetch_one(pool).await.and_then(|row| row.try_get::<String, _>(0));
    let options = SqliteConnectOptions::clone(&pool.connect_options());
    let file = file.map_err(|error| match error {
        sqlx::Error::Database(_) => not_opened(options.get_filename().display().to_string(), error),
        error => error.into(),
    })?;
    if file.is_empty() {
        return Err(StoreError::misuse(
            "the pool's database is in memory and cannot be used as an inbox; open a file",
        ));
    }
    let options = options.filename(&file).shared_cache(false).immutable(false);
    Ok((file, options.locking_mode(SqliteLockingMode::Normal)))
}

pub(super) async fn open(options: SqliteConnectOptions) -> Result<Opened, MigrateError> {
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT);
    let (first, files) = connect_and_migrate(&options).await?;
    // If the file is deleted later, reconnecting must fail rather than create an empty file.
    let options = options.create_if_missing(false);
    let writer = permanent_connections(1, &files).connect_lazy_with(options.clone());
    let readers = permanent_connections(4, &files).connect_lazy_with(options.read_only(true));
    Ok(Opened { writer, readers, files, first })
}

/// Checks the parameters of a URL. A parameter that shares a cache between connections, or that
/// skips SQLite's locks, would make the inbox unsafe.
///
/// # Errors
///
/// Fails if the URL has another parameter than `mode=rw` or `mode=rwc`.
fn check_parameters(url: &str) -> Result<(), StoreError> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    parameters::check(query, &["mode"]).map_err(StoreError::misuse)?;
    if query.split('&').all(|parameter| ["", "mode=rw", "mode=rwc"].contains(&parameter)) {
        return Ok(());
    }
    Err(StoreError::misuse("the parameter `mode` of the inbox's URL must be `rw` or `rwc`"))
}

/// Parses a URL.
///
/// # Errors
///
/// Fails if the URL is invalid, has an unknown parameter, or names no file or a directory.
pub(super) fn parse(url: &str) -> Result<SqliteConnectOptions, StoreError> {
    check_parameters(url)?;
    options(url).map_err(|source| not_opened(url.to_owned(), source))
}

/// Makes the path absolute: the process may change its working directory before a pool connects.
fn options(url: &str) -> sqlx::Result<SqliteConnectOptions> {
    let options = SqliteConnectOptions::from_str(url)?;
    if url.split('?').next().is_some_and(|file| file.ends_with(":memory:")) {
        return Err(
            io::Error::other("a database in memory would lose its events; name a file").into()
        );
    }
    let path = path::absolute(options.get_filename())?;
    if path.is_dir() {
        return Err(io::Error::from(ErrorKind::IsADirectory).into());
    }
    Ok(options.filename(path))
}

/// Opens the file, migrates its tables, and records the identity of the opened files.
///
/// # Errors
///
/// Fails if:
///
/// - the file cannot be opened or migrated;
/// - the inbox lacks one of its tables, or another program uses a reserved name;
/// - the file is replaced several times while it is opened.
async fn connect_and_migrate(
    options: &SqliteConnectOptions,
) -> Result<(SqliteConnection, Arc<OpenFiles>), MigrateError> {
    let path = options.get_filename();
    for _ in 0..3 {
        private_file::create(path).map_err(sqlx::Error::Io)?;
        let before = FileId::at(path).map_err(sqlx::Error::Io)?;
        let mut connection = connect(options).await?;
        schema::migrate(&mut connection).await?;
        let files = OpenFiles::new(path).map_err(sqlx::Error::Io)?;
        // SQLite does not report the file that it has opened. If the path refers to the same file
        // before and after, that is the opened one.
        if before == files.id() {
            return Ok((connection, Arc::new(files)));
        }
    }
    let message = "the file was replaced while it was opened; try again";
    Err(sqlx::Error::Io(io::Error::new(ErrorKind::ResourceBusy, message)).into())
}

/// A pool that keeps its connections open, and replaces one only if it is broken.
fn permanent_connections(connections: u32, files: &Arc<OpenFiles>) -> SqlitePoolOptions {
    let options =
        SqlitePoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
    let options = options.idle_timeout(None).max_lifetime(None).test_before_acquire(false);
    // After some errors, such as a full disk, SQLite rolls back the transaction itself. sqlx's own
    // rollback then fails, and sqlx considers the connection to be in a transaction forever. Such a
    // connection is replaced.
    let options = options.before_acquire(|connection, _| {
        Box::pin(std::future::ready(Ok(!connection.is_in_transaction())))
    });
    let files = files.clone();
    options.after_connect(move |connection, _| {
        let files = files.clone();
        Box::pin(async move {
            // The connection may have opened another file than the first one did.
            files.check_and_log().await.map_err(io::Error::other)?;
            files.guard_commits(connection).await
        })
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
            Err(error)
                if kind(&error) == StoreErrorKind::Busy && SystemClock.monotonic() < deadline =>
            {
                SystemClock.sleep(Duration::from_millis(10)).await;
            }
            connected => return connected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn open_error_of_a_full_disk_is_unavailable() {
        let mut database = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let fill = sqlx::raw_sql("pragma max_page_count = 1; create table t (a)");
        let full = fill.execute(&mut database).await.unwrap_err();
        let io = |kind| sqlx::Error::Io(io::Error::from(kind));
        let rows = [
            (full, StoreErrorKind::Unavailable),
            (io(ErrorKind::StorageFull), StoreErrorKind::Unavailable),
            (io(ErrorKind::PermissionDenied), StoreErrorKind::Misuse),
        ];
        for (error, expected) in rows {
            assert_eq!(open_error_kind(&error), expected, "{error}");
        }
    }
}
