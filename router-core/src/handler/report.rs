//! What became of an event: per handler, and in sum.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Failure, HandlerResult, Outcome};
use crate::{completions::Completion, event::Event};

/// What became of one event: what each of its handlers made of it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Report {
    event: Event,
    handlers: Arc<[HandlerReport]>,
}

/// What one handler made of an event: in this delivery, or in an earlier one in which it finished.
#[derive(Debug)]
pub struct HandlerReport {
    pub(crate) name: Arc<str>,
    pub(crate) result: HandlerResult,
    pub(crate) attempts: u32,
    /// None: it was not run, because it had finished before.
    pub(crate) duration: Option<Duration>,
    /// What Stripe is told in its name.
    pub(crate) reply: Option<Bytes>,
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
        self.failures().filter_map(Failure::retry_after).max()
    }

    /// What became of it, in a word: `done`, `unhandled`, `retry` (a handler must be tried again), or `dead`
    /// (every handler has finished, one at least with a dead letter).
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        if self.is_unhandled() {
            "unhandled"
        } else if self.needs_retry() {
            "retry"
        } else if self.has_dead_letters() {
            "dead"
        } else {
            "done"
        }
    }

    /// The JSON with which a handler [replied](super::Reply) to Stripe.
    #[must_use]
    pub fn reply(&self) -> Option<&Bytes> {
        self.handlers.iter().find_map(HandlerReport::reply)
    }

    fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.handlers.iter().filter_map(|handler| handler.result.as_ref().err())
    }
}

impl HandlerReport {
    /// Of a handler that had finished before.
    pub(crate) fn finished(name: Arc<str>, attempts: u32, how: Completion) -> Self {
        let (result, reply) = match how {
            Completion::Done => (Ok(Outcome::Done), None),
            Completion::Ignored => (Ok(Outcome::ignored("it was in an earlier delivery")), None),
            Completion::Replied(json) => (Ok(Outcome::Replied(json.clone())), Some(json)),
            Completion::Dead => {
                (Err(Failure::permanent("it failed for good in an earlier delivery")), None)
            }
        };
        Self { name, result, attempts, duration: None, reply }
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
        matches!(self.result, Ok(Outcome::Done | Outcome::Replied(_)))
    }

    /// The JSON with which it [replied](super::Reply) to Stripe, or its default reply.
    #[must_use]
    pub fn reply(&self) -> Option<&Bytes> {
        self.reply.as_ref()
    }

    /// How often it has run for this event, as far as the router [remembers](crate::CompletionStore).
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long it ran in this delivery; `None` if it did not, because it had finished before.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        self.duration
    }

    /// Every word that [`outcome`](Self::outcome) can be.
    pub(crate) const OUTCOMES: [&'static str; 4] = ["done", "ignored", "retry", "dead"];

    /// What became of it, in a word: `done`, `ignored`, `retry` or `dead`.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match &self.result {
            Ok(Outcome::Done | Outcome::Replied(_)) => "done",
            Ok(Outcome::Ignored(_)) => "ignored",
            Err(failure) if failure.is_permanent() => "dead",
            Err(_) => "retry",
        }
    }
}
