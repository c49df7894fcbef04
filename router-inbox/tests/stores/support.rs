//! Events, claims and errors for the tests of several stores.

use std::time::Duration;

use router_core::{delivery::DeliveryOrder, handler::ErrorChain, testing::SyntheticEvent};
use router_inbox::{
    StoreError,
    store::{ClaimRequest, HandlerSlots, NewDelivery, NewEvent},
};
use router_test_servers::{nats, postgres};

/// An event with one delivery, for the handler `a`.
pub(crate) fn paid(id: &str) -> NewEvent {
    let event = SyntheticEvent::new("invoice.paid")
        .id(id)
        .build()
        .expect("the event type is in the catalog");
    let delivery = NewDelivery::new("a");
    NewEvent::new(event.event().clone(), vec![delivery])
}

/// A request to claim at most `limit` deliveries of the handler `a`.
pub(crate) fn wanted(limit: usize) -> ClaimRequest {
    let handlers = vec![HandlerSlots::new("a", limit)];
    ClaimRequest::new(handlers, limit, Duration::from_secs(60))
}

/// An event of the given customer, with an ordered delivery for the handler `a`.
pub(crate) fn updated(id: &str, object: usize) -> NewEvent {
    ordered(SyntheticEvent::new("customer.updated"), id, object)
}

/// An event that comes before all [`updated`] ones of the customer.
pub(crate) fn created(id: &str, object: usize) -> NewEvent {
    ordered(SyntheticEvent::new("customer.created"), id, object)
}

fn ordered(event: SyntheticEvent, id: &str, object: usize) -> NewEvent {
    let event = event.id(id).set("id", format!("cus_{object}"));
    let event = event.build().expect("the event type is in the catalog").event().clone();
    let delivery = NewDelivery::new("a").order(Some(DeliveryOrder::OldestFirst));
    NewEvent::new(event, vec![delivery])
}

/// Formats an error with its causes, as it is logged, and asserts that it shows no password.
pub(crate) fn error_chain(error: &StoreError) -> String {
    let message = ErrorChain::new(error).text();
    let all = format!("{message} {error:?}");
    for password in [nats::PASSWORD, postgres::PASSWORD] {
        assert!(!all.contains(password), "{all}");
    }
    message
}
