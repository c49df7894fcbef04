//! What several test programs need.

#![allow(dead_code, reason = "not every program needs all of it")]

pub(crate) mod nats;
pub(crate) mod postgres;
pub(crate) mod shared;

use std::time::{Duration, SystemTime};

use router_core::testing::SyntheticEvent;
use router_inbox::{ClaimRequest, NewDelivery, NewEvent};

/// An event for the handler `a`.
pub(crate) fn paid(id: &str) -> NewEvent {
    let event = SyntheticEvent::new("invoice.paid").id(id).build().expect("there is such an event");
    let delivery = NewDelivery { handler: "a".into(), ordered: false };
    NewEvent { event: event.event().clone(), deliveries: vec![delivery] }
}

/// So much of the handler `a`.
pub(crate) fn wanted(limit: usize) -> ClaimRequest {
    let handlers = vec![("a".into(), limit)];
    ClaimRequest { handlers, limit, lease: Duration::from_secs(60) }
}

/// An event of an object, for the handler `a`, which has them in order.
pub(crate) fn updated(id: &str, object: usize) -> NewEvent {
    ordered(SyntheticEvent::new("customer.updated"), id, object)
}

/// One that Stripe made then.
pub(crate) fn updated_at(time: SystemTime, id: &str, object: usize) -> NewEvent {
    ordered(SyntheticEvent::new("customer.updated").created(time), id, object)
}

/// One that goes before [`updated`] ones.
pub(crate) fn created(id: &str, object: usize) -> NewEvent {
    ordered(SyntheticEvent::new("customer.created"), id, object)
}

fn ordered(event: SyntheticEvent, id: &str, object: usize) -> NewEvent {
    let event = event.id(id).set("id", format!("cus_{object}"));
    let event = event.build().expect("there is such an event").event().clone();
    let delivery = NewDelivery { handler: "a".into(), ordered: true };
    NewEvent { event, deliveries: vec![delivery] }
}
