//! A file of dead letters: a line of JSON each.

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

/// Appends dead letters to a file, a line of JSON each, and has them on the disk before it says so:
///
/// ```json
/// {"at":"2026-01-31T12:00:00.000000000Z","event":"evt_1","type":"invoice.paid","endpoint":"default","account":null,"handler":"orders.fulfil","attempts":1,"error":"no such order","payload":"{\"id\":\"evt_1\",…}"}
/// ```
///
/// `payload` is the event as Stripe sent it, byte for byte, so it can be signed and sent once more. It
/// holds what the event holds, people's names and addresses included: the file is made readable for
/// its owner alone.
///
/// Each write opens the file anew, so it can be moved away while the program runs. A line that a crash
/// has cut short is not valid JSON, and the next one begins on a line of its own. Several processes
/// need a file each.
#[derive(Debug)]
pub struct DeadLetterFile {
    path: Arc<Path>,
    /// One line after the other.
    writing: Arc<Mutex<()>>,
}

#[derive(Serialize)]
struct Line<'l> {
    at: String,
    event: &'l str,
    r#type: &'l str,
    endpoint: &'l str,
    account: Option<&'l str>,
    handler: &'l str,
    attempts: u32,
    error: String,
    payload: &'l str,
}

impl DeadLetterFile {
    /// Appends to the file at this path, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// An [`io::Error`] that names the path, where the file cannot be opened for writing: better found
    /// at start than with the first dead letter.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path: PathBuf = path.into();
        open(&path)?;
        Ok(Self { path: path.into(), writing: Arc::default() })
    }
}

#[async_trait]
impl DeadLetters for DeadLetterFile {
    async fn keep(&self, letter: &DeadLetter<'_>) -> Result<(), BoxError> {
        let DeadLetter { event, handler, attempts, failure, at } = letter;
        let mut line = serde_json::to_vec(&Line {
            at: humantime::format_rfc3339_nanos(*at).to_string(),
            event: event.id(),
            r#type: event.event_type(),
            endpoint: event.endpoint().as_str(),
            account: event.account(),
            handler,
            attempts: *attempts,
            error: failure.to_string(),
            payload: event.payload_text(),
        })?;
        line.push(b'\n');
        let (path, writing) = (self.path.clone(), self.writing.clone());
        let write = move || {
            let _one = writing.lock().unwrap_or_else(PoisonError::into_inner);
            append(&path, line)
        };
        tokio::task::spawn_blocking(write).await??;
        Ok(())
    }
}

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
        // What stands there is half a line, perhaps: the event comes again, and so does its line.
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

/// A new file is in its folder for good only once the folder is on the disk too.
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
    io::Error::new(error.kind(), format!("the dead-letter file {}: {error}", path.display()))
}
