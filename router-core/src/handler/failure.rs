//! Why a handler did not finish, and whether trying again can help.

use std::{error::Error, fmt, time::Duration};

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a handler did not finish. Any error becomes one by `?`, and is then tried again; say
/// otherwise where you know better:
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
/// It is no [`Error`] itself, so that every error can become one.
pub struct Failure {
    error: BoxError,
    remedy: Remedy,
}

/// Says of any result what its error means for the event.
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
    /// An error is [permanent](Failure::permanent).
    ///
    /// # Errors
    ///
    /// The error, as a [`Failure`].
    fn or_permanent(self) -> Result<T, Failure>;

    /// After an error there is [no use in trying](Failure::retry_in) before this much time has passed.
    ///
    /// # Errors
    ///
    /// The error, as a [`Failure`].
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

/// What can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    Retry(Option<Duration>),
    Nothing,
}

impl Failure {
    /// It could not be done now. Stripe sends the event again, later and for up to three days.
    pub fn retry(error: impl Into<BoxError>) -> Self {
        Self { error: error.into(), remedy: Remedy::Retry(None) }
    }

    /// It could not be done now, and there is no use in trying before this much time has passed.
    pub fn retry_in(error: impl Into<BoxError>, wait: Duration) -> Self {
        Self { error: error.into(), remedy: Remedy::Retry(Some(wait)) }
    }

    /// It will never work, however often it is tried: a dead letter.
    pub fn permanent(error: impl Into<BoxError>) -> Self {
        Self { error: error.into(), remedy: Remedy::Nothing }
    }

    /// Whether trying again is of no use.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.remedy == Remedy::Nothing
    }

    /// How long to wait before trying again, where the handler said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.remedy {
            Remedy::Retry(wait) => wait,
            Remedy::Nothing => None,
        }
    }

    /// What went wrong.
    #[must_use]
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.error
    }

    /// What went wrong, then its cause, and the cause of that.
    pub fn chain(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        let error: &(dyn Error + 'static) = &*self.error;
        std::iter::successors(Some(error), |error| (*error).source())
    }

    /// The same failure, for one who cannot be helped by trying again.
    pub(crate) fn into_permanent(self) -> Self {
        Self { remedy: Remedy::Nothing, ..self }
    }
}

impl<E: Into<BoxError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retry(error)
    }
}

/// The error and all its causes, in one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        self.chain().try_for_each(|error| {
            write!(f, "{separator}{error}")?;
            separator = ": ";
            Ok(())
        })
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure").field("remedy", &self.remedy).field("error", &self.error).finish()
    }
}

/// The message of a handler's panic.
#[derive(Debug, thiserror::Error)]
#[error("the handler panicked: {0}")]
pub(crate) struct Panic(String);

impl Panic {
    pub(crate) fn new(payload: &(dyn std::any::Any + Send)) -> Self {
        let message = (payload.downcast_ref::<&str>().copied())
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self(message.unwrap_or("without a message").to_owned())
    }
}
