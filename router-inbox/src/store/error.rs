//! Errors of stores.

use std::{error::Error, fmt};

use router_core::{BoxError, Failure, panic_guard::catch};

/// An error of a store: its kind, and the error of the underlying engine.
///
/// With the feature `sqlite` or `postgres`, `?` converts a [`sqlx::Error`] and determines its kind.
///
/// ```
/// use router_inbox::{StoreError, store::StoreErrorKind};
///
/// let error = StoreError::rejected("the event has 70 MB, and the limit is 64 MB");
/// assert_eq!(error.kind(), StoreErrorKind::Rejected);
/// ```
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: BoxError,
}

/// The kind of a [`StoreError`]. It determines whether a retry may help, the exit code of the
/// command `event-router inbox`, and the level at which a worker logs the error:
///
/// | kind | exit code | log level |
/// |---|---|---|
/// | [`Unavailable`](Self::Unavailable), [`Busy`](Self::Busy) | 3 | WARN |
/// | [`Rejected`](Self::Rejected), [`Misuse`](Self::Misuse) | 2 | ERROR |
/// | [`Corrupt`](Self::Corrupt) | 1 | ERROR |
///
/// A worker retries after an error of any kind. The endpoint logs an event that could not be stored
/// at ERROR, whatever the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The server cannot be reached, or the engine or the disk fails. Retrying may succeed.
    Unavailable,
    /// The store works, but is overloaded, locked or too slow. Retrying may succeed.
    Busy,
    /// The store refuses this call with these arguments, for example because an event is too large.
    /// Retrying does not help.
    Rejected,
    /// Stored data is damaged, or this version cannot read it.
    Corrupt,
    /// The store is configured or called wrongly, for example with an invalid URL or without
    /// permissions.
    Misuse,
}

impl StoreError {
    /// Creates an error of this kind from an error of the underlying engine.
    pub fn new(kind: StoreErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: source.into() }
    }

    /// Creates an error of the kind [`Unavailable`](StoreErrorKind::Unavailable).
    pub fn unavailable(source: impl Into<BoxError>) -> Self {
        Self::new(StoreErrorKind::Unavailable, source)
    }

    /// Creates an error of the kind [`Busy`](StoreErrorKind::Busy).
    pub fn busy(source: impl Into<BoxError>) -> Self {
        Self::new(StoreErrorKind::Busy, source)
    }

    /// Creates an error of the kind [`Rejected`](StoreErrorKind::Rejected).
    pub fn rejected(source: impl Into<BoxError>) -> Self {
        Self::new(StoreErrorKind::Rejected, source)
    }

    /// Creates an error of the kind [`Corrupt`](StoreErrorKind::Corrupt).
    pub fn corrupt(source: impl Into<BoxError>) -> Self {
        Self::new(StoreErrorKind::Corrupt, source)
    }

    /// Creates an error of the kind [`Misuse`](StoreErrorKind::Misuse).
    pub fn misuse(source: impl Into<BoxError>) -> Self {
        Self::new(StoreErrorKind::Misuse, source)
    }

    /// Wraps the reason for which a store could not give a handler access to its
    /// [`Effects`](crate::store::Effects), for example that no connection was available. If the
    /// reason is a `StoreError`, the error has its kind, and otherwise
    /// [`Unavailable`](StoreErrorKind::Unavailable).
    ///
    /// If the handler fails with this error, or with one that has it as a
    /// [source](std::error::Error::source), the handler is not to blame: the worker then
    /// [releases](crate::store::DeliveryOutcome::Released) the delivery without counting the
    /// attempt.
    pub fn unavailable_to_handler(reason: impl Into<BoxError>) -> Self {
        let reason = reason.into().downcast::<Self>();
        let Self { kind, source } = reason.map_or_else(Self::unavailable, |error| *error);
        Self::new(kind, UnavailableToHandler(Reason(source)))
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Returns whether the engine's error is an `E`.
    pub(crate) fn is<E: Error + 'static>(&self) -> bool {
        self.source.is::<E>()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Error for StoreError {
    /// Returns the cause of the engine's error, whose text is that of this error.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

impl StoreErrorKind {
    /// Returns the name, such as `unavailable`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::Rejected => "rejected",
            Self::Corrupt => "corrupt",
            Self::Misuse => "misuse",
        }
    }

    /// Returns advice about an error, if retrying does not help.
    pub(crate) fn advice(self) -> Option<&'static str> {
        match self {
            Self::Unavailable | Self::Busy => None,
            Self::Rejected => Some("retrying does not help, because the store rejects this call"),
            Self::Corrupt => {
                Some("stored data is damaged or of another version; retrying does not help")
            }
            Self::Misuse => Some("correct the store's configuration; retrying does not help"),
        }
    }
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Returns whether a handler failed because of [`StoreError::unavailable_to_handler`]. An error
/// whose `source` panics is another failure.
pub(crate) fn is_unavailable_to_handler(failure: &Failure) -> bool {
    let is_marked = || failure.chain().any(<dyn Error>::is::<Reason>);
    catch("the `source` of a handler's error", is_marked).unwrap_or(false)
}

#[derive(Debug, thiserror::Error)]
#[error("the store is not available to the handler")]
struct UnavailableToHandler(#[source] Reason);

/// The error that marks a failure.
///
/// The marker is a source, and not the outermost error: anyhow and similar crates hide the type of
/// the outermost error, but not those of its sources.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Reason(BoxError);

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    /// Hides the type of an error, as `anyhow::Error` does.
    #[derive(Debug)]
    struct Opaque(StoreError);

    impl fmt::Display for Opaque {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt(f)
        }
    }

    impl Error for Opaque {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.0.source()
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot fulfil the order")]
    struct WithContext(#[source] StoreError);

    #[test]
    fn unavailable_store_is_found_among_sources() {
        let error = || StoreError::unavailable_to_handler("no connection");
        let failures = [
            Failure::retry(error()),
            Failure::retry(BoxError::from(error())),
            Failure::retry(Opaque(error())),
            Failure::retry(WithContext(error())),
            Failure::permanent(error()),
        ];
        for failure in failures {
            assert!(is_unavailable_to_handler(&failure), "{failure:?}");
            let text = "the store is not available to the handler: no connection";
            assert!(failure.to_string().ends_with(text), "{failure}");
        }
        assert!(!is_unavailable_to_handler(&Failure::retry(StoreError::unavailable(
            "no connection"
        ))));
        assert!(!is_unavailable_to_handler(&Failure::retry(error().to_string())));
    }
}
