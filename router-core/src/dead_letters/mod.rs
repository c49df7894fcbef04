//! Sinks for events that a handler failed permanently.

mod file;

use std::{fmt, time::SystemTime};

use async_trait::async_trait;

pub use self::file::DeadLetterFile;
use crate::{
    event::Event,
    handler::{BoxError, Failure},
};

/// A sink for dead letters: events that a handler failed permanently, and that Stripe does not
/// redeliver.
///
/// The router logs each dead letter at ERROR, with the event's id, the handler and the failure. By
/// its id, the event can be found in Stripe's dashboard for 30 days. A sink, such as
/// [`DeadLetterFile`], also stores the whole event.
///
/// A failed handler counts as finished only after the sink has stored the dead letter. If the sink
/// fails, the event is answered with an error, so that Stripe redelivers it. The exception is an
/// event that is answered with 200 in any case, because a handler replied or because only an
/// `#[on_unhandled]` handler failed: its failure is logged as lost.
///
/// The router gives up a call after its
/// [`handler_timeout`](crate::build::RouterBuilder::handler_timeout), which counts as an error.
#[async_trait]
pub trait DeadLetters: Send + Sync + 'static {
    /// Stores a dead letter durably.
    ///
    /// If the event is sent again and the handler fails again, that is a second dead letter of the
    /// same event and handler, with the event as received then. A sink with a unique key must
    /// replace the first one, not fail.
    ///
    /// # Errors
    ///
    /// Fails if the dead letter cannot be stored. The event is then answered with 500, and the
    /// handler runs again when Stripe redelivers it.
    async fn store(&self, letter: &DeadLetter<'_>) -> Result<(), BoxError>;
}

/// An event that a handler failed permanently.
///
/// `Display` shows the event's [key](Event::key), the handler, and the failure with its causes, but
/// nothing of the payload.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadLetter<'d> {
    /// The event, with its payload.
    pub event: &'d Event,
    /// The stable name of the handler that failed.
    pub handler: &'d str,
    /// The number of times the handler has run for this event. It is 1 again if the event is sent
    /// again after a dead letter.
    pub attempts: u32,
    /// The failure.
    pub failure: &'d Failure,
    /// The time of the failure.
    pub at: SystemTime,
}

impl fmt::Display for DeadLetter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, handler, attempts, failure, .. } = self;
        let key = event.key();
        write!(f, "{key} by handler {handler}, attempt {attempts}: {failure}")
    }
}

/// The failure of a handler whose dead letter the sink did not store.
#[derive(Debug, thiserror::Error)]
#[error(
    "the dead-letter sink did not store the event, so the handler has not finished it ({failure})"
)]
pub(crate) struct NotStored {
    failure: String,
    source: BoxError,
}

impl NotStored {
    pub(crate) fn new(failure: &Failure, source: BoxError) -> Self {
        Self { failure: failure.to_string(), source }
    }
}
