//! Reports on the handling of events.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Failure, HandlerResult, Later, Outcome};
use crate::{completions::Completion, event::Event};

/// A report on one event, with the result of each of its handlers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Report {
    event: Event,
    handlers: Arc<[HandlerReport]>,
}

/// The result of one handler for an event, in this delivery or in the earlier one in which it
/// finished.
#[derive(Debug)]
pub struct HandlerReport {
    pub(crate) name: Arc<str>,
    pub(crate) result: HandlerResult,
    pub(crate) attempts: u32,
    /// The duration of the run. `None` if the handler did not run, because it had finished before.
    pub(crate) duration: Option<Duration>,
    /// The JSON sent to Stripe for this handler: its reply, or its default reply.
    pub(crate) reply: Option<Bytes>,
}

impl Report {
    pub(crate) fn new(event: Event, handlers: Vec<HandlerReport>) -> Self {
        Self { event, handlers: handlers.into() }
    }

    /// Returns the event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Returns the report of each handler, in the order in which they ran.
    #[must_use]
    pub fn handlers(&self) -> &[HandlerReport] {
        &self.handlers
    }

    /// Returns the report of the handler with this stable name, if there is one.
    #[must_use]
    pub fn handler(&self, name: &str) -> Option<&HandlerReport> {
        self.handlers.iter().find(|handler| handler.name() == name)
    }

    /// Returns whether no handler is registered for this event.
    #[must_use]
    pub fn is_unhandled(&self) -> bool {
        self.handlers.is_empty()
    }

    /// Returns whether a handler must run again, after a failure or because it could not handle the
    /// event [yet](super::Later).
    #[must_use]
    pub fn needs_retry(&self) -> bool {
        self.failures().any(|failure| !failure.is_permanent()) || self.laters().next().is_some()
    }

    /// Returns whether a handler has failed permanently.
    #[must_use]
    pub fn has_dead_letters(&self) -> bool {
        self.failures().any(Failure::is_permanent)
    }

    /// Returns the minimum time before a retry: the longest that a handler asked for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let waits = self.failures().filter_map(Failure::retry_after);
        waits.chain(self.laters().map(Later::wait)).max()
    }

    /// Returns the overall outcome as one word:
    ///
    /// - `done`: every handler has finished without a failure, at least one of them now.
    /// - `duplicate`: every handler had finished the event in an earlier delivery, without a
    ///   failure, and none ran.
    /// - `unhandled`: no handler is registered for the event.
    /// - `retry`: a handler must run again.
    /// - `dead`: every handler has finished, at least one with a dead letter.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        if self.is_unhandled() {
            "unhandled"
        } else if self.needs_retry() {
            "retry"
        } else if self.has_dead_letters() {
            "dead"
        } else if self.handlers.iter().all(HandlerReport::is_duplicate) {
            "duplicate"
        } else {
            "done"
        }
    }

    /// Returns the JSON with which a handler [replied](super::Reply) to Stripe, or its default
    /// reply.
    #[must_use]
    pub fn reply(&self) -> Option<&Bytes> {
        self.handlers.iter().find_map(HandlerReport::reply)
    }

    fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.handlers.iter().filter_map(|handler| handler.result.as_ref().err())
    }

    fn laters(&self) -> impl Iterator<Item = &Later> {
        self.handlers.iter().filter_map(|handler| match &handler.result {
            Ok(Outcome::Later(later)) => Some(later),
            _ => None,
        })
    }
}

impl HandlerReport {
    /// Creates the report of a handler that had finished before.
    pub(crate) fn finished(name: Arc<str>, attempts: u32, completion: Completion) -> Self {
        let (result, reply) = match completion {
            Completion::Done => (Ok(Outcome::Done), None),
            Completion::Ignored => (Ok(Outcome::ignored("ignored in an earlier delivery")), None),
            Completion::Replied(json) => (Ok(Outcome::Replied(json.clone())), Some(json)),
            Completion::Dead { .. } => {
                (Err(Failure::permanent("failed permanently in an earlier delivery")), None)
            }
        };
        Self { name, result, attempts, duration: None, reply }
    }

    /// Returns the handler's stable name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the result of the handler. A panic is a transient [`Failure`].
    ///
    /// # Errors
    ///
    /// Fails if the handler failed.
    pub fn result(&self) -> Result<&Outcome, &Failure> {
        self.result.as_ref()
    }

    /// Returns whether the handler has handled the event, in this delivery or an earlier one. It is
    /// `false` for an event that it ignored.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.result, Ok(Outcome::Done | Outcome::Replied(_)))
    }

    /// Returns whether the handler did not run, because it had finished the event in an earlier
    /// delivery without a dead letter.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.duration.is_none() && self.result.is_ok()
    }

    /// Returns the JSON of the handler's [reply](super::Reply) to Stripe, or of its default reply.
    #[must_use]
    pub fn reply(&self) -> Option<&Bytes> {
        self.reply.as_ref()
    }

    /// Returns the number of runs of the handler for this event, as far as the
    /// [completions](crate::completions::CompletionStore) are stored. A dead letter that starts
    /// over begins with 1 again.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the duration of the run in this delivery. It is `None` if the handler did not run,
    /// because it had finished before.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        self.duration
    }

    /// The outcomes of a run.
    pub(crate) const OUTCOMES: [&'static str; 5] = ["done", "ignored", "later", "retry", "dead"];

    /// Returns the outcome as one word: `done`, `ignored`, `later`, `retry` or `dead`, or
    /// [`duplicate`](Self::is_duplicate).
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match &self.result {
            Ok(_) if self.is_duplicate() => "duplicate",
            Ok(Outcome::Done | Outcome::Replied(_)) => "done",
            Ok(Outcome::Ignored(_)) => "ignored",
            Ok(Outcome::Later(_)) => "later",
            Err(failure) if failure.is_permanent() => "dead",
            Err(_) => "retry",
        }
    }
}
