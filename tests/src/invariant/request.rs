//! A request, from its method to the last byte of the answer.

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
    BoxError, Endpoint, Event, Failure, HandlerResult, Outcome, Response, Router,
    testing::ManualClock,
};
use serde_json::Value;
use tower::Service as _;

use super::{is_proven, shown};
use crate::{now, secret};

const LIMIT: usize = 1024 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const UNSIGNED: &str = "signature verification failed";

/// A request as it comes from outside.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The method.
    pub method: Method,
    /// The value of each `Stripe-Signature` header.
    pub signatures: Vec<Vec<u8>>,
    /// The body, as it comes.
    pub pieces: Vec<Vec<u8>>,
    /// What comes after the last piece.
    pub ending: Ending,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Whole,
    /// With an error of the connection.
    Broken,
    /// Never.
    Stalled,
}

/// The answer has a status of the table, and for the reason that the table says; what is not signed
/// is no event, and what is signed is never told that it is not; the body is one line of JSON.
pub fn request_is_answered_by_the_rules(sent: &Sent) {
    let body = sent.pieces.concat();
    let signature = sent.signatures.first().map(Vec::as_slice);
    let proven = signature.is_some_and(|signature| is_proven(signature, &body));
    let clock = ManualClock::at(now());
    let endpoint = || Endpoint::new(secret(), router()).clock(clock.clone());

    let received = match poll(&mut pin!(endpoint().receive(signature, body.clone().into()))) {
        Poll::Ready(response) => Said::of(response),
        Poll::Pending => panic!("a body that is there is waited for"),
    };
    let as_event = |said: &Said| match said.status.as_u16() {
        413 => assert!(body.len() > LIMIT),
        200 | 500 => {
            assert!(proven, "not signed, and taken: {said:?}");
            let event: Value = serde_json::from_slice(&body).unwrap_or_default();
            // serde_json reads some events as no value: then there is nothing to compare.
            assert!(event.is_null() || event["id"] == said.body["event"], "{said:?}");
        }
        400 if said.error() == UNSIGNED => assert!(!proven, "signed, and refused: {said:?}"),
        400 => {
            assert!(proven, "not signed, and told: {said:?}");
            assert!(said.error().starts_with("the payload is not an event: "), "{said:?}");
        }
        _ => panic!("{said:?}"),
    };
    as_event(&received);

    let Some(request) = sent.request() else { return };
    let mut call = endpoint().call(request);
    let said = match poll(&mut call) {
        Poll::Ready(response) => Said::of(response.unwrap_or_else(|never| match never {})),
        Poll::Pending => {
            clock.advance(BODY_TIMEOUT);
            let Poll::Ready(Ok(response)) = poll(&mut call) else { panic!("still waiting") };
            Said::of(response)
        }
    };
    let status = said.status.as_u16();
    if sent.method != Method::POST {
        assert_eq!(status, 405, "{said:?}");
    } else if body.len() > LIMIT {
        assert_eq!(status, 413, "{said:?}");
    } else {
        match sent.ending {
            Ending::Whole => assert_eq!(said, received, "`receive` says something else"),
            Ending::Broken => assert_eq!((status, said.error()), (400, "body could not be read")),
            Ending::Stalled => assert_eq!(status, 408, "{said:?}"),
        }
    }
}

/// Its one handler ends in every way but a panic, by the length of the event's type. One for each
/// request, since a router remembers what it has had.
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
    router.expect("it is correct")
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    status: StatusCode,
    body: Value,
}

impl Said {
    fn of(response: Response) -> Self {
        let status = response.status();
        let Poll::Ready(Ok(body)) = poll(&mut pin!(response.into_body().collect())) else {
            panic!("an answer is there as a whole")
        };
        let body = body.to_bytes();
        assert!(!body.contains(&b'\n') && !body.contains(&b'\r'), "{}", shown(&body));
        let body = serde_json::from_slice(&body).expect("an answer is JSON");
        Self { status, body }
    }

    fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }
}

impl Sent {
    /// `None` where a header has bytes that HTTP does not let pass.
    fn request(&self) -> Option<Request<Pieces>> {
        let body = Pieces { left: self.pieces.clone().into_iter(), ending: self.ending };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        for signature in &self.signatures {
            let signature = HeaderValue::from_bytes(signature).ok()?;
            request.headers_mut().append("stripe-signature", signature);
        }
        Some(request)
    }
}

/// A body that comes piece by piece.
struct Pieces {
    left: vec::IntoIter<Vec<u8>>,
    ending: Ending,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match (self.left.next(), self.ending) {
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
