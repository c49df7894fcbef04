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
    pub fn retry_after(error: impl Into<BoxError>, wait: Duration) -> Self {
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
    pub fn wait(&self) -> Option<Duration> {
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
}

impl<E: Into<BoxError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retry(error)
    }
}

/// The error and all its causes, in one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        let mut cause = self.error.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
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
