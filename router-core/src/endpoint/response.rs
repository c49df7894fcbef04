//! What Stripe is answered: the table from what became of an event to a response.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::Full;
use serde::{Serialize, Serializer};

use super::Refusal;
use crate::handler::{HandlerReport, Report};

/// The response of an [`Endpoint`](super::Endpoint): a status and one line of JSON, which Stripe's
/// dashboard shows to the operator.
pub type Response = http::Response<Full<Bytes>>;

/// How long Stripe is asked to wait where nobody said how long. (Stripe waits as long as it likes;
/// proxies and other senders may mind.)
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(10);

/// An answer of as many bytes is short.
const SHORT: usize = 512;

/// What a service of events has to say for Stripe. A service of your own between an
/// [`Endpoint`](super::Endpoint) and a [`Router`](crate::Router) answers with one, or with a
/// [`Report`].
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Bytes,
    report: Option<Report>,
}

impl Answer {
    /// 200: Stripe need not send this event again.
    ///
    /// `body` becomes the response's JSON, so it holds nothing secret.
    #[must_use]
    pub fn accepted(body: &impl Serialize) -> Self {
        Self { status: StatusCode::OK, retry_after: None, body: json(body), report: None }
    }

    /// 500: Stripe is to send this event again, after this time where it is known.
    #[must_use]
    pub fn retry(body: &impl Serialize, retry_after: Option<Duration>) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self { status, retry_after, body: json(body), report: None }
    }
}

impl From<Report> for Answer {
    fn from(report: Report) -> Self {
        let answer = match report.reply() {
            Some(json) => {
                Self { status: StatusCode::OK, retry_after: None, body: json.clone(), report: None }
            }
            None if report.needs_retry() => {
                Self::retry(&ReportBody::new(&report), report.retry_after())
            }
            None => Self::accepted(&ReportBody::new(&report)),
        };
        Self { report: Some(report), ..answer }
    }
}

impl From<Answer> for Response {
    fn from(Answer { status, retry_after, body, report }: Answer) -> Self {
        let mut response = response(status, body, retry_after);
        if let Some(report) = report {
            // Stripe reads a reply only if it says in which version it is written.
            let version = report.reply().and(report.event().api_version());
            if let Some(Ok(version)) = version.map(HeaderValue::from_str) {
                response.headers_mut().insert("stripe-version", version);
            }
            response.extensions_mut().insert(report);
        }
        response
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        let status = refusal.status();
        let body = json(&RefusalBody { error: &refusal.public() });
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

fn response(status: StatusCode, body: Bytes, retry_after: Option<Duration>) -> Response {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(wait) = retry_after {
        // Whole seconds, rounded up: not before the time is over.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

#[derive(Serialize)]
struct RefusalBody<'r> {
    error: &'r str,
}

/// Names and outcomes; what went wrong is for the log alone.
#[derive(Serialize)]
struct ReportBody<'r> {
    event: &'r str,
    outcome: &'static str,
    #[serde(serialize_with = "each_handler")]
    handlers: &'r [HandlerReport],
}

fn each_handler<S: Serializer>(
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
    // Nearly every answer is shorter, and is then copied once, into as many bytes as it has.
    let mut short = [0; SHORT];
    let mut rest = &mut short[..];
    if serde_json::to_writer(&mut rest, body).is_ok() {
        let length = SHORT - rest.len();
        return Bytes::copy_from_slice(&short[..length]);
    }
    // What we serialize ourselves cannot fail; what a user's type does wrong must not fail the event.
    serde_json::to_vec(body).unwrap_or_else(|_| b"{}".to_vec()).into()
}
