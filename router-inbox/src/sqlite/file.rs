//! Detects that the inbox's files were moved, deleted, replaced or damaged while they are open.

use std::{
    ffi::OsString,
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use sqlx::{SqliteConnection, error::DatabaseError};
use tokio::task::spawn_blocking;

use crate::StoreError;

/// The files of an open inbox: the database, its WAL and the WAL's index.
///
/// SQLite continues to use a file that was renamed or deleted. The next process that opens the
/// inbox would not find the events committed to that file. Each commit therefore checks that the
/// paths still refer to the opened files.
pub(super) struct OpenFiles {
    files: Vec<OpenFile>,
    /// The reason for the last refusal of a commit.
    last_refusal: Mutex<Option<FileError>>,
    /// `true` after a check has failed. The next call then checks before it uses the database.
    is_suspect: AtomicBool,
    /// `true` if the current failure has been logged.
    is_logged: AtomicBool,
    damage: OnceLock<FileError>,
}

struct OpenFile {
    path: PathBuf,
    role: Role,
    id: FileId,
}

/// The purpose of a file that SQLite has open.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    Database,
    Wal,
    WalIndex,
}

/// The device and the inode of a file. While SQLite has the file open, no other file has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId(u64, u64);

/// The reason why an open inbox must not be used.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum FileError {
    #[error(
        "{} was moved or deleted while the inbox was open; {}",
        .0.display(),
        .1.remedy("move it back, or restart the server to continue without it and the events in it")
    )]
    Missing(PathBuf, Role),
    #[error(
        "{} was replaced by another file while the inbox was open; {}",
        .0.display(),
        .1.remedy("move the former file back, or restart the server to continue with the new one")
    )]
    Replaced(PathBuf, Role),
    #[error("{} can no longer be accessed ({}); restore the access to it", .0.display(), .1)]
    Inaccessible(PathBuf, Arc<io::Error>),
    #[error(
        "{} is damaged ({finding}); stop the server, copy the file and its -wal, and restore a \
         backup or rebuild the file with the command `.recover` of sqlite3",
        path.display()
    )]
    Damaged { path: PathBuf, finding: String },
}

impl OpenFiles {
    /// Records the files that a connection to this absolute path has open.
    ///
    /// # Errors
    ///
    /// Fails if the database file cannot be accessed.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let (id, role) = (FileId::at(path)?, Role::Database);
        let mut files = vec![OpenFile { path: path.to_owned(), role, id }];
        // SQLite resolves symbolic links, so the WAL is next to the file that a link refers to.
        let database = fs::canonicalize(path)?;
        for (suffix, role) in [("-wal", Role::Wal), ("-shm", Role::WalIndex)] {
            let mut path = OsString::from(&database);
            path.push(suffix);
            // A file system without shared memory has no WAL.
            if let Ok(id) = FileId::at(Path::new(&path)) {
                files.push(OpenFile { path: path.into(), role, id });
            }
        }
        let (is_suspect, is_logged) = (AtomicBool::new(false), AtomicBool::new(false));
        let last_refusal = Mutex::default();
        Ok(Self { files, last_refusal, is_suspect, is_logged, damage: OnceLock::new() })
    }

    /// Returns the path of the database.
    pub(super) fn database(&self) -> &Path {
        &self.files[0].path
    }

    /// Returns the database's identity.
    pub(super) fn id(&self) -> FileId {
        self.files[0].id
    }

    /// Refuses every later commit because the database is damaged.
    pub(super) fn set_damaged(&self, finding: String) {
        let error = FileError::Damaged { path: self.database().to_owned(), finding };
        if self.damage.set(error.clone()).is_ok() {
            log(&error);
        }
    }

    /// Makes a connection roll back instead of committing if the files have changed.
    ///
    /// The check runs in SQLite's thread, so a disk that does not respond blocks no thread of the
    /// runtime. The check costs one `stat` per file.
    pub(super) async fn guard_commits(
        self: &Arc<Self>,
        connection: &mut SqliteConnection,
    ) -> sqlx::Result<()> {
        let files = self.clone();
        let check = move || {
            let refusal = files.damage.get().cloned().or_else(|| files.check().err());
            let is_unchanged = refusal.is_none();
            if !is_unchanged {
                *files.last_refusal() = refusal;
                files.is_suspect.store(true, Ordering::Release);
            }
            is_unchanged
        };
        connection.lock_handle().await?.set_commit_hook(check);
        Ok(())
    }

    /// Checks again if an earlier check has failed.
    ///
    /// # Errors
    ///
    /// Fails while the inbox must not be used.
    pub(super) async fn check_if_suspect(self: &Arc<Self>) -> Result<(), FileError> {
        if let Some(damage) = self.damage.get() {
            return Err(damage.clone());
        }
        match self.is_suspect.load(Ordering::Acquire) {
            true => self.check_and_log().await,
            false => Ok(()),
        }
    }

    /// Checks the files. Logs a failure once, until a later check succeeds.
    ///
    /// # Errors
    ///
    /// Fails if the inbox must not be used.
    pub(super) async fn check_and_log(self: &Arc<Self>) -> Result<(), FileError> {
        let files = self.clone();
        let checked = spawn_blocking(move || files.check()).await;
        // The task does not panic; it is canceled if the runtime shuts down.
        let checked = checked.unwrap_or(Ok(()));
        self.is_suspect.store(checked.is_err(), Ordering::Release);
        match &checked {
            Err(error) if !self.is_logged.swap(true, Ordering::AcqRel) => log(error),
            Ok(()) if self.is_logged.swap(false, Ordering::AcqRel) => {
                tracing::info!(file = %self.database().display(), "the inbox's file can be used again; storing events and running handlers again");
            }
            _ => {}
        }
        checked
    }

    /// Returns the reason why the files cannot be used, or why the commit was refused. Otherwise
    /// returns the given error.
    pub(super) async fn explain(self: &Arc<Self>, error: sqlx::Error) -> StoreError {
        if let Some(damage) = self.damage.get() {
            return damage.clone().into();
        }
        match self.check_and_log().await {
            Err(changed) => changed.into(),
            // The file may be back since the commit was refused.
            Ok(()) => match self.last_refusal().clone().filter(|_| is_refused_commit(&error)) {
                Some(refusal) => refusal.into(),
                None => error.into(),
            },
        }
    }

    fn last_refusal(&self) -> MutexGuard<'_, Option<FileError>> {
        self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> Result<(), FileError> {
        self.files.iter().try_for_each(|OpenFile { path, role, id }| match FileId::at(path) {
            Ok(found) if found == *id => Ok(()),
            Ok(_) => Err(FileError::Replaced(path.clone(), *role)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(FileError::Missing(path.clone(), *role))
            }
            Err(error) => Err(FileError::Inaccessible(path.clone(), Arc::new(error))),
        })
    }
}

impl From<FileError> for StoreError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Damaged { .. } => Self::corrupt(error),
            _ => Self::unavailable(error),
        }
    }
}

impl Role {
    /// Returns the advice for a missing or replaced file, given the advice for the database.
    fn remedy(self, database: &'static str) -> &'static str {
        match self {
            Self::Database => database,
            Self::Wal => {
                "it is SQLite's write-ahead log, which holds the latest events; move it back, or \
                 restart the server to continue without these events"
            }
            Self::WalIndex => {
                "it is the index of SQLite's write-ahead log and holds no events; stop all \
                 processes that have the inbox open, and start them again: SQLite then creates it \
                 anew"
            }
        }
    }
}

/// Returns whether the commit hook has refused the commit.
fn is_refused_commit(error: &sqlx::Error) -> bool {
    // `SQLITE_CONSTRAINT_COMMITHOOK`
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "531")
}

fn log(error: &FileError) {
    tracing::error!(
        %error,
        "the inbox's file cannot be used; events are answered with 503, and no handler runs"
    );
}

impl FileId {
    /// Returns the identity of the file that a path refers to. Follows symbolic links.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::from_metadata(&metadata))
    }

    #[cfg(unix)]
    fn from_metadata(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self(metadata.dev(), metadata.ino())
    }

    /// Windows does not rename or delete a file that SQLite has open.
    #[cfg(not(unix))]
    fn from_metadata(_: &Metadata) -> Self {
        Self(0, 0)
    }
}
