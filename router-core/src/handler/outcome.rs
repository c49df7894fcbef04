//! What a handler may return.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Failure, HandlerResult};

/// What a handler that did not fail did with the event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an outcome counts only once the handler returns it"]
pub enum Outcome {
    /// It is handled.
    Done,
    /// It was deliberately left alone, for this reason.
    Ignored(Cow<'static, str>),
    /// It is handled, and this JSON is the response: what a [`Reply`](super::Reply) becomes.
    Replied(Bytes),
}

impl Outcome {
    /// The event was deliberately left alone, for this reason.
    pub fn ignored(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Ignored(reason.into())
    }
}

/// A type that a handler can return: nothing, an [`Outcome`], a [`Reply`](super::Reply), or a [`Result`]
/// of one of these with any error.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "not an outcome",
    note = "a handler returns `()`, `Outcome`, `Reply<T>`, or a `Result<_, E>` of one of these, where `E` is any error"
)]
pub trait IntoOutcome {
    /// Whether it is the answer that Stripe waits for.
    const REPLIES: bool = false;

    /// What the returned value means for the delivery of the event.
    ///
    /// # Errors
    ///
    /// The [`Failure`] that the handler returned.
    fn into_outcome(self) -> HandlerResult;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> HandlerResult {
        Ok(Outcome::Done)
    }
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> HandlerResult {
        Ok(self)
    }
}

impl<T: IntoOutcome, E: Into<Failure>> IntoOutcome for Result<T, E> {
    const REPLIES: bool = T::REPLIES;

    fn into_outcome(self) -> HandlerResult {
        self.map_err(Into::into)?.into_outcome()
    }
}
