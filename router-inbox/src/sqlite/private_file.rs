//! Creates the database file, which holds whole payloads, readable only by its owner.

use std::{
    fs::{self, OpenOptions},
    io,
    path::Path,
    sync::{Mutex, PoisonError},
};

/// Serializes the creation of files in this process. If a process closes a file, it loses the locks
/// of all its connections to that file. No connection may therefore open a new file before this
/// module has closed it.
static CREATING: Mutex<()> = Mutex::new(());

/// Creates an empty file unless it exists. SQLite gives the WAL and its index the same mode.
///
/// Logs a warning if other users can access an existing file. The mode is not changed, because it
/// may be intended, for example for a backup.
///
/// # Errors
///
/// Fails if the file cannot be created.
pub(super) fn create(path: &Path) -> io::Result<()> {
    let _guard = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    match fs::metadata(path) {
        Ok(metadata) => {
            warn_if_shared(path, &metadata);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut options = OpenOptions::new();
            // Not `create_new`: the path may be a symbolic link to a file that does not exist yet.
            options.write(true).create(true).truncate(false);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(path).map(drop)
        }
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn warn_if_shared(path: &Path, metadata: &fs::Metadata) {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(
            file = %path.display(), mode = format_args!("{mode:03o}"),
            "other users of this machine can access the inbox's file, which holds whole payloads; \
             run `chmod 600` on it, its -wal and its -shm"
        );
    }
}

#[cfg(not(unix))]
fn warn_if_shared(_: &Path, _: &fs::Metadata) {}
