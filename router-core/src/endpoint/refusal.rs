//! Why a request was answered with something else than what became of its event. Status, what the
//! sender is told and what the log says are made here, so that they cannot drift apart.

use std::{error::Error, iter, sync::Arc, time::Duration};

use http::{Method, StatusCode};

use crate::{event::EnvelopeError, handler::BoxError, signature::SignatureError, telemetry};

/// An error that can be shared.
type SharedError = Arc<dyn Error + Send + Sync>;

/// Why a request was refused. The `Display` is for the operator; the sender is told less. A
/// response carries it in its extensions.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The sender's fault: not a POST.
    #[error("a webhook endpoint takes POST, and this is {0}")]
    MethodNotAllowed(Method),
    /// The sender's fault: nothing is at this address.
    #[error("the secret provider knows no webhook endpoint at this address")]
    UnknownEndpoint,
    /// The sender's fault: the body is too large.
    #[error("the body is larger than {limit} bytes; `Endpoint::body_limit` sets this limit")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The sender's fault: the body did not come in time.
    #[error("the body did not come within {limit:?}; `Endpoint::body_timeout` sets this limit")]
    BodyTimeout {
        /// The limit.
        limit: Duration,
    },
    /// The sender's fault: the connection broke while the body was read.
    #[error("the body could not be read to its end: {0}")]
    BodyRead(SharedError),
    /// The sender's fault, or that of our configuration: it is not proven that Stripe sent it.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// An authentic request whose body is no event.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// An authentic event in an API version that this endpoint does not take.
    #[error(
        "event {event} is written in API version {found}, and this endpoint takes {expected} only; set the \
         version of the webhook endpoint at Stripe, or the one in `Endpoint::require_api_version`"
    )]
    ApiVersion {
        /// The event's id.
        event: String,
        /// The version that the endpoint takes.
        expected: String,
        /// The event's version.
        found: String,
    },
    /// Our fault: the secrets could not be had.
    #[error("the signing secrets could not be had: {0}")]
    SecretsUnavailable(SharedError),
    /// Our fault: the event was not handled in time. What has begun goes on.
    #[error("the event was not handled within {limit:?}; `Endpoint::timeout` sets this limit")]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// Our fault: the service behind the endpoint does not take events at the moment.
    #[error("the service behind the endpoint does not take events: {}", with_causes(.0))]
    Unavailable(SharedError),
}

impl Refusal {
    /// The status of the response.
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
            Self::SecretsUnavailable(_) | Self::TimedOut { .. } | Self::Unavailable(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// What the sender is told. Of a signature only that it failed: anybody can send one. Whoever
    /// gets an [`EnvelopeError`] has proven to be Stripe, and its dashboard shows the text.
    pub(super) fn public(&self) -> String {
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
                    "the event's API version is {found}, and this endpoint takes {expected} only"
                )
            }
            Self::SecretsUnavailable(_) | Self::TimedOut { .. } | Self::Unavailable(_) => {
                "try again later".into()
            }
        }
    }

    /// The service behind the endpoint, or a layer around it, does not take events: answered with 503 and
    /// `Retry-After`. For a layer outside the endpoint that fails, such as one that sheds load:
    ///
    /// ```
    /// use router_core::{BoxError, Refusal, Response};
    ///
    /// fn answer(error: BoxError) -> Response {
    ///     Refusal::unavailable(error).into()
    /// }
    /// ```
    pub fn unavailable(error: impl Into<BoxError>) -> Self {
        Self::Unavailable(error.into().into())
    }

    /// Why, in a word: for spans and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::UnknownEndpoint => "no_endpoint",
            Self::TooLarge { .. } => "too_large",
            Self::BodyTimeout { .. } => "stalled",
            Self::BodyRead(_) => "unreadable",
            Self::Signature(error) => error.reason(),
            Self::Envelope(_) => "envelope",
            Self::ApiVersion { .. } => "api_version",
            Self::SecretsUnavailable(_) => "no_secrets",
            Self::TimedOut { .. } => "timed_out",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// An authentic event that we refuse, or a fault of ours, is an ERROR: sooner or later it is
    /// lost. The rest is a WARN: anybody can send it.
    pub(super) fn log(&self) {
        telemetry::refused(self.reason());
        let status = self.status().as_u16();
        match self {
            Self::Envelope(_)
            | Self::ApiVersion { .. }
            | Self::SecretsUnavailable(_)
            | Self::TimedOut { .. }
            | Self::Unavailable(_) => {
                tracing::error!(status, reason = %self, "request refused");
            }
            _ => tracing::warn!(status, reason = %self, "request refused"),
        }
    }
}

/// What went wrong, then its cause, and the cause of that.
fn with_causes(error: &SharedError) -> String {
    let error: &(dyn Error + 'static) = &**error;
    let chain = iter::successors(Some(error), |error| (*error).source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
