//! The types of [`Store::store`](crate::Store::store).

use std::sync::Arc;

use router_core::{
    Event,
    delivery::{DeliveryOrder, HandlerSpec},
};

#[cfg(doc)]
use crate::store::OrderKey;
use crate::store::{DeliveryState, TraceParent};

/// An event to be stored with its deliveries.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// One delivery per handler.
    pub deliveries: Vec<NewDelivery>,
    /// The trace context of the request, to which the spans of the deliveries will link.
    pub trace_parent: Option<TraceParent>,
}

impl NewEvent {
    /// Creates an event with its deliveries.
    #[must_use]
    pub fn new(event: Event, deliveries: Vec<NewDelivery>) -> Self {
        Self { event, deliveries, trace_parent: None }
    }

    /// Sets the trace context of the request.
    #[must_use]
    pub fn trace_parent(self, trace_parent: Option<TraceParent>) -> Self {
        Self { trace_parent, ..self }
    }
}

/// A delivery to be stored with its event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewDelivery {
    /// The handler's stable name: a single word of at most 255 bytes. `build()` refuses others.
    pub handler: Arc<str>,
    /// The former stable name. A delivery stored under it belongs to this handler.
    pub formerly: Option<Arc<str>>,
    /// The order in which the handler receives the events of one object; `None` for any order.
    /// An event that belongs to no known object is delivered without an order (see [`OrderKey`]).
    pub order: Option<DeliveryOrder>,
}

impl NewDelivery {
    /// Creates a delivery for the handler with this stable name, in any order.
    pub fn new(handler: impl Into<Arc<str>>) -> Self {
        Self { handler: handler.into(), formerly: None, order: None }
    }

    /// Creates a delivery for a handler.
    #[must_use]
    pub fn from_spec(handler: &HandlerSpec) -> Self {
        Self {
            handler: handler.name.clone(),
            formerly: handler.formerly.map(Arc::from),
            order: handler.order,
        }
    }

    /// Sets the order in which the handler receives the events of one object.
    #[must_use]
    pub fn order(self, order: Option<DeliveryOrder>) -> Self {
        Self { order, ..self }
    }
}

/// The result of storing an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stored {
    /// The event was new, and is stored with all of its deliveries.
    New,
    /// The event was already stored. Contains one result per delivery, in the same order.
    Redelivered(Vec<Redelivery>),
}

impl Stored {
    /// Returns whether the event was already stored, and none of its handlers will run because of
    /// this delivery.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        let is_unchanged = |delivery: &Redelivery| {
            matches!(delivery, Redelivery::Unchanged(_) | Redelivery::Erased)
        };
        matches!(self, Self::Redelivered(deliveries) if deliveries.iter().all(is_unchanged))
    }
}

/// The effect of a redelivered event on the delivery to one handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Redelivery {
    /// The handler had no delivery of the event, and has one now.
    Added,
    /// The handler's delivery was a dead letter, and starts over with the event received now.
    Restarted,
    /// The redelivery did not change the handler's delivery, which is in this state. If an
    /// unfinished one becomes a dead letter, it starts over with the event received now, if that
    /// has another [form](Event::has_same_form).
    Unchanged(DeliveryState),
    /// The handler has no delivery of the event, and gets none, because the event's data was
    /// [erased](crate::store::Operations::erase).
    Erased,
}
