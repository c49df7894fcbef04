//! Errors of requests to Stripe's API.

use std::{fmt, time::Duration};

use router_core::{BoxError, Failure};
use serde::Deserialize;

/// Maximum length of a text of an answer, in characters.
const MAX_TEXT: usize = 1_000;

/// The failure of a request, after all retries.
///
/// `Display` states the request, Stripe's message and Stripe's request id. The API key is not part
/// of any text.
#[derive(Debug)]
pub struct Error(pub(crate) Box<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) kind: ErrorKind,
    /// The method and the path of the request, without its query.
    pub(crate) request: String,
    pub(crate) status: Option<u16>,
    pub(crate) code: Option<String>,
    pub(crate) error_type: Option<String>,
    pub(crate) message: String,
    /// `false` if there was no answer, or one without an error in Stripe's form.
    pub(crate) is_from_stripe: bool,
    pub(crate) request_id: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) attempts: u32,
    pub(crate) source: Option<BoxError>,
}

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The API key is invalid, expired or revoked (401).
    Unauthorized,
    /// The API key lacks a permission, or access to the account (403). Stripe's message names the
    /// permission.
    Forbidden,
    /// The object does not exist or was deleted, or the key is for the other mode (404).
    NotFound,
    /// Too many requests (429).
    RateLimited,
    /// Stripe refused the request for another reason (3xx, 4xx), or the request was not sent,
    /// because its path or a header is invalid.
    Rejected,
    /// Stripe failed (5xx), could not be reached, did not answer in time, or is still busy with an
    /// equal request (409). An answer that is not in Stripe's form is one of a proxy.
    Unavailable,
    /// The response could not be read: it was too large, or its JSON was not the expected one.
    Unreadable,
}

/// The body of an error response.
#[derive(Deserialize)]
struct ErrorBody {
    error: Details,
}

#[derive(Deserialize)]
struct Details {
    #[serde(rename = "type")]
    error_type: Option<String>,
    code: Option<String>,
    message: Option<String>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, request: &str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            request: request.to_owned(),
            status: None,
            code: None,
            error_type: None,
            message: message.into(),
            is_from_stripe: false,
            request_id: None,
            retry_after: None,
            attempts: 1,
            source: None,
        }))
    }

    /// Creates the error of a response with this status. `body` is the description by Stripe or by
    /// a proxy.
    pub(crate) fn from_status(request: &str, status: u16, body: &[u8]) -> Self {
        let kind = match status {
            401 => ErrorKind::Unauthorized,
            403 => ErrorKind::Forbidden,
            404 => ErrorKind::NotFound,
            429 => ErrorKind::RateLimited,
            // Another request has the same idempotency key and is not finished.
            409 => ErrorKind::Unavailable,
            300..500 => ErrorKind::Rejected,
            _ => ErrorKind::Unavailable,
        };
        // Stripe was not reached.
        let foreign = "the answer is not in Stripe's form; check the proxy and the API's address";
        let mut error = Self::new(ErrorKind::Unavailable, request, foreign);
        error.0.status = Some(status);
        if let Ok(ErrorBody { error: Details { error_type, code, message } }) =
            serde_json::from_slice(body)
        {
            let message = message.unwrap_or_default();
            // The text goes on after the message.
            error.0.message = message.trim_end_matches('.').to_owned();
            (error.0.error_type, error.0.code) = (error_type, code);
            (error.0.kind, error.0.is_from_stripe) = (kind, true);
        }
        error
    }

    /// Replaces the key in the texts of the answer, and shortens them.
    pub(crate) fn redact(&mut self, key: &str) {
        let redact = |text: &mut String| {
            *text = text.replace(key, "[API key]");
            if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
                text.truncate(end);
                text.push('…');
            }
        };
        let Inner { message, code, error_type, request_id, .. } = &mut *self.0;
        redact(message);
        [code, error_type, request_id].into_iter().flatten().for_each(redact);
    }

    /// Returns whether Stripe says that the object does not exist. Another 404 is about the path,
    /// or is from a proxy.
    pub(crate) fn is_missing_object(&self) -> bool {
        self.0.kind == ErrorKind::NotFound && self.0.code.is_some()
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.0.kind, ErrorKind::RateLimited | ErrorKind::Unavailable)
    }

    /// Converts the error into a handler's failure: a retry, not before `Retry-After`, if the error
    /// is [transient](Self::is_transient), and otherwise a permanent failure. The `?` operator of a
    /// handler makes every error a retry.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        match self.retry_after() {
            _ if !self.is_transient() => Failure::permanent(self),
            Some(wait) => Failure::retry_in(self, wait),
            None => Failure::retry(self),
        }
    }

    /// Returns the status of the response, or `None` if there was none.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Returns Stripe's [error code](https://docs.stripe.com/error-codes), such as
    /// `resource_missing`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// Returns Stripe's error type, such as `invalid_request_error`.
    #[must_use]
    pub fn error_type(&self) -> Option<&str> {
        self.0.error_type.as_deref()
    }

    /// Returns the id by which Stripe's dashboard finds the request (`req_…`).
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// Returns the minimum wait before a retry that Stripe asks for (`Retry-After`); at most an
    /// hour.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the number of attempts that were made.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { request, status, code, message, request_id, attempts, .. } = &*self.0;
        write!(f, "{request} failed")?;
        match (status, code) {
            (Some(status), Some(code)) => write!(f, " ({status}, {code})")?,
            (Some(status), None) => write!(f, " ({status})")?,
            (None, _) => {}
        }
        if *attempts > 1 {
            write!(f, " after {attempts} attempts")?;
        }
        if !message.is_empty() {
            write!(f, ": {message}")?;
        }
        match self.0.kind {
            _ if !self.0.is_from_stripe => {}
            ErrorKind::Unauthorized => f.write_str("; check the API key")?,
            ErrorKind::Forbidden => {
                f.write_str("; add the permission to the restricted key in Stripe's dashboard")?;
            }
            _ => {}
        }
        match request_id {
            Some(id) => write!(f, " [{id}]"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
