//! Failures of handlers, transient or permanent.

use std::{error::Error, fmt, time::Duration};

use super::ErrorChain;
use crate::panic_guard::Guarded;

/// A boxed error of any type.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A failure of a handler: transient (the handler is retried) or permanent (the event becomes a
/// dead letter).
///
/// The `?` operator converts any error into a transient failure. To classify an error differently:
///
/// ```
/// use router_core::{Event, Failure};
///
/// async fn fulfil(event: Event) -> Result<(), Failure> {
///     let path = event.object_json().ok_or("a snapshot event carries an object")?;
///     let amount: i64 = path.parse().map_err(Failure::permanent)?;
///     # let _ = amount;
///     Ok(())
/// }
/// ```
///
/// `Failure` does not implement [`Error`], so that it can implement `From` for every error.
pub struct Failure {
    error: Guarded<BoxError>,
    class: Class,
}

/// Methods that classify the error of any `Result` as a [`Failure`].
///
/// ```
/// use std::time::Duration;
///
/// use router_core::{FailureExt as _, Event, Failure};
///
/// async fn fulfil(event: Event) -> Result<(), Failure> {
///     let text = std::fs::read_to_string("price.txt").or_retry_in(Duration::from_secs(60))?;
///     let price: i64 = text.parse().or_permanent()?;
///     # let _ = price;
///     Ok(())
/// }
/// ```
pub trait FailureExt<T> {
    /// Converts an error into a [permanent](Failure::permanent) failure.
    ///
    /// # Errors
    ///
    /// Fails if the result is an error.
    fn or_permanent(self) -> Result<T, Failure>;

    /// Converts an error into a transient failure [with a minimum wait](Failure::retry_in).
    ///
    /// # Errors
    ///
    /// Fails if the result is an error.
    fn or_retry_in(self, wait: Duration) -> Result<T, Failure>;
}

impl<T, E: Into<BoxError>> FailureExt<T> for Result<T, E> {
    fn or_permanent(self) -> Result<T, Failure> {
        self.map_err(Failure::permanent)
    }

    fn or_retry_in(self, wait: Duration) -> Result<T, Failure> {
        self.map_err(|error| Failure::retry_in(error, wait))
    }
}

/// The class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// The handler is retried, but not before this time has passed.
    Transient(Option<Duration>),
    Permanent,
}

impl Failure {
    /// Creates a transient failure. Without an inbox, Stripe redelivers the event later, for up to
    /// three days.
    pub fn retry(error: impl Into<BoxError>) -> Self {
        Self::new(error, Class::Transient(None))
    }

    /// Creates a transient failure, to be retried once this time has passed at the earliest. An
    /// inbox waits at least this long. Without an inbox, the time is only sent to Stripe as
    /// `Retry-After`, and Stripe keeps its own schedule.
    pub fn retry_in(error: impl Into<BoxError>, wait: Duration) -> Self {
        Self::new(error, Class::Transient(Some(wait)))
    }

    /// Creates a permanent failure, which becomes a dead letter.
    pub fn permanent(error: impl Into<BoxError>) -> Self {
        Self::new(error, Class::Permanent)
    }

    fn new(error: impl Into<BoxError>, class: Class) -> Self {
        Self { error: Guarded::new(error.into()), class }
    }

    /// Returns whether the failure is permanent, so that a retry would not help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.class == Class::Permanent
    }

    /// Returns the minimum time before a retry, if the handler gave one.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.class {
            Class::Transient(wait) => wait,
            Class::Permanent => None,
        }
    }

    /// Returns the error.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "only the drop takes the error")]
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &**self.error.get().expect("only the drop takes the error")
    }

    /// Returns an iterator over the error, its cause, the cause of that, and so on.
    pub fn chain(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        ErrorChain::new(self.error()).errors()
    }

    /// Makes the failure the cause of another error, with the same class.
    pub(crate) fn wrap<E: Into<BoxError>>(self, wrap: impl FnOnce(Self) -> E) -> Self {
        let class = self.class;
        Self::new(wrap(self), class)
    }

    /// Makes the failure permanent, for a caller that cannot retry.
    pub(crate) fn into_permanent(self) -> Self {
        Self { class: Class::Permanent, ..self }
    }
}

impl<E: Into<BoxError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retry(error)
    }
}

/// Writes the error and all its causes in one line, as [`ErrorChain`] does.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ErrorChain::new(self.error()).fmt(f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure").field("class", &self.class).field("error", &self.error()).finish()
    }
}
