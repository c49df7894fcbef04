//! The response to Stripe: status, headers and body for each outcome of an event.

use std::time::Duration;

use bytes::Bytes;
use http::{
    Extensions, HeaderValue, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER},
};
use serde::{Serialize, Serializer};

use super::{FullBody, Refusal};
use crate::handler::{ErrorChain, HandlerReport, Report};

/// The response of an [`Endpoint`](super::Endpoint): a status and one line of JSON, which Stripe's
/// dashboard shows to the operator.
///
/// An [`Answer`] and a [`Refusal`] convert into a response with this body, and with any other that
/// can be made of [`Bytes`].
pub type Response = http::Response<FullBody>;

/// The `Retry-After` of a 503. (Stripe keeps its own schedule; proxies and other senders may heed
/// it.)
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(10);

/// The size of the stack buffer for a response body, in bytes. Nearly every body fits.
const STACK_BUFFER_BYTES: usize = 512;

/// The answer of a service of events, which an [`Endpoint`](super::Endpoint) turns into a response.
///
/// A service of your own between an [`Endpoint`](super::Endpoint) and a [`Router`](crate::Router)
/// returns an answer or a [`Report`].
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Bytes,
    extensions: Extensions,
}

impl Answer {
    /// Returns an answer with status 200: Stripe does not send this event again.
    ///
    /// `body` becomes the JSON of the response, so it must hold nothing secret. If `body` fails to
    /// serialize, an ERROR line reports it, and the response has the same status and the body `{}`.
    #[must_use]
    pub fn accepted(body: &impl Serialize) -> Self {
        Self::new(StatusCode::OK, None, json(body))
    }

    /// Returns an answer with status 500: Stripe sends this event again. `retry_after` becomes the
    /// `Retry-After` header. `body` becomes the JSON of the response, so it must hold nothing
    /// secret. If `body` fails to serialize, it is replaced as in [`accepted`](Self::accepted).
    #[must_use]
    pub fn retry(body: &impl Serialize, retry_after: Option<Duration>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, retry_after, json(body))
    }

    /// Adds a value to the response's extensions, where a layer around the endpoint finds it. It is
    /// not sent.
    #[must_use]
    pub fn with_extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.extensions.insert(value);
        self
    }

    fn new(status: StatusCode, retry_after: Option<Duration>, body: Bytes) -> Self {
        Self { status, retry_after, body, extensions: Extensions::new() }
    }
}

impl From<Report> for Answer {
    fn from(report: Report) -> Self {
        let answer = match report.reply() {
            Some(json) => Self::new(StatusCode::OK, None, json.clone()),
            None if report.needs_retry() => {
                Self::retry(&ReportBody::new(&report), report.retry_after())
            }
            None => Self::accepted(&ReportBody::new(&report)),
        };
        answer.with_extension(report)
    }
}

impl<B: From<Bytes>> From<Answer> for http::Response<B> {
    fn from(Answer { status, retry_after, body, extensions }: Answer) -> Self {
        let mut response = response(status, body, retry_after);
        // Stripe reads a reply only if this header states its API version.
        let report = extensions.get::<Report>();
        let version = report.and_then(|report| report.reply().and(report.event().api_version()));
        if let Some(Ok(version)) = version.map(HeaderValue::from_str) {
            response.headers_mut().insert("stripe-version", version);
        }
        *response.extensions_mut() = extensions;
        response
    }
}

impl<B: From<Bytes>> From<Refusal> for http::Response<B> {
    fn from(refusal: Refusal) -> Self {
        let status = refusal.status();
        let body = json(&RefusalBody { error: &refusal.public_message() });
        let retry_after =
            (status == StatusCode::SERVICE_UNAVAILABLE).then_some(DEFAULT_RETRY_AFTER);
        let mut response = response(status, body, retry_after);
        if let Refusal::MethodNotAllowed(_) = refusal {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response.extensions_mut().insert(refusal);
        response
    }
}

fn response<B: From<Bytes>>(
    status: StatusCode,
    body: Bytes,
    retry_after: Option<Duration>,
) -> http::Response<B> {
    let mut response = http::Response::new(B::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(delay) = retry_after {
        // Whole seconds, rounded up so that the sender does not retry too early.
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

#[derive(Serialize)]
struct RefusalBody<'r> {
    error: &'r str,
}

/// The JSON of a report: only names and outcomes. Errors are written to the log, not to the sender.
#[derive(Serialize)]
struct ReportBody<'r> {
    event: &'r str,
    outcome: &'static str,
    #[serde(serialize_with = "handler_outcomes")]
    handlers: &'r [HandlerReport],
}

fn handler_outcomes<S: Serializer>(
    handlers: &&[HandlerReport],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Body<'r> {
        name: &'r str,
        outcome: &'static str,
    }
    serializer.collect_seq(
        handlers.iter().map(|handler| Body { name: handler.name(), outcome: handler.outcome() }),
    )
}

impl<'r> ReportBody<'r> {
    fn new(report: &'r Report) -> Self {
        Self { event: report.event().id(), outcome: report.outcome(), handlers: report.handlers() }
    }
}

fn json(body: &impl Serialize) -> Bytes {
    // A body that fits the stack buffer is allocated once, at its exact size.
    let mut buffer = [0; STACK_BUFFER_BYTES];
    let mut rest = &mut buffer[..];
    if serde_json::to_writer(&mut rest, body).is_ok() {
        let length = STACK_BUFFER_BYTES - rest.len();
        return Bytes::copy_from_slice(&buffer[..length]);
    }
    // Our own types always serialize. If a user's type fails to, the event must not fail for it.
    let serialized = serde_json::to_vec(body).unwrap_or_else(|error| {
        tracing::error!(
            error = %ErrorChain::new(&error),
            "failed to serialize the body of an answer; the response has the answer's status and the body {{}}"
        );
        b"{}".to_vec()
    });
    serialized.into()
}
