//! The settings of a handler's deliveries.

use std::{sync::Arc, time::Duration};

use super::RetryPolicy;
use crate::routing::RegisteredHandler;

/// A handler, with the settings for its deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerSpec {
    /// The stable name.
    pub name: Arc<str>,
    /// The former stable name. Deliveries stored under it belong to this handler.
    pub formerly: Option<&'static str>,
    /// The order (`ordered`, `ordered = "newest"`) of one object's events that wait at the same
    /// time. `None` if they are delivered concurrently and in no order.
    pub order: Option<DeliveryOrder>,
    /// The retry policy.
    pub retry: RetryPolicy,
    /// The maximum number of concurrent deliveries; `None` for no limit.
    pub concurrency: Option<u32>,
    /// The maximum time for which the answer to Stripe waits for the handler, from the arrival of
    /// the event; `None` if the answer waits only until the event is stored.
    pub answer_after: Option<Duration>,
    /// The maximum duration of a call, including the wait for the lock of an `exclusive` handler.
    pub timeout: Duration,
    /// `true` if the handler takes a resource of the delivery service, such as a transaction.
    pub takes_per_delivery: bool,
}

/// The order (`ordered`, `ordered = "newest"`) of one object's events that wait at the same time.
///
/// A delivery service delivers the events of one object to the handler one at a time. It does not
/// wait for an older event that has not arrived. Other objects do not wait.
///
/// The age of an event is that of the change it reports ([`Recency::of_change`]): the stage in the
/// object's life comes first, then the second in which Stripe created the event. `*.created` comes
/// before all others, `*.deleted` after them.
///
/// [`Recency::of_change`]: crate::event::Recency::of_change
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryOrder {
    /// `ordered`: all events are delivered, and of those that wait, the oldest first. An event that
    /// waits for its retry holds the later events of its object.
    OldestFirst,
    /// `ordered = "newest"`: of the events that wait, the newest is delivered first. An event that
    /// is older than the newest one that the handler has done is skipped, and its delivery is
    /// ignored.
    ///
    /// This suits a handler that mirrors the state of an object. An event that waits for its retry
    /// does not hold newer ones, and is skipped once one of them is done. Two equally recent events
    /// (of one second and one stage) are both delivered.
    ///
    /// Objects without an id count as one object (see [`ObjectId`](crate::event::ObjectId)), so do
    /// not use this order for `invoice.upcoming`: one customer's event would be skipped for
    /// another's.
    NewestOnly,
}

impl HandlerSpec {
    /// Returns whether `name` is the handler's stable name, current or former.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        *self.name == *name || self.formerly == Some(name)
    }

    /// Creates the settings of a handler's deliveries.
    ///
    /// Each key of the attribute replaces a value of the router's `default` policy. A backoff in
    /// the attribute raises a shorter maximum of the default, and a maximum in the attribute lowers
    /// a longer backoff.
    pub(super) fn new(handler: &RegisteredHandler, default: &RetryPolicy) -> Self {
        let settings = &handler.settings;
        let keys = settings.retry;
        let initial_backoff = keys.backoff.unwrap_or(default.initial_backoff);
        let max_backoff = keys.max_backoff.unwrap_or(default.max_backoff.max(initial_backoff));
        Self {
            name: handler.name.clone(),
            formerly: settings.formerly,
            order: settings.ordered,
            retry: RetryPolicy::new(keys.max_attempts.unwrap_or(default.max_attempts))
                .backoff(initial_backoff.min(max_backoff))
                .max_backoff(max_backoff)
                .max_delay(keys.max_delay.unwrap_or(default.max_delay)),
            concurrency: settings.concurrency,
            answer_after: settings.answer_after,
            timeout: handler.timeout,
            takes_per_delivery: handler.takes_per_delivery,
        }
    }
}
