//! Reasons to refuse a request. The status, the public text and the log line of each reason are
//! defined here together, so that they stay consistent.

use std::{error::Error, sync::Arc, time::Duration};

use http::{Method, StatusCode};

use super::request_facts::RequestFacts;
use crate::{
    event::EnvelopeError,
    handler::{BoxError, ErrorChain},
    signature::SignatureError,
    telemetry,
};

/// A cloneable error, because [`Refusal`] is `Clone`.
type SharedError = Arc<dyn Error + Send + Sync>;

/// The reason why a request was refused.
///
/// The `Display` text is for the operator's log; the sender gets a shorter text. A response carries
/// the refusal in its extensions.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The sender's fault: the method is not POST.
    #[error("a webhook endpoint accepts only POST, but the method is {:.20}", .0.as_str())]
    MethodNotAllowed(Method),
    /// The sender's fault: there is no endpoint at this address.
    #[error("the secret provider has no webhook endpoint for this request")]
    UnknownEndpoint,
    /// The sender's fault: the body is too large.
    #[error("the body is larger than {limit} bytes; `Endpoint::body_limit` sets this limit")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The sender's fault: the body did not arrive in time.
    #[error("the body did not arrive within {limit:?}; `Endpoint::body_timeout` sets this limit")]
    BodyTimeout {
        /// The time limit.
        limit: Duration,
    },
    /// The senders' fault: the unfinished bodies exceed their budget, and this one was the oldest,
    /// or exceeds the budget alone.
    #[error(
        "the unfinished bodies exceed {limit} bytes, and this one is the oldest, or exceeds the limit \
         alone; `Endpoint::body_budget` sets this limit"
    )]
    BodyBudget {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The sender's fault: the connection broke while the body was being read.
    #[error("failed to read the whole body: {0}")]
    BodyRead(SharedError),
    /// The sender's fault, or a wrong configuration: there is no valid signature by Stripe.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// An authentic request, but its body is not an event.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// An authentic event, but of an API version that this endpoint does not accept.
    #[error(
        "event {event} has API version {found}, but this endpoint accepts only {expected}; create a \
         webhook endpoint with that version at Stripe, or correct `Endpoint::require_api_version`"
    )]
    ApiVersion {
        /// The event's id.
        event: String,
        /// The version that the endpoint accepts.
        expected: String,
        /// The event's version.
        found: String,
    },
    /// Our fault: the secret provider failed, took too long, or returned no secrets.
    #[error("failed to look up the signing secrets: {}", ErrorChain::new(&**.0))]
    SecretsUnavailable(SharedError),
    /// Our fault: the event was not handled in time. Handlers that have started keep running.
    #[error("the event was not handled within {limit:?}; `Endpoint::timeout` sets this limit")]
    TimedOut {
        /// The time limit.
        limit: Duration,
    },
    /// Our fault: the service behind the endpoint is unavailable, or failed.
    #[error("the service behind the endpoint is unavailable: {}", ErrorChain::new(&**.0))]
    Unavailable(SharedError),
}

impl Refusal {
    /// Returns the status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnknownEndpoint => StatusCode::NOT_FOUND,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::BodyRead(_)
            | Self::Signature(_)
            | Self::Envelope(_)
            | Self::ApiVersion { .. } => StatusCode::BAD_REQUEST,
            Self::BodyBudget { .. }
            | Self::SecretsUnavailable(_)
            | Self::TimedOut { .. }
            | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns the text for the sender.
    ///
    /// It gives no detail about a signature, because any client can send one. An [`EnvelopeError`]
    /// is given in full: only Stripe can cause one, and Stripe's dashboard shows the text.
    pub(super) fn public_message(&self) -> String {
        match self {
            Self::MethodNotAllowed(_) => "method not allowed".into(),
            Self::UnknownEndpoint => "not found".into(),
            Self::TooLarge { .. } => "body too large".into(),
            Self::BodyTimeout { .. } => "body read timeout".into(),
            Self::BodyRead(_) => "body could not be read".into(),
            Self::Signature(_) => "signature verification failed".into(),
            Self::Envelope(error) => error.to_string(),
            Self::ApiVersion { expected, found, .. } => {
                format!(
                    "the event's API version is {found}, but this endpoint accepts only {expected}"
                )
            }
            Self::BodyBudget { .. }
            | Self::SecretsUnavailable(_)
            | Self::TimedOut { .. }
            | Self::Unavailable(_) => "try again later".into(),
        }
    }

    /// Returns the refusal for a service that is unavailable: 503 with `Retry-After`. Use it to
    /// answer an error of a layer outside the endpoint, such as a load shedder:
    ///
    /// ```
    /// use router_core::{BoxError, endpoint::{Refusal, Response}};
    ///
    /// fn answer(error: BoxError) -> Response {
    ///     Refusal::unavailable(error).into()
    /// }
    /// ```
    pub fn unavailable(error: impl Into<BoxError>) -> Self {
        Self::Unavailable(error.into().into())
    }

    /// Adds the request's content coding to a mismatch of the signature, whose cause it may be.
    pub(super) fn with_content_encoding(mut self, encoding: Option<&'static str>) -> Self {
        if let Self::Signature(SignatureError::NoMatch { content_encoding, .. }) = &mut self {
            *content_encoding = encoding;
        }
        self
    }

    /// Returns whether Stripe sent the request, as its signature proves.
    pub(super) fn is_authentic(&self) -> bool {
        matches!(
            self,
            Self::Envelope(_)
                | Self::ApiVersion { .. }
                | Self::TimedOut { .. }
                | Self::Unavailable(_)
        )
    }

    /// Returns the reason as one word, for spans and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::UnknownEndpoint => "unknown_endpoint",
            Self::TooLarge { .. } => "too_large",
            Self::BodyTimeout { .. } => "body_timeout",
            Self::BodyBudget { .. } => "body_budget",
            Self::BodyRead(_) => "body_read",
            Self::Signature(error) => error.reason(),
            Self::Envelope(_) => "envelope",
            Self::ApiVersion { .. } => "api_version",
            Self::SecretsUnavailable(_) => "secrets_unavailable",
            Self::TimedOut { .. } => "timed_out",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// Logs and counts the refusal. An authentic event that is refused, and a fault of ours, are
    /// errors: once Stripe stops retrying, the event is lost. The rest are warnings, because any
    /// client can cause them. The budget for bodies logs one warning for many refused requests.
    pub(super) fn log(&self, request: &RequestFacts) {
        telemetry::refused(self.reason());
        let status = self.status().as_u16();
        let path = request.path();
        match self {
            Self::Envelope(_)
            | Self::ApiVersion { .. }
            | Self::SecretsUnavailable(_)
            | Self::TimedOut { .. }
            | Self::Unavailable(_) => {
                tracing::error!(status, path, reason = %self, "request refused");
            }
            Self::BodyBudget { .. } => {
                tracing::debug!(status, path, reason = %self, "request refused");
            }
            _ => tracing::warn!(status, path, reason = %self, "request refused"),
        }
    }
}
