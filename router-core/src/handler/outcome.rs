//! Return types of handlers.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Failure, HandlerResult};

/// The outcome of a handler that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an outcome counts only once the handler returns it"]
pub enum Outcome {
    /// The event is handled.
    Done,
    /// The handler deliberately ignored the event, for this reason.
    Ignored(Cow<'static, str>),
    /// The event is handled, and this JSON is the response to Stripe. A [`Reply`](super::Reply) is
    /// converted into this variant.
    Replied(Bytes),
}

impl Outcome {
    /// Creates an [`Ignored`](Self::Ignored) outcome.
    pub fn ignored(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Ignored(reason.into())
    }
}

/// A type that a handler can return: `()`, an [`Outcome`], a [`Reply`](super::Reply), or a
/// [`Result`] of one of these with any error.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "not an outcome",
    note = "a handler returns `()`, `Outcome`, `Reply<T>`, or a `Result<_, E>` of one of these",
    note = "`E` is `Failure`, or any type that converts into a `Box<dyn Error + Send + Sync>`: an error, a `String`, a `&str` or `anyhow::Error`",
    note = "a handler returns no HTTP status or response: the endpoint answers Stripe according to the outcome"
)]
pub trait IntoOutcome {
    /// `true` if the value is a reply for which Stripe waits.
    const REPLIES: bool = false;

    /// Converts the returned value into the handler's result.
    ///
    /// # Errors
    ///
    /// Fails if the handler returned an error.
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

// Lets the compiler name the whole return type in an error, with the notes of the trait.
#[diagnostic::do_not_recommend]
impl<T: IntoOutcome, E: Into<Failure>> IntoOutcome for Result<T, E> {
    const REPLIES: bool = T::REPLIES;

    fn into_outcome(self) -> HandlerResult {
        self.map_err(Into::into)?.into_outcome()
    }
}
