//! The reason why an argument could not be extracted.

use std::{any::type_name, error::Error, fmt, time::Duration};

use crate::handler::{BoxError, Failure};

/// The reason why an argument could not be extracted. It becomes the handler's [`Failure`], and the
/// handler is not called.
///
/// A rejection is permanent if, for example, the object does not decode, and transient if, for
/// example, a fetch failed. The `?` operator converts any error into a transient rejection, and a
/// [`Failure`] into a rejection of the same class, so the methods of
/// [`FailureExt`](crate::FailureExt) classify an error here too.
///
/// Like `Failure`, it does not implement [`Error`], so that it can implement `From` for every
/// error.
#[derive(Debug)]
pub struct Rejection {
    failure: Failure,
    /// The type of the argument, once its extractor has returned.
    argument: Option<&'static str>,
}

impl Rejection {
    /// Creates a permanent rejection.
    pub fn permanent(error: impl Into<BoxError>) -> Self {
        Failure::permanent(error).into()
    }

    /// Returns whether the rejection is permanent, so that a retry would not help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.failure.is_permanent()
    }

    /// Returns the minimum time before a retry, if the extractor gave one.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.failure.retry_after()
    }

    /// Returns the error.
    #[must_use]
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.failure.error()
    }

    /// Returns the name of the argument's type, as [`type_name`] does. In a tuple it is the element
    /// that could not be extracted. It is `None` inside the extractor that makes the rejection.
    #[must_use]
    pub fn argument(&self) -> Option<&'static str> {
        self.argument
    }

    /// Records the type of the argument, unless the type of an inner argument is recorded already.
    pub(crate) fn of_argument<A: ?Sized>(mut self) -> Self {
        self.argument.get_or_insert_with(type_name::<A>);
        self
    }
}

impl<E: Into<BoxError>> From<E> for Rejection {
    fn from(error: E) -> Self {
        Failure::retry(error).into()
    }
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        Self { failure, argument: None }
    }
}

/// The failure has the same class. The rejection's error is the cause of the failure's error.
impl From<Rejection> for Failure {
    fn from(Rejection { failure, argument }: Rejection) -> Self {
        match argument {
            Some(argument) => failure.wrap(|cause| ArgumentError { argument, cause }),
            None => failure,
        }
    }
}

/// Writes the argument's type, the error and all its causes in one line.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(argument) = self.argument {
            write!(f, "{}: ", argument_text(argument))?;
        }
        fmt::Display::fmt(&self.failure, f)
    }
}

/// The error of a failure that was a rejection.
#[derive(Debug)]
struct ArgumentError {
    argument: &'static str,
    cause: Failure,
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&argument_text(self.argument))
    }
}

impl Error for ArgumentError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.cause.error())
    }
}

fn argument_text(argument: &str) -> String {
    format!("cannot extract the argument `{}`", short_type_name(argument))
}

/// Returns the name of a type without the paths.
pub(crate) fn short_type_name(name: &str) -> String {
    let is_path = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '{' | '}');
    let parts = name.split_inclusive(|c| !is_path(c));
    parts.filter_map(|part| part.rsplit("::").next()).collect()
}
