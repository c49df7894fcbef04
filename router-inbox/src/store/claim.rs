//! The types of [`Store::claim`](crate::Store::claim).

use std::{collections::HashMap, sync::Arc, time::Duration};

use router_core::{Event, event::EnvelopeError};

use super::TraceParent;

/// The parameters of a [claim](crate::Store::claim).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClaimRequest {
    /// The handlers, with an entry for each of their stable names, current and former.
    pub handlers: Vec<HandlerSlots>,
    /// Maximum number of deliveries to claim in total.
    pub limit: usize,
    /// Duration of the leases.
    pub lease: Duration,
    /// The worker's name, as in [`WorkerInfo::name`](crate::store::WorkerInfo::name), for the
    /// history of the claimed deliveries.
    pub worker: Option<Arc<str>>,
}

impl ClaimRequest {
    /// Creates a request for up to `limit` deliveries of these handlers, without a worker's name.
    #[must_use]
    pub fn new(handlers: Vec<HandlerSlots>, limit: usize, lease: Duration) -> Self {
        Self { handlers, limit, lease, worker: None }
    }

    /// Sets the worker's name.
    #[must_use]
    pub fn worker(self, worker: impl Into<Arc<str>>) -> Self {
        Self { worker: Some(worker.into()), ..self }
    }

    /// Selects the deliveries of a claim from due deliveries, as [`claim`](crate::Store::claim)
    /// requires. Returns them in no particular order.
    ///
    /// Each due delivery is paired with its handler's name. The deliveries of one handler are
    /// claimed in the order in which they are passed. If several handlers have equally many in
    /// flight, the smaller delivery (by `Ord`) is claimed.
    pub fn spread<'n, D: Ord>(&self, due: impl IntoIterator<Item = (&'n str, D)>) -> Vec<D> {
        let mut handlers: HashMap<&str, (usize, usize)> = self
            .handlers
            .iter()
            .map(|slots| (&*slots.handler, (slots.free, slots.in_flight)))
            .collect();
        let mut ranked: Vec<_> = due
            .into_iter()
            .filter_map(|(handler, delivery)| {
                let (free, in_flight) = handlers.get_mut(handler)?;
                *free = free.checked_sub(1)?;
                let rank = *in_flight;
                *in_flight += 1;
                Some((rank, delivery))
            })
            .collect();
        ranked.sort_unstable();
        ranked.truncate(self.limit);
        ranked.into_iter().map(|(_, delivery)| delivery).collect()
    }
}

/// A handler in a [`ClaimRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
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

    /// Sets the number of the handler's deliveries that the caller has in flight.
    #[must_use]
    pub fn in_flight(self, in_flight: usize) -> Self {
        Self { in_flight, ..self }
    }
}

/// The right to record the outcome of a delivery, granted by a claim.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
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

impl Lease {
    /// Creates a lease on the delivery that a store identifies by this number and handler name.
    pub fn new(
        delivery: i64,
        handler: impl Into<Arc<str>>,
        event_id: impl Into<Arc<str>>,
        token: i64,
    ) -> Self {
        Self { delivery, handler: handler.into(), event_id: event_id.into(), token }
    }
}

/// A claimed delivery.
#[derive(Debug)]
#[non_exhaustive]
pub struct Claim {
    /// The lease with which the outcome is recorded.
    pub lease: Lease,
    /// The event, or an error if its stored data is damaged.
    pub event: Result<Event, EnvelopeError>,
    /// The number of attempts so far, including this one.
    pub attempt: u32,
    /// Total of the waits for which the handler has asked to run
    /// [later](router_core::Outcome::later), since the delivery started over.
    pub delayed: Duration,
    /// `true` if this attempt was started under an earlier lease, which expired before an outcome
    /// was recorded. The caller must not run the handler, and must complete the attempt as failed.
    pub lease_expired: bool,
    /// `true` if the delivery is [`NewestOnly`] and the handler has done a newer event of the
    /// object. The caller must not run the handler, and must complete the attempt as
    /// [ignored](crate::store::DeliveryOutcome::Ignored) unless its lease has expired.
    ///
    /// [`NewestOnly`]: router_core::delivery::DeliveryOrder::NewestOnly
    pub outdated: bool,
    /// The trace context of the request that [stored](crate::store::NewEvent::trace_parent) the
    /// event first.
    pub trace_parent: Option<TraceParent>,
}

impl Claim {
    /// Creates a claim of a delivery that its handler may run.
    #[must_use]
    pub fn new(lease: Lease, event: Result<Event, EnvelopeError>, attempt: u32) -> Self {
        Self {
            lease,
            event,
            attempt,
            delayed: Duration::ZERO,
            lease_expired: false,
            outdated: false,
            trace_parent: None,
        }
    }

    /// Sets the total of the waits for which the handler has asked to run later.
    #[must_use]
    pub fn delayed(self, delayed: Duration) -> Self {
        Self { delayed, ..self }
    }

    /// Sets whether the attempt was started under an earlier lease, which has expired.
    #[must_use]
    pub fn lease_expired(self, lease_expired: bool) -> Self {
        Self { lease_expired, ..self }
    }

    /// Sets whether the handler has done a newer event of the object.
    #[must_use]
    pub fn outdated(self, outdated: bool) -> Self {
        Self { outdated, ..self }
    }

    /// Sets the trace context of the request that stored the event.
    #[must_use]
    pub fn trace_parent(self, trace_parent: Option<TraceParent>) -> Self {
        Self { trace_parent, ..self }
    }
}
