//! What a handler can ask for in its arguments.

mod object;

use std::future::Future;

pub use self::object::Object;
use crate::{event::Event, handler::Failure};

/// A type that a handler can take as an argument, made from the event.
#[diagnostic::on_unimplemented(
    message = "a handler cannot take `{Self}`",
    label = "not an extractor",
    note = "a handler's argument is an `Event`, an `Object<T>` where `T: serde::Deserialize`, or a type of your own that implements `FromEvent`"
)]
pub trait FromEvent: Sized + Send {
    /// Makes it from the event.
    ///
    /// # Errors
    ///
    /// The [`Failure`] that is the handler's: it is not called then.
    fn from_event(event: &Event) -> impl Future<Output = Result<Self, Failure>> + Send;
}

impl FromEvent for Event {
    async fn from_event(event: &Event) -> Result<Self, Failure> {
        Ok(event.clone())
    }
}
