//! Arguments that may be absent, or unreadable.

use std::future::Future;

use super::{FromEvent, Needs, Rejection};
use crate::event::Event;

/// A type that a handler can take as `Option<Self>`: `None` where the event does not have it. What is
/// there and cannot be read is a [`Rejection`], never `None`.
#[diagnostic::on_unimplemented(
    message = "a handler cannot take `Option<{Self}>`",
    label = "this is never absent",
    note = "an `Option` is for what an event can be without: `Object<T>`, `Previous<T>`, `RelatedObject`, `Account`, `Livemode`, `Recency`, `State<T>` and `PerDelivery<T>`",
    note = "to see why an argument could not be made, take a `Result<_, Rejection>`"
)]
pub trait OptionalFromEvent: Sized + Send {
    /// What it needs beside the event, as in [`FromEvent::Needs`].
    type Needs: Needs;

    /// Makes it, if the event has it.
    ///
    /// # Errors
    ///
    /// The [`Rejection`] that becomes the handler's failure: it is there and cannot be read.
    fn from_event(
        event: &Event,
        needs: Self::Needs,
    ) -> impl Future<Output = Result<Option<Self>, Rejection>> + Send;
}

impl<T: OptionalFromEvent> FromEvent for Option<T> {
    type Needs = T::Needs;

    async fn from_event(event: &Event, needs: T::Needs) -> Result<Self, Rejection> {
        T::from_event(event, needs).await
    }
}

/// The handler is called either way, and sees why.
impl<T: FromEvent> FromEvent for Result<T, Rejection> {
    type Needs = T::Needs;

    async fn from_event(event: &Event, needs: T::Needs) -> Result<Self, Rejection> {
        Ok(T::from_event(event, needs).await)
    }
}
