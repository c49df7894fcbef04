//! Why a router took no event.

use std::{error::Error, sync::Arc, time::Duration};

/// Why a [`Router`](super::Router) has not handled an event, or does not say what became of it. What its
/// handlers do is never an error, but in the [`Report`](crate::Report).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RouterError {
    /// The router was closed.
    #[error("the router is closed: this process is shutting down")]
    Closed,
    /// It could not be known which handlers have finished, so none was run.
    #[error("which handlers have finished this event could not be read: {0}")]
    CompletionStore(Arc<dyn Error + Send + Sync>),
    /// The same event was delivered before and is still being handled.
    #[error("the same event was delivered before, and its handlers were still running after {0:?}")]
    StillRunning(Duration),
    /// A delivery is for a handler that this router does not have.
    #[error("no handler has or had the stable name `{0}` in this program")]
    NoSuchHandler(Arc<str>),
    /// A delivery came without something that every call is to be given.
    #[error(
        "the delivery came without a `{0}`, which `.delivered_by(...)` says that each brings: a layer, or the \
         service that delivers, has left it out"
    )]
    NotProvided(&'static str),
    /// The runtime was shut down while the handlers ran.
    #[error("the runtime was shut down before the handlers were done")]
    CutOff,
}
