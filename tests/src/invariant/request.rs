//! Checks the answer to an arbitrary request.

use std::{
    future::ready,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
    vec,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use router_core::{
    BoxError, Endpoint, Event, Failure, Outcome, Router, Secrets,
    endpoint::{FullBody, Response},
    handler::HandlerResult,
    signature::{SignatureError, Tolerance, verify},
    testing::ManualClock,
};
use serde_json::Value;
use tower::Service as _;

use super::{is_authentic, lossy};
use crate::{now, secret};

const BODY_LIMIT: usize = 1024 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const UNVERIFIED: &str = "signature verification failed";

/// A request as the client sends it.
#[derive(Debug, Clone)]
pub struct RawRequest {
    /// The HTTP method.
    pub method: Method,
    /// The values of the `Stripe-Signature` headers.
    pub signatures: Vec<Vec<u8>>,
    /// The pieces of the body, in the order of arrival.
    pub pieces: Vec<Vec<u8>>,
    /// The end of the body, after the last piece.
    pub ending: Ending,
}

/// The end of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The body is complete.
    Whole,
    /// The connection fails.
    Broken,
    /// Nothing more arrives.
    Stalled,
}

/// Checks an endpoint's answer: its status matches the request, and its body is one line of JSON.
///
/// A body is handled, or refused as not an event, only if the signature is valid. It is refused for
/// its signature only if the signature is invalid.
pub fn check_request(sent: &RawRequest) {
    let body = sent.pieces.concat();
    let signature = sent.signatures.first().map(Vec::as_slice);
    let authentic = signature.is_some_and(|signature| is_authentic(signature, &body));
    let clock = ManualClock::at(now());
    let endpoint = || Endpoint::new(secret(), router()).clock(clock.clone());

    let received = match poll(&mut pin!(endpoint().receive(signature, body.clone().into()))) {
        Poll::Ready(response) => Answer::from_response(response.map(FullBody::from)),
        Poll::Pending => panic!("`receive` waits although the body is complete"),
    };
    match received.status.as_u16() {
        413 => assert!(body.len() > BODY_LIMIT),
        200 | 500 => {
            assert!(authentic, "handled without a valid signature: {received:?}");
            let event: Value = serde_json::from_slice(&body).unwrap_or_default();
            // serde_json cannot represent some events as a `Value`; then the id is not compared.
            assert!(event.is_null() || event["id"] == received.body["event"], "{received:?}");
        }
        400 if received.error() == UNVERIFIED => {
            assert!(!authentic, "refused although the signature is valid: {received:?}");
        }
        400 => {
            assert!(authentic, "a reason is given without a valid signature: {received:?}");
            let error = received.error();
            assert!(error.starts_with("the payload is not an event: "), "{received:?}");
        }
        _ => panic!("unexpected status: {received:?}"),
    }

    let Some(request) = sent.request() else { return };
    let mut call = endpoint().call(request);
    let answer = match poll(&mut call) {
        Poll::Ready(response) => {
            Answer::from_response(response.unwrap_or_else(|never| match never {}))
        }
        Poll::Pending => {
            clock.advance(BODY_TIMEOUT);
            let Poll::Ready(Ok(response)) = poll(&mut call) else {
                panic!("the call waits after the body timeout")
            };
            Answer::from_response(response)
        }
    };
    let status = answer.status.as_u16();
    if sent.method != Method::POST {
        assert_eq!(status, 405, "{answer:?}");
    } else if body.len() > BODY_LIMIT && (status == 413 || has_current_header(signature)) {
        assert_eq!(status, 413, "{answer:?}");
    } else if !has_current_header(signature) {
        // Refused before the body is read, however it ends.
        assert_eq!((status, answer.error()), (400, UNVERIFIED));
    } else {
        match sent.ending {
            Ending::Whole => assert_eq!(answer, received, "`call` and `receive` differ"),
            Ending::Broken => assert_eq!((status, answer.error()), (400, "body could not be read")),
            Ending::Stalled => assert_eq!(status, 408, "{answer:?}"),
        }
    }
}

/// Returns whether the header is well-formed and current, so that only the body can refute it.
fn has_current_header(header: Option<&[u8]>) -> bool {
    let no_secrets = Secrets::from_iter([]);
    let result = verify(header, Bytes::new(), &no_secrets, Tolerance::default(), now());
    matches!(result, Err(SignatureError::NoMatch { .. }))
}

/// Creates a router whose handler has every outcome except a panic, selected by the length of the
/// event type. Each request needs a new router, because a router deduplicates events.
fn router() -> Router {
    let handler = |event: Event| -> std::future::Ready<HandlerResult> {
        ready(match event.event_type().len() % 4 {
            0 => Ok(Outcome::Done),
            1 => Ok(Outcome::ignored("not ours")),
            2 => Err(Failure::permanent("never")),
            _ => Err(Failure::retry("not now")),
        })
    };
    let router = Router::builder().without_linked().handler("shop", ["*"], handler).build();
    router.expect("the handler is valid")
}

/// The status and the JSON body of a response.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: StatusCode,
    body: Value,
}

impl Answer {
    fn from_response(response: Response) -> Self {
        let status = response.status();
        let Poll::Ready(Ok(body)) = poll(&mut pin!(response.into_body().collect())) else {
            panic!("the response body is not complete")
        };
        let body = body.to_bytes();
        assert!(!body.contains(&b'\n') && !body.contains(&b'\r'), "{}", lossy(&body));
        let body = serde_json::from_slice(&body).expect("the response body is JSON");
        Self { status, body }
    }

    fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }
}

impl RawRequest {
    /// Returns the request, or `None` if a header has bytes that HTTP does not allow.
    fn request(&self) -> Option<Request<Pieces>> {
        let body = Pieces { remaining: self.pieces.clone().into_iter(), ending: self.ending };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        for signature in &self.signatures {
            let signature = HeaderValue::from_bytes(signature).ok()?;
            request.headers_mut().append("stripe-signature", signature);
        }
        Some(request)
    }
}

/// A body that arrives in pieces.
struct Pieces {
    remaining: vec::IntoIter<Vec<u8>>,
    ending: Ending,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match (self.remaining.next(), self.ending) {
            (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece.into())))),
            (None, Ending::Whole) => Poll::Ready(None),
            (None, Ending::Broken) => Poll::Ready(Some(Err("connection reset".into()))),
            (None, Ending::Stalled) => Poll::Pending,
        }
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}
