//! A successful response of Stripe's API.

use std::time::SystemTime;

use router_core::bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::{Error, ErrorKind};

/// A successful response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The method and the path of the request.
    pub(crate) request: String,
    pub(crate) request_id: Option<String>,
    pub(crate) date: Option<SystemTime>,
    pub(crate) body: Bytes,
}

impl Response {
    /// Decodes the body.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Unavailable`] if the body is not JSON, so that Stripe did not send it.
    /// - [`ErrorKind::Unreadable`] if the body does not fit the type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            if serde_json::from_slice::<IgnoredAny>(&self.body).is_err() {
                return self.foreign();
            }
            // serde_json's errors show values, which may be personal data.
            let (line, column) = (error.line(), error.column());
            let message =
                format!("the response is not the expected JSON (line {line}, column {column})");
            self.unreadable(message)
        })
    }

    /// Creates the error of a response that is not JSON.
    fn foreign(&self) -> Error {
        let message = "the response is not JSON; check the proxy and the API's address";
        let mut error = self.unreadable(message.to_owned());
        error.0.kind = ErrorKind::Unavailable;
        error
    }

    /// Creates the error of a response that is not as expected.
    pub(crate) fn unreadable(&self, message: String) -> Error {
        let mut error = Error::new(ErrorKind::Unreadable, &self.request, message);
        error.0.request_id.clone_from(&self.request_id);
        error
    }

    /// Returns the body as received.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the id by which Stripe's dashboard finds the request (`req_…`).
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// Returns the time at Stripe when the response was sent, to the second.
    #[must_use]
    pub fn date(&self) -> Option<SystemTime> {
        self.date
    }
}
