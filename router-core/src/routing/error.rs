//! The errors of routers.

use std::{error::Error, sync::Arc, time::Duration};

/// The error of a router's call: the event was not handled, or its report is not available.
///
/// A handler's failure is not a `RouterError`; it is part of the
/// [`Report`](crate::handler::Report).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RouterError {
    /// The router was closed.
    #[error("the router is closed: this process is shutting down")]
    Closed,
    /// The handlers' progress could not be loaded from the
    /// [`CompletionStore`](crate::completions::CompletionStore), so no handler was run.
    #[error("failed to load which handlers have finished this event, so none was run: {0}")]
    CompletionStore(Arc<dyn Error + Send + Sync>),
    /// The event is a duplicate of one that was still in flight after this time.
    #[error("the event was delivered before, and its handlers were still running after {0:?}")]
    StillRunning(Duration),
    /// No handler of this router has, or had before, the stable name in the delivery.
    #[error("no handler of this router has or had the stable name `{0}`")]
    NoSuchHandler(Arc<str>),
    /// A delivery lacks a value of a type that the delivery service must provide.
    #[error(
        "the delivery has no `{0}`, although the service passed to `.delivered_by(...)` provides one with each \
         delivery: the service, or a layer between it and the router, dropped it"
    )]
    NotProvided(&'static str),
    /// The tokio runtime was shut down while the handlers ran.
    #[error("the runtime was shut down before the handlers finished")]
    RuntimeShutDown,
}
