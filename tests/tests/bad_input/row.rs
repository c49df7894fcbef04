//! One input: how it is sent, and the answer that it gets.

use bytes::Bytes;
use http::{Request, header::HeaderValue};
use http_body_util::Full;
use router_core::{Refusal, signature::SignatureError};
use tracing::Level;

use crate::{
    endpoints::{self, Mounted},
    exchange::{post, send},
    log,
    wire::Wire,
};

/// Rows about one thing.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    /// The file in which the rows stand.
    pub(crate) file: &'static str,
    pub(crate) intro: &'static str,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) input: &'static str,
    pub(crate) sent: Sent,
    pub(crate) answer: Answer,
    /// What is wrong and what to do, where the answer does not say it.
    pub(crate) note: &'static str,
}

pub(crate) enum Sent {
    /// To an endpoint.
    Request(fn() -> Mounted, Box<Request<Full<Bytes>>>),
    /// To a server.
    Wire(Wire),
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// None where the connection was closed without an answer.
    pub(crate) status: Option<u16>,
    /// The body's `error` or `outcome`; empty where there is no body.
    pub(crate) says: String,
    /// What the log says at WARN or above: the worst level.
    pub(crate) log: Option<Level>,
    /// Which error the response carries in its extensions, for whoever runs the endpoint.
    pub(crate) reason: String,
}

/// A row, whose answer is yet to be said.
pub(crate) fn row(name: &'static str, input: &'static str, sent: impl Into<Sent>) -> Row {
    let answer = Answer { status: None, says: String::new(), log: None, reason: String::new() };
    Row { name, input, sent: sent.into(), answer, note: "" }
}

/// A request whose `Stripe-Signature` header is this.
pub(crate) fn post_with(header: impl AsRef<[u8]>, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = post(body);
    let header = HeaderValue::from_bytes(header.as_ref()).expect("it can be a header");
    request.headers_mut().insert("stripe-signature", header);
    request
}

impl Row {
    pub(crate) fn answer(mut self, status: u16, says: &str) -> Self {
        self.answer.status = Some(status);
        says.clone_into(&mut self.answer.says);
        self
    }

    pub(crate) fn log(mut self, level: Level) -> Self {
        self.answer.log = Some(level);
        self
    }

    /// Which error the response carries.
    pub(crate) fn reason(mut self, reason: &str) -> Self {
        reason.clone_into(&mut self.answer.reason);
        self
    }

    pub(crate) fn accepted(self, outcome: &str) -> Self {
        self.answer(200, outcome)
    }

    /// Refused without a look into the body; the log says why.
    pub(crate) fn unsigned(self, error: &str) -> Self {
        self.answer(400, "signature verification failed").log(Level::WARN).reason(error)
    }

    /// Refused although it is authentic: sooner or later an event is lost.
    pub(crate) fn no_event(self, problem: &str) -> Self {
        let says = format!("the payload is not an event: {problem}");
        self.answer(400, &says).log(Level::ERROR).reason("Envelope")
    }

    pub(crate) fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    /// The endpoint to which it is sent, where it is not the usual one.
    pub(crate) fn to(mut self, endpoint: fn() -> Mounted) -> Self {
        if let Sent::Request(to, _) = &mut self.sent {
            *to = endpoint;
        }
        self
    }
}

impl From<Request<Full<Bytes>>> for Sent {
    fn from(request: Request<Full<Bytes>>) -> Self {
        Self::Request(endpoints::usual, Box::new(request))
    }
}

impl Sent {
    pub(crate) async fn answer(self) -> Answer {
        let (endpoint, request) = match self {
            Self::Request(endpoint, request) => (endpoint(), *request),
            Self::Wire(wire) => return wire.answer().await,
        };
        log::forget();
        let response = send(endpoint, request).await;
        Answer {
            status: Some(response.status().as_u16()),
            says: says(response.body()),
            log: log::worst(),
            reason: response.extensions().get().map(reason).unwrap_or_default(),
        }
    }
}

/// What the JSON of an answer says to the sender.
pub(crate) fn says(body: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(body).expect("an answer is JSON");
    let says = body["error"].as_str().or(body["outcome"].as_str());
    says.expect("an answer says what became of it").to_owned()
}

fn reason(refusal: &Refusal) -> String {
    let debug = match refusal {
        Refusal::Signature(error) => format!("{error:?}"),
        other => format!("{other:?}"),
    };
    let end = debug.find(|c: char| !c.is_alphanumeric()).unwrap_or(debug.len());
    debug[..end].to_owned()
}

/// The name of a variant, so that a row cannot misspell it.
pub(crate) fn name_of(error: SignatureError) -> String {
    reason(&error.into())
}
