//! The types of [`Store::claim`](crate::Store::claim).

use std::{sync::Arc, time::Duration};

use router_core::{Event, event::EnvelopeError};

/// The parameters of a [claim](crate::Store::claim).
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// The handlers, with an entry for each of their stable names, current and former.
    pub handlers: Vec<HandlerSlots>,
    /// Maximum number of deliveries to claim in total.
    pub limit: usize,
    /// Duration of the leases.
    pub lease: Duration,
}

/// A handler in a [`ClaimRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerSlots {
    /// A stable name of the handler.
    pub handler: Arc<str>,
    /// Maximum number of deliveries to claim for this name.
    pub free: usize,
    /// The number of the handler's deliveries that the caller has in flight.
    pub in_flight: usize,
}

impl HandlerSlots {
    /// Creates an entry for a handler that has nothing in flight.
    pub fn new(handler: impl Into<Arc<str>>, free: usize) -> Self {
        Self { handler: handler.into(), free, in_flight: 0 }
    }
}

/// The right to record the outcome of a delivery, granted by a claim.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// A number that, together with the handler name, identifies the delivery in the store.
    pub delivery: i64,
    /// The handler name with which the delivery was stored.
    pub handler: Arc<str>,
    /// The id of the delivery's event, for the log.
    pub event_id: Arc<str>,
    /// Fencing token: increases with each lease of the delivery, and only the latest is valid.
    pub token: i64,
}

/// A claimed delivery.
#[derive(Debug)]
pub struct Claim {
    /// The lease with which the outcome is recorded.
    pub lease: Lease,
    /// The event, or an error if its stored data is damaged.
    pub event: Result<Event, EnvelopeError>,
    /// The number of attempts so far, including this one.
    pub attempt: u32,
    /// `true` if this attempt was started under an earlier lease, which expired before an outcome
    /// was recorded. The caller must not run the handler, and must complete the attempt as failed.
    pub lease_expired: bool,
    /// `true` if the delivery is [`NewestOnly`] and the handler has done a newer event of the
    /// object. The caller must not run the handler, and must complete the attempt as
    /// [ignored](crate::DeliveryOutcome::Ignored) unless its lease has expired.
    ///
    /// [`NewestOnly`]: router_core::DeliveryOrder::NewestOnly
    pub outdated: bool,
}
