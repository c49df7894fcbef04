//! The receipt of an event: what was stored for each handler, and the answer to Stripe.

use std::sync::Arc;

use router_core::{
    Event,
    endpoint::Answer,
    telemetry::{ALREADY_HANDLED, DEAD_LETTER_RESTARTED},
};
use serde::Serialize;

use crate::store::{DeliveryState, Redelivery, Stored};

/// The inbox's response: the event is stored, either by this call or by an earlier one. Behind an
/// [`Endpoint`](router_core::Endpoint), the HTTP response has the receipt in its extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    event: String,
    stored: Stored,
    handlers: Vec<Arc<str>>,
}

impl Receipt {
    pub(crate) fn new(event: &Event, stored: Stored, handlers: Vec<Arc<str>>) -> Self {
        Self { event: event.id().to_owned(), stored, handlers }
    }

    /// Returns the result of storing the event.
    #[must_use]
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Returns the stable names of the event's handlers. Empty if the event is unhandled; such an
    /// event is stored too.
    #[must_use]
    pub fn handlers(&self) -> &[Arc<str>] {
        &self.handlers
    }

    /// Returns the outcome as one word:
    ///
    /// - `unhandled`: no handler is registered for the event.
    /// - `stored`: the event is new.
    /// - `redelivered`: the event was stored before, and a handler runs because it came again.
    /// - `duplicate`: the event was stored before, and no handler runs because it came again.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match &self.stored {
            _ if self.handlers.is_empty() => "unhandled",
            Stored::New => "stored",
            stored if stored.is_duplicate() => "duplicate",
            Stored::Redelivered(_) => "redelivered",
        }
    }

    /// Logs the effect of the redelivery on each handler. Logs nothing for a new event.
    pub(crate) fn log_redelivery(&self, event: &Event) {
        for (handler, redelivery) in self.redeliveries() {
            let Some(message) = redelivery.and_then(log_message) else { continue };
            let (id, event_type) = (event.id(), event.event_type());
            tracing::info!(handler, event.id = id, event.r#type = event_type, "{message}");
        }
    }

    /// Returns each handler with the effect of the redelivery on it, or `None` if the event is new.
    fn redeliveries(&self) -> impl Iterator<Item = (&str, Option<Redelivery>)> {
        self.handlers.iter().enumerate().map(|(index, handler)| {
            let redelivery = match &self.stored {
                Stored::New => None,
                Stored::Redelivered(deliveries) => deliveries.get(index).copied(),
            };
            (&**handler, redelivery)
        })
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
        // A store restarts a dead letter instead.
        Redelivery::Unchanged(DeliveryState::Dead) => return None,
    })
}

/// The JSON body has the same fields as the body of a [`Report`](router_core::handler::Report).
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
        let handlers = receipt.redeliveries().map(|(name, redelivery)| {
            let outcome = match redelivery {
                None | Some(Redelivery::Added) => "stored",
                Some(Redelivery::Restarted) => "restarted",
                Some(Redelivery::Unchanged(_)) => "duplicate",
            };
            Handler { name, outcome }
        });
        let (event, outcome) = (&*receipt.event, receipt.outcome());
        let answer = Self::accepted(&Body { event, outcome, handlers: handlers.collect() });
        answer.with_extension(receipt)
    }
}
