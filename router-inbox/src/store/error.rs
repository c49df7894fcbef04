//! Errors of stores.

use std::error::Error;

use router_core::{BoxError, Failure, panic_guard::catch};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(pub BoxError);

impl StoreError {
    /// Wraps an error of the underlying engine.
    pub fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }

    /// Wraps the reason for which a store could not give a handler access to its
    /// [`Effects`](crate::Effects), for example that no connection was available.
    ///
    /// If the handler fails with this error, or with one that has it as a
    /// [source](std::error::Error::source), the handler is not to blame: the worker then
    /// [releases](crate::DeliveryOutcome::Released) the delivery without counting the attempt.
    pub fn unavailable_to_handler(reason: impl Into<BoxError>) -> Self {
        Self::new(UnavailableToHandler(Reason(reason.into())))
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
        assert!(!is_unavailable_to_handler(&Failure::retry(StoreError::new("no connection"))));
        assert!(!is_unavailable_to_handler(&Failure::retry(error().to_string())));
    }
}
