//! The number of the current attempt.

use super::{
    FromEvent, Needs, Rejection,
    needs::{Need, Supplies, sealed},
};
use crate::event::Event;

/// The number of the current attempt of a handler. In its last attempt, a handler can take a last
/// resort before it fails for good.
///
/// ```standalone_crate
/// use router_core::{BoxError, Event, State, extract::Attempt, on_event};
/// # struct Shop;
/// # impl Shop {
/// #     async fn ship(&self, _: &str) -> Result<(), BoxError> { Ok(()) }
/// #     async fn refund(&self, _: &str) -> Result<(), BoxError> { Ok(()) }
/// # }
///
/// #[on_event("invoice.paid", name = "orders.ship")]
/// async fn ship(event: Event, attempt: Attempt, shop: State<Shop>) -> Result<(), BoxError> {
///     match shop.ship(event.id()).await {
///         Err(_) if attempt.is_last() => shop.refund(event.id()).await,
///         shipped => shipped,
///     }
/// }
/// # fn main() {}
/// ```
///
/// With an inbox, the number is that of the delivery, and the maximum that of the handler's
/// [`RetryPolicy`](crate::delivery::RetryPolicy). An attempt is counted when it starts. If the
/// process crashes during the last attempt, the last resort is not taken.
///
/// Inline, the number counts the runs of the handler for the event, as far as the
/// [completions](crate::completions::CompletionStore) are stored. Stripe redelivers an event for up
/// to three days and does not state the number of its attempts. The maximum is therefore unknown,
/// and no attempt is known to be the last. The exceptions are handlers whose failure is answered
/// with 200: a handler that runs after another one's [`Reply`](crate::Reply), one with a
/// `default_reply`, and one with `#[on_unhandled]`. Each of their attempts is the last,
/// unless building the default reply fails too.
///
/// A test calls the annotated function with an [`Attempt::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    number: u32,
    max: Option<u32>,
}

impl Attempt {
    /// Creates the attempt with this number, from 1, and the maximum if it is known.
    #[must_use]
    pub fn new(number: u32, max: Option<u32>) -> Self {
        Self { number, max }
    }

    /// Returns the number of the attempt, from 1. A dead letter that starts over begins with 1
    /// again.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Returns the maximum number of attempts, or `None` if it is unknown.
    #[must_use]
    pub fn max(&self) -> Option<u32> {
        self.max
    }

    /// Returns whether no attempt follows if this one fails. `false` if the maximum is unknown.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.max.is_some_and(|max| self.number >= max)
    }
}

impl Needs for Attempt {}

impl sealed::Needs for Attempt {
    /// Declares no need, because every router counts the attempts.
    fn declare(_: &mut Vec<Need>) {}

    fn take(supplies: &mut Supplies<'_>) -> Self {
        supplies.attempt
    }
}

impl FromEvent for Attempt {
    type Needs = Self;

    async fn from_event(_: &Event, attempt: Self) -> Result<Self, Rejection> {
        Ok(attempt)
    }
}
