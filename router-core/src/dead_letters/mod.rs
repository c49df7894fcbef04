//! Where an event goes that a handler will never finish.

mod file;

use std::{fmt, time::SystemTime};

use async_trait::async_trait;

pub use self::file::DeadLetterFile;
use crate::{
    event::Event,
    handler::{BoxError, Failure},
};

/// Keeps the events that a handler has failed for good, since Stripe will not send them again. A router
/// logs each at ERROR, with its id, the handler and the failure, from which it can be found in Stripe's
/// dashboard for 30 days; with a sink, such as [`DeadLetterFile`], the whole event is kept too.
///
/// A handler counts as finished with a dead letter only once the sink has it: if that fails, Stripe
/// is asked for the event again.
#[async_trait]
pub trait DeadLetters: Send + Sync + 'static {
    /// Keeps it.
    ///
    /// # Errors
    ///
    /// What kept it from being kept. The event is then answered with 500, and the handler runs again
    /// when Stripe sends it again.
    async fn keep(&self, letter: &DeadLetter<'_>) -> Result<(), BoxError>;
}

/// An event that one handler has failed for good. `Display` names both and the failure with its causes,
/// and shows none of the payload.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadLetter<'d> {
    /// The whole event.
    pub event: &'d Event,
    /// The stable name of the handler that failed.
    pub handler: &'d str,
    /// How often it has run for this event.
    pub attempts: u32,
    /// Why it failed.
    pub failure: &'d Failure,
    /// When it did.
    pub at: SystemTime,
}

impl fmt::Display for DeadLetter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, handler, attempts, failure, .. } = self;
        let (key, event_type) = (event.key(), event.event_type());
        write!(f, "{key} ({event_type}) by handler {handler}, attempt {attempts}: {failure}")
    }
}

/// The sink did not take a dead letter.
#[derive(Debug, thiserror::Error)]
#[error("the dead-letter sink did not take the event, so it is not finished ({failure})")]
pub(crate) struct NotKept {
    failure: String,
    source: BoxError,
}

impl NotKept {
    pub(crate) fn new(failure: &Failure, source: BoxError) -> Self {
        Self { failure: failure.to_string(), source }
    }
}
