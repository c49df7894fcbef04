//! Return types of handlers.

use std::{borrow::Cow, time::Duration};

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
    /// The event cannot be handled yet. The handler runs again later.
    Later(Later),
    /// The event is handled, and this JSON is the response to Stripe. A [`Reply`](super::Reply) is
    /// converted into this variant.
    Replied(Bytes),
}

impl Outcome {
    /// Creates an [`Ignored`](Self::Ignored) outcome.
    pub fn ignored(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Ignored(reason.into())
    }

    /// Creates a [`Later`](Self::Later) outcome: the handler runs again after this wait. [`Later`]
    /// has the details and further options.
    pub fn later(wait: Duration) -> Self {
        Self::Later(Later::after(wait))
    }
}

/// The outcome of a handler that cannot handle the event yet, for example because the rate limit of
/// an API is exhausted, or because an object does not exist yet.
///
/// This outcome is neither a failure nor an attempt: it is logged at INFO, and does not use up the
/// attempts. For an error that an operator should notice, return a [`Failure`].
///
/// - An inbox runs the handler again after the wait, which is at least one second. It does so for
///   [`RetryPolicy::max_delay`](crate::delivery::RetryPolicy::max_delay) in total, by default seven
///   days. If the handler then returns this outcome again, the delivery becomes a dead letter.
/// - Without an inbox, the event is answered with status 500 and the wait as `Retry-After`, and
///   Stripe redelivers it by its own schedule. In a handler that runs after the answer, such as the
///   one for unhandled events, this outcome is a permanent failure.
///
/// Writes with a `Tx` are rolled back.
///
/// ```
/// use std::time::Duration;
///
/// use router_core::{Event, Outcome, handler::Later};
///
/// async fn mirror(event: Event) -> Outcome {
///     # let remaining_requests = event.id().len();
///     if remaining_requests == 0 {
///         let later = Later::after(Duration::from_secs(30));
///         return later.because("the rate limit is exhausted").into();
///     }
///     Outcome::Done
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an outcome counts only once the handler returns it"]
pub struct Later {
    wait: Duration,
    reason: Option<Cow<'static, str>>,
    out_of_order: bool,
}

impl Later {
    /// Creates the outcome with the wait before the handler runs again.
    pub fn after(wait: Duration) -> Self {
        Self { wait, reason: None, out_of_order: false }
    }

    /// Sets the reason, which is logged and stored. It must not contain secrets or personal data.
    pub fn because(self, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    /// Lets other events of the same object overtake this event, if the handler is `ordered`. By
    /// default they wait until this event is handled.
    ///
    /// The event is then handled after all waiting events of the object, including those that
    /// arrive later. This method has no effect with `ordered = "newest"`, because there a newer
    /// event never waits for an older one.
    pub fn out_of_order(self) -> Self {
        Self { out_of_order: true, ..self }
    }

    /// Returns the wait.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// Returns the reason.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Returns whether other events of the object may overtake this one.
    #[must_use]
    pub fn is_out_of_order(&self) -> bool {
        self.out_of_order
    }
}

impl From<Later> for Outcome {
    fn from(later: Later) -> Self {
        Self::Later(later)
    }
}

/// A type that a handler can return: `()`, an [`Outcome`], a [`Later`], a
/// [`Reply`](super::Reply), or a [`Result`] of one of these with any error.
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

impl IntoOutcome for Later {
    fn into_outcome(self) -> HandlerResult {
        Ok(Outcome::Later(self))
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
