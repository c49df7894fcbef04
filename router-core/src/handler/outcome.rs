//! What a handler may return.

use std::borrow::Cow;

use super::{Failure, HandlerResult};

/// What a handler that did not fail did with the event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an outcome counts only once the handler returns it"]
pub enum Outcome {
    /// It is handled.
    Done,
    /// It was deliberately left alone, for this reason.
    Ignored(Cow<'static, str>),
}

impl Outcome {
    /// The event was deliberately left alone, for this reason.
    pub fn ignored(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Ignored(reason.into())
    }
}

/// A type that a handler can return: nothing, an [`Outcome`], or a [`Result`] of one of the two
/// with any error.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "not an outcome",
    note = "a handler returns `()`, `Outcome`, `Result<(), E>` or `Result<Outcome, E>`, where `E` is any error"
)]
pub trait IntoOutcome {
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
    fn into_outcome(self) -> HandlerResult {
        self.map_err(Into::into)?.into_outcome()
    }
}
