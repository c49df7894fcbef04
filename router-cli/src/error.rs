//! How a run ends, and what it says if it cannot go on.

use std::{fmt, io, process::ExitCode};

/// How a run ended: the exit code, which `--help` documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    Done = 0,
    /// The server's answer was no 2xx or said that a handler failed for good, a signature is not right, or nothing
    /// in an inbox could be changed.
    Refused = 1,
    /// It was asked for what cannot be. (clap ends with this code too.)
    Usage = 2,
    /// There was no answer, of a server or of an inbox's store.
    NoAnswer = 3,
    /// The user has stopped it before all was sent: what a shell makes of a SIGINT.
    Stopped = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a run cannot go on.
#[derive(Debug)]
pub(crate) enum Error {
    /// What was asked for cannot be.
    Usage(String),
    /// An inbox's store did not do what it was asked to.
    Inbox(String),
    /// What is written cannot be written.
    Output(io::Error),
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Inbox(_) => Exit::NoAnswer,
            Self::Output(_) => Exit::Refused,
        }
    }

    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Inbox(text) => f.write_str(text),
            Self::Output(error) => write!(f, "the output cannot be written: {error}"),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
