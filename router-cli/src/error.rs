//! Exit codes and errors.

use std::{fmt, io, process::ExitCode};

use router_inbox::store::StoreErrorKind;

/// The exit code, as documented by `event-router --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    Success = 0,
    /// An answer was not 2xx or reports a dead letter, a signature is invalid, nothing in the inbox
    /// was changed, its data is damaged, `doctor` has found a fault, or `reconcile` could not hand
    /// over an event.
    Failure = 1,
    /// The request was invalid. clap exits with this code too.
    Usage = 2,
    /// The server, Stripe or the inbox's store did not answer, the store is busy, or Stripe refused
    /// the API key.
    NoAnswer = 3,
    /// The user pressed Ctrl-C before everything was done. Shells report 128 + SIGINT (2).
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that ends the run.
#[derive(Debug)]
pub(crate) enum Error {
    /// The request was invalid.
    Usage(String),
    /// Opening the inbox's store or an operation on it failed.
    Inbox(StoreErrorKind, String),
    /// A request to Stripe or to a server failed.
    Request(String),
    /// A server answered that it does not accept an event.
    Refused(String),
    /// Writing to stdout failed.
    Output(io::Error),
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Inbox(kind, _) => match kind {
                StoreErrorKind::Unavailable | StoreErrorKind::Busy => Exit::NoAnswer,
                StoreErrorKind::Rejected | StoreErrorKind::Misuse => Exit::Usage,
                _ => Exit::Failure,
            },
            Self::Request(_) => Exit::NoAnswer,
            Self::Refused(_) | Self::Output(_) => Exit::Failure,
        }
    }

    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message)
            | Self::Request(message)
            | Self::Refused(message)
            | Self::Inbox(_, message) => f.write_str(message),
            Self::Output(error) => write!(f, "cannot write the output: {error}"),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_says_whether_to_change_the_request_or_to_repeat_it() {
        for (kind, exit) in [
            (StoreErrorKind::Unavailable, Exit::NoAnswer),
            (StoreErrorKind::Busy, Exit::NoAnswer),
            (StoreErrorKind::Rejected, Exit::Usage),
            (StoreErrorKind::Misuse, Exit::Usage),
            (StoreErrorKind::Corrupt, Exit::Failure),
        ] {
            assert_eq!(Error::Inbox(kind, String::new()).exit(), exit, "{kind}");
        }
    }
}
