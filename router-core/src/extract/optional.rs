//! `Option` and `Result` arguments.

use std::future::Future;

use super::{FromEvent, Needs, Rejection};
use crate::event::Event;

/// A type that a handler can take as `Option<Self>`. The argument is `None` if the event does not
/// have the value. A value that is present but cannot be read is a [`Rejection`], never `None`.
#[diagnostic::on_unimplemented(
    message = "a handler cannot take `Option<{Self}>`",
    label = "this type is never absent",
    note = "`Option` is for arguments that an event may not have: `Object<T>`, `Previous<T>`, `RelatedObject`, `Account`, `Livemode`, `Recency`, `State<T>` and `PerDelivery<T>`",
    note = "to receive the reason why an argument could not be extracted, take a `Result<_, Rejection>`"
)]
pub trait OptionalFromEvent: Sized + Send {
    /// The resources needed besides the event, as in [`FromEvent::Needs`].
    type Needs: Needs;

    /// Extracts the value, if the event has it.
    ///
    /// # Errors
    ///
    /// Fails if the value is present but cannot be read. The [`Rejection`] becomes the handler's
    /// failure.
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

/// Never fails: the handler is called with the rejection.
impl<T: FromEvent> FromEvent for Result<T, Rejection> {
    type Needs = T::Needs;

    async fn from_event(event: &Event, needs: T::Needs) -> Result<Self, Rejection> {
        Ok(T::from_event(event, needs).await.map_err(Rejection::of_argument::<T>))
    }
}
