//! A dead-letter sink that appends JSON lines to a file.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use serde::Serialize;

use super::{DeadLetter, DeadLetters};
use crate::handler::BoxError;

/// A sink that appends dead letters to a file, one JSON object per line.
///
/// Each line is synced to disk before [`store`](DeadLetters::store) returns. An example:
///
/// ```json
/// {"at":"2026-01-31T12:00:00.000000000Z","event":"evt_1","type":"invoice.paid","endpoint":"default","account":null,"api_version":"2026-10-28.endive","handler":"orders.fulfil","attempts":1,"error":"no such order","payload":"{\"id\":\"evt_1\",…}"}
/// ```
///
/// If an event is sent again and its handler fails again, the file has one line for each failure.
///
/// `payload` is the event exactly as Stripe sent it, so it can be signed and sent again. It may
/// contain personal data such as names and addresses, so on Unix the file is created readable only
/// by its owner.
///
/// The file is opened for each write, so it can be moved away while the program runs. After a
/// crash, the last line may be incomplete and thus invalid JSON; the next dead letter starts on a
/// new line. Processes must not share a file.
#[derive(Debug)]
pub struct DeadLetterFile {
    path: Arc<Path>,
    /// Serializes the writes.
    write_lock: Arc<Mutex<()>>,
}

#[derive(Serialize)]
struct Line<'l> {
    at: String,
    event: &'l str,
    r#type: &'l str,
    endpoint: &'l str,
    account: Option<&'l str>,
    api_version: Option<&'l str>,
    handler: &'l str,
    attempts: u32,
    error: String,
    payload: &'l str,
}

impl DeadLetterFile {
    /// Opens the file at this path for appending; creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be opened for writing, so that a wrong path is found at start-up
    /// instead of at the first dead letter. The [`io::Error`] contains the path.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path: PathBuf = path.into();
        open(&path)?;
        Ok(Self { path: path.into(), write_lock: Arc::default() })
    }
}

#[async_trait]
impl DeadLetters for DeadLetterFile {
    async fn store(&self, letter: &DeadLetter<'_>) -> Result<(), BoxError> {
        let DeadLetter { event, handler, attempts, failure, at } = letter;
        let mut line = serde_json::to_vec(&Line {
            at: humantime::format_rfc3339_nanos(*at).to_string(),
            event: event.id(),
            r#type: event.event_type(),
            endpoint: event.endpoint().as_str(),
            account: event.owner_account(),
            api_version: event.api_version(),
            handler,
            attempts: *attempts,
            error: failure.to_string(),
            payload: event.payload_text(),
        })?;
        line.push(b'\n');
        let (path, write_lock) = (self.path.clone(), self.write_lock.clone());
        let write = move || {
            let _guard = write_lock.lock().unwrap_or_else(PoisonError::into_inner);
            append(&path, line)
        };
        tokio::task::spawn_blocking(write).await??;
        Ok(())
    }
}

/// Appends a line, on a new line even if the last one is incomplete, and syncs the file.
fn append(path: &Path, mut line: Vec<u8>) -> io::Result<()> {
    let mut file = open(path)?;
    let end = file.seek(SeekFrom::End(0))?;
    if end > 0 {
        let mut last = [0];
        file.seek(SeekFrom::Start(end - 1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            line.insert(0, b'\n');
        }
    }
    let written = file.write_all(&line).and_then(|()| file.sync_all());
    if written.is_err() {
        // Remove a partly written line. The event is redelivered, and its line is written then.
        drop(file.set_len(end));
    }
    written.map_err(|error| with_path(path, &error))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let is_new = !path.exists();
    let open = || {
        let file = options.open(path)?;
        if is_new {
            sync_folder(path)?;
        }
        Ok(file)
    };
    open().map_err(|error: io::Error| with_path(path, &error))
}

/// Syncs the file's folder. A new file survives a crash only after its folder is synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        #[cfg(unix)]
        Some(folder) => {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            File::open(folder)?.sync_all()
        }
        _ => Ok(()),
    }
}

fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("dead-letter file {}: {error}", path.display()))
}
