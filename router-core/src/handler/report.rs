//! What became of an event: per handler, and in sum.

use std::{sync::Arc, time::Duration};

use super::{Failure, HandlerResult, Outcome};
use crate::event::Event;

/// What became of one event: what each of its handlers made of it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Report {
    event: Event,
    handlers: Arc<[HandlerReport]>,
}

/// What one handler made of an event.
#[derive(Debug)]
pub struct HandlerReport {
    name: Arc<str>,
    result: HandlerResult,
}

impl Report {
    pub(crate) fn new(event: Event, handlers: Vec<HandlerReport>) -> Self {
        Self { event, handlers: handlers.into() }
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// What each handler made of it, in the order in which they ran.
    #[must_use]
    pub fn handlers(&self) -> &[HandlerReport] {
        &self.handlers
    }

    /// What the handler of this stable name made of it, if it ran.
    #[must_use]
    pub fn handler(&self, name: &str) -> Option<&HandlerReport> {
        self.handlers.iter().find(|handler| handler.name() == name)
    }

    /// Whether no handler is registered for this event.
    #[must_use]
    pub fn is_unhandled(&self) -> bool {
        self.handlers.is_empty()
    }

    /// Whether a handler must be tried again.
    #[must_use]
    pub fn needs_retry(&self) -> bool {
        self.failures().any(|failure| !failure.is_permanent())
    }

    /// Whether a handler has failed for good.
    #[must_use]
    pub fn has_dead_letters(&self) -> bool {
        self.failures().any(Failure::is_permanent)
    }

    /// How long to wait before trying again: the longest that a handler asked for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.failures().filter_map(Failure::wait).max()
    }

    fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.handlers.iter().filter_map(|handler| handler.result.as_ref().err())
    }
}

impl HandlerReport {
    pub(crate) fn new(name: Arc<str>, result: HandlerResult) -> Self {
        Self { name, result }
    }

    /// The handler's stable name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it returned; a panic is a [`Failure`] that is tried again.
    ///
    /// # Errors
    ///
    /// The handler's failure.
    pub fn result(&self) -> Result<&Outcome, &Failure> {
        self.result.as_ref()
    }

    /// Whether it is done with the event.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.result, Ok(Outcome::Done))
    }
}
