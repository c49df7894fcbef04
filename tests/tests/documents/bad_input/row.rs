//! A row of the tables: an input and the answer that it must get.

use bytes::Bytes;
use http::{Request, header::HeaderValue};
use http_body_util::Full;
use router_core::{endpoint::Refusal, signature::SignatureError};
use tracing::Level;
use tracing_subscriber::filter::LevelFilter;

use super::{
    endpoints::{self, BoxEndpoint},
    wire::Wire,
};
use router_tests::{
    exchange::{post, send},
    logged::{log, logged},
};

/// A table of rows about one subject.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    /// The path of the source file that defines the rows.
    pub(crate) file: &'static str,
    pub(crate) intro: &'static str,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) input: Input,
    pub(crate) expected: Answer,
    /// The cause and the remedy, if the answer does not give them.
    pub(crate) note: &'static str,
}

pub(crate) enum Input {
    /// A request to an endpoint.
    Request(fn() -> BoxEndpoint, Box<Request<Full<Bytes>>>),
    /// Bytes over TCP to a server.
    Wire(Wire),
}

/// The observable result of an input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status code; `None` if the connection was closed without an answer.
    pub(crate) status: Option<u16>,
    /// The `error` or `outcome` of the body; empty if there is no body.
    pub(crate) message: String,
    /// The most severe level logged, if it is WARN or above.
    pub(crate) log_level: Option<Level>,
    /// The name of the error in the response's extensions, which are for the operator.
    pub(crate) reason: String,
}

/// Creates a row without an expected answer.
pub(crate) fn row(name: &'static str, description: &'static str, input: impl Into<Input>) -> Row {
    let expected =
        Answer { status: None, message: String::new(), log_level: None, reason: String::new() };
    Row { name, description, input: input.into(), expected, note: "" }
}

/// Creates a request with the given `Stripe-Signature` header.
pub(crate) fn post_with_header(
    header: impl AsRef<[u8]>,
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = post(body);
    let header = HeaderValue::from_bytes(header.as_ref()).expect("header value is valid in HTTP");
    request.headers_mut().insert("stripe-signature", header);
    request
}

impl Row {
    pub(crate) fn answer(mut self, status: u16, message: &str) -> Self {
        self.expected.status = Some(status);
        message.clone_into(&mut self.expected.message);
        self
    }

    pub(crate) fn log(mut self, level: Level) -> Self {
        self.expected.log_level = Some(level);
        self
    }

    /// Expects this error in the response's extensions.
    pub(crate) fn reason(mut self, reason: &str) -> Self {
        reason.clone_into(&mut self.expected.reason);
        self
    }

    pub(crate) fn accepted(self, outcome: &str) -> Self {
        self.answer(200, outcome)
    }

    /// Expects a refusal before the body is parsed. Only the log has the reason.
    pub(crate) fn unverified(self, error: &str) -> Self {
        self.answer(400, "signature verification failed").log(Level::WARN).reason(error)
    }

    /// Expects a refusal of an authentic body. It is logged as an error because the event is lost
    /// if Stripe's retries fail too.
    pub(crate) fn not_an_event(self, problem: &str) -> Self {
        let message = format!("the payload is not an event: {problem}");
        self.answer(400, &message).log(Level::ERROR).reason("Envelope")
    }

    pub(crate) fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    /// Sends the request to this endpoint instead of the default one.
    pub(crate) fn to(mut self, endpoint: fn() -> BoxEndpoint) -> Self {
        if let Input::Request(to, _) = &mut self.input {
            *to = endpoint;
        }
        self
    }
}

impl From<Request<Full<Bytes>>> for Input {
    fn from(request: Request<Full<Bytes>>) -> Self {
        Self::Request(endpoints::default, Box::new(request))
    }
}

impl Input {
    pub(crate) async fn send(self) -> Answer {
        let (endpoint, request) = match self {
            Self::Request(endpoint, request) => (endpoint(), *request),
            Self::Wire(wire) => return wire.send().await,
        };
        record_level();
        let response = send(endpoint, request).await;
        Answer {
            status: Some(response.status().as_u16()),
            message: message(response.body()),
            log_level: worst_level(),
            reason: response.extensions().get().map(reason).unwrap_or_default(),
        }
    }
}

/// Starts recording the log for [`worst_level`].
pub(crate) fn record_level() {
    log(LevelFilter::WARN);
    logged();
}

/// Returns the most severe level logged since [`record_level`]. A test's runtime stays on the
/// test's thread.
pub(crate) fn worst_level() -> Option<Level> {
    let log = logged();
    let is_logged =
        |level: &Level| log.lines().any(|line| line.trim_start().starts_with(level.as_str()));
    [Level::ERROR, Level::WARN].into_iter().find(is_logged)
}

/// Returns the `error` or `outcome` of an answer's JSON body.
pub(crate) fn message(body: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(body).expect("an answer's body is JSON");
    let message = body["error"].as_str().or(body["outcome"].as_str());
    message.expect("an answer has an error or an outcome").to_owned()
}

fn reason(refusal: &Refusal) -> String {
    let debug = match refusal {
        Refusal::Signature(error) => format!("{error:?}"),
        other => format!("{other:?}"),
    };
    let end = debug.find(|c: char| !c.is_alphanumeric()).unwrap_or(debug.len());
    debug[..end].to_owned()
}

/// Returns the name of the error's variant. Rows use it so that they cannot misspell the name.
pub(crate) fn variant_name(error: SignatureError) -> String {
    reason(&error.into())
}
