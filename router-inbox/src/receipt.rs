//! The receipt of an event: what was stored for each handler, and the answer to Stripe.

use std::sync::Arc;

use router_core::{
    Event,
    endpoint::Answer,
    handler::Report,
    telemetry::{ALREADY_HANDLED, DEAD_LETTER_RESTARTED},
};
use serde::Serialize;

use crate::store::{DeliveryState, Redelivery, Stored};

/// The inbox's response: the event is stored, either by this call or by an earlier one, and the
/// handler that replies has run. Behind an [`Endpoint`](router_core::Endpoint), the HTTP response
/// has the receipt in its extensions.
#[derive(Debug, Clone)]
pub struct Receipt {
    event: String,
    stored: Option<Stored>,
    reply: Option<Report>,
    handlers: Vec<Arc<str>>,
    /// The handlers that finished while the answer waited for them, and their deliveries' states.
    finished: Vec<(Arc<str>, DeliveryState)>,
}

impl Receipt {
    pub(crate) fn new(event: &Event, stored: Stored, handlers: Vec<Arc<str>>) -> Self {
        let (event, stored) = (event.id().to_owned(), Some(stored));
        Self { event, stored, reply: None, handlers, finished: Vec::new() }
    }

    /// Creates the receipt of an event whose only handler has replied. Such an event is not stored.
    pub(crate) fn reply_only(report: Report) -> Self {
        let (event, handlers, finished) = (report.event().id().to_owned(), Vec::new(), Vec::new());
        Self { event, stored: None, reply: Some(report), handlers, finished }
    }

    /// Adds the report of the handler that replies.
    pub(crate) fn with_reply(self, report: Report) -> Self {
        Self { reply: Some(report), ..self }
    }

    /// Returns whether the handler's delivery had not finished when the event was stored.
    pub(crate) fn is_unfinished(&self, index: usize) -> bool {
        match self.redelivery(index) {
            None | Some(Redelivery::Added | Redelivery::Restarted) => true,
            Some(Redelivery::Unchanged(state)) => {
                matches!(state, DeliveryState::Waiting | DeliveryState::Running)
            }
            Some(Redelivery::Erased) => false,
        }
    }

    /// Records the handlers that have finished before the answer, and their deliveries' states.
    pub(crate) fn add_finished(&mut self, finished: Vec<(Arc<str>, DeliveryState)>) {
        self.finished.extend(finished);
    }

    /// Returns the result of storing the event. Returns `None` if the event was not stored, because
    /// its only handler [replies](Self::reply) and is not delivered.
    #[must_use]
    pub fn stored(&self) -> Option<&Stored> {
        self.stored.as_ref()
    }

    /// Returns the report of the handler that [replies](router_core::Reply) to the event, or `None`
    /// if there is no such handler. That handler ran before the event was stored, and the report
    /// decides the response.
    #[must_use]
    pub fn reply(&self) -> Option<&Report> {
        self.reply.as_ref()
    }

    /// Returns the stable names of the handlers to which the event is delivered. Empty if the event
    /// is unhandled, which is stored too, or if its only handler replies.
    #[must_use]
    pub fn handlers(&self) -> &[Arc<str>] {
        &self.handlers
    }

    /// Returns the state in which a handler with `answer_after` has finished the event before the
    /// answer. Returns `None` if the handler did not finish it in time, if the answer did not wait,
    /// or if there is no such handler.
    #[must_use]
    pub fn finished(&self, handler: &str) -> Option<DeliveryState> {
        let mut finished = self.finished.iter();
        finished.find(|(name, _)| &**name == handler).map(|(_, state)| *state)
    }

    /// Returns the outcome as one word:
    ///
    /// - `unhandled`: no handler is registered for the event.
    /// - `stored`: the event is new.
    /// - `redelivered`: the event was stored before, and a handler runs because it came again.
    /// - `duplicate`: the event was stored before, and no handler runs because it came again.
    ///
    /// If the event was not stored, it is the [outcome](Report::outcome) of the reply's report.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        let Some(stored) = &self.stored else {
            return self.reply.as_ref().map_or("unhandled", Report::outcome);
        };
        match stored {
            _ if self.handlers.is_empty() => "unhandled",
            Stored::New => "stored",
            stored if stored.is_duplicate() => "duplicate",
            Stored::Redelivered(_) => "redelivered",
        }
    }

    /// Logs the effect of the redelivery on each handler. Logs nothing for a new event.
    pub(crate) fn log_redelivery(&self, event: &Event) {
        for (index, handler) in self.handlers.iter().enumerate() {
            let Some(message) = self.redelivery(index).and_then(log_message) else { continue };
            let handler = &**handler;
            let (id, event_type) = (event.id(), event.event_type());
            tracing::info!(handler, event.id = id, event.r#type = event_type, "{message}");
        }
    }

    /// Returns the effect of the redelivery on a handler, or `None` if the event is new.
    fn redelivery(&self, index: usize) -> Option<Redelivery> {
        match self.stored.as_ref()? {
            Stored::New => None,
            Stored::Redelivered(deliveries) => deliveries.get(index).copied(),
        }
    }
}

fn log_message(redelivery: Redelivery) -> Option<&'static str> {
    Some(match redelivery {
        Redelivery::Added => {
            "event received again: the handler had no delivery of it; delivery added"
        }
        Redelivery::Restarted => DEAD_LETTER_RESTARTED,
        Redelivery::Unchanged(DeliveryState::Done | DeliveryState::Ignored) => ALREADY_HANDLED,
        Redelivery::Unchanged(DeliveryState::Waiting | DeliveryState::Running) => {
            "duplicate event: the handler's delivery of it has not finished yet"
        }
        Redelivery::Unchanged(DeliveryState::Discarded) => {
            "duplicate event: the handler's delivery was discarded, not run again; retry it with \
             `event-router inbox retry`"
        }
        Redelivery::Erased => {
            "event received again after its data was erased: the handler had no delivery of it, and \
             does not run"
        }
        // A store restarts a dead letter instead.
        Redelivery::Unchanged(DeliveryState::Dead) => return None,
    })
}

/// With a reply, the answer is that of an inline router: the reply, or the outcome of the handler.
/// Otherwise the JSON body has the same fields as the body of a [`Report`].
impl From<Receipt> for Answer {
    fn from(receipt: Receipt) -> Self {
        #[derive(Serialize)]
        struct Body<'r> {
            event: &'r str,
            outcome: &'static str,
            handlers: Vec<Handler<'r>>,
        }
        #[derive(Serialize)]
        struct Handler<'r> {
            name: &'r str,
            outcome: &'static str,
        }
        if let Some(report) = receipt.reply.clone() {
            return Self::from(report).with_extension(receipt);
        }
        let handlers = receipt.handlers.iter().enumerate().map(|(index, name)| {
            let outcome = match (receipt.finished(name), receipt.redelivery(index)) {
                (Some(state), _) => state.name(),
                (None, None | Some(Redelivery::Added)) => "stored",
                (None, Some(Redelivery::Restarted)) => "restarted",
                (None, Some(Redelivery::Unchanged(_) | Redelivery::Erased)) => "duplicate",
            };
            Handler { name, outcome }
        });
        let (event, outcome) = (&*receipt.event, receipt.outcome());
        let answer = Self::accepted(&Body { event, outcome, handlers: handlers.collect() });
        answer.with_extension(receipt)
    }
}
