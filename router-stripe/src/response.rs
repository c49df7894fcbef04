//! A successful response of Stripe's API.

use std::time::SystemTime;

use router_core::bytes::Bytes;
use serde::de::DeserializeOwned;

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
    /// Fails if the body is not JSON, or does not fit the type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // serde_json's errors show values, which may be personal data.
            let (line, column) = (error.line(), error.column());
            let message =
                format!("the response is not the expected JSON (line {line}, column {column})");
            let mut error = Error::new(ErrorKind::Unreadable, &self.request, message);
            error.0.request_id.clone_from(&self.request_id);
            error
        })
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
