//! The search for a listed event in an inbox.

use router_core::Event;
use router_inbox::{StoreError, operations::EventSummary, store::Operations};

/// The result of searching an inbox for a listed event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The inbox has the event.
    Stored,
    /// The inbox has the event only under another endpoint or account. If it were handed over, its
    /// handlers would run again.
    OtherEndpoint(EventSummary),
    /// The inbox does not have the event.
    Missing,
}

/// Searches an inbox for an event that it has received under the event's id.
///
/// A thin event and its snapshot event are one event with two ids, and may have different handlers.
/// If the inbox has received only the other one, this one is missing: the inbox decides for each
/// handler.
///
/// # Errors
///
/// Fails if the store is unavailable.
pub async fn look_up(operations: &dyn Operations, event: &Event) -> Result<Lookup, StoreError> {
    let mut found = operations.show(event.id()).await?.into_iter().map(|details| details.event);
    let Some(first) = found.next() else { return Ok(Lookup::Missing) };
    let is_stored = has_identity_of(&first, event) || found.any(|it| has_identity_of(&it, event));
    Ok(if is_stored { Lookup::Stored } else { Lookup::OtherEndpoint(first) })
}

/// Returns whether a stored event is of the endpoint and the account of another one.
#[must_use]
pub fn has_identity_of(stored: &EventSummary, event: &Event) -> bool {
    let key = event.key();
    (&*stored.endpoint, stored.account.as_deref()) == (key.endpoint(), key.account())
}
