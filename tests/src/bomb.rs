//! Handlers that panic in every way that does not abort the process.

use std::{error::Error, fmt, future::pending, panic::panic_any, thread};

use router_core::{Failure, Outcome, handler::HandlerResult};

/// The place of a handler's panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The handler itself.
    Panic,
    /// The handler hangs, and panics when it is dropped.
    DropOnTimeout,
    /// The payload of the panic panics when it is dropped.
    PayloadDrop,
    /// The `Display` of the error.
    ErrorDisplay,
    /// The `source` of the error.
    ErrorSource,
    /// The destructor of the error.
    ErrorDrop,
}

impl Fault {
    /// All places.
    pub const ALL: [Self; 6] = [
        Self::Panic,
        Self::DropOnTimeout,
        Self::PayloadDrop,
        Self::ErrorDisplay,
        Self::ErrorSource,
        Self::ErrorDrop,
    ];

    /// Returns whether the handler hangs instead of panicking at once.
    #[must_use]
    pub fn hangs(self) -> bool {
        self == Self::DropOnTimeout
    }

    /// Returns a part of the error that the handler's failure must have.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Panic => "the handler panicked: a bug",
            Self::DropOnTimeout => {
                "did not finish within 20s; when it was stopped, the handler panicked: a bomb"
            }
            Self::PayloadDrop => "the handler panicked: without a message",
            Self::ErrorDisplay => {
                "the warehouse (the text of the error is incomplete: its `Display` or `source` \
                 panicked: a bug in `fmt`)"
            }
            Self::ErrorSource => "the warehouse is down (the text of the error is incomplete",
            Self::ErrorDrop => "the warehouse is down",
        }
    }
}

/// Panics when it is dropped, unless the thread panics already.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(thread::panicking(), "a bomb");
    }
}

struct Faulty {
    fault: Fault,
    /// Only dropped.
    _bomb: Option<Bomb>,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the warehouse")?;
        assert!(self.fault != Fault::ErrorDisplay, "a bug in `fmt`");
        f.write_str(" is down")
    }
}

impl Error for Faulty {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        assert!(self.fault != Fault::ErrorSource, "a bug in `source`");
        None
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

/// Fails in this place.
///
/// # Errors
///
/// Fails with an error that panics, or panics itself.
pub async fn fail(fault: Fault) -> HandlerResult {
    if fault == Fault::DropOnTimeout {
        let _bomb = Bomb;
        pending::<()>().await;
    }
    fail_blocking(fault)
}

/// Fails in this place, in a thread for blocking calls.
///
/// # Errors
///
/// Fails with an error that panics, or panics itself.
pub fn fail_blocking(fault: Fault) -> HandlerResult {
    match fault {
        Fault::DropOnTimeout => Ok(Outcome::Done),
        Fault::Panic => panic!("a bug"),
        Fault::PayloadDrop => panic_any(Bomb),
        Fault::ErrorDrop => Err(Failure::retry(Faulty { fault, _bomb: Some(Bomb) })),
        Fault::ErrorDisplay | Fault::ErrorSource => {
            Err(Failure::retry(Faulty { fault, _bomb: None }))
        }
    }
}
