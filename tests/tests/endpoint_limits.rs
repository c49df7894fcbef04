//! Bodies that are too large, too slow or broken, and services that are not ready. Every future is
//! polled by hand, so that nothing here waits.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, request::Builder};
use http_body::{Body, Frame, SizeHint};
use router_core::{
    Answer, BoxError, Endpoint, Event, Refusal, Router, SecretProvider, Secrets,
    testing::ManualClock,
};
use router_tests::{now, payload, secret, signature};
use tokio::sync::mpsc;
use tower::Service;

use crate::exchange::{post, send};

mod exchange;

const LIMIT: usize = 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);

fn endpoint() -> Endpoint<Router> {
    endpoint_at(&ManualClock::at(now()))
}

fn endpoint_at(clock: &ManualClock) -> Endpoint<Router> {
    let router = Router::builder().handler("shop", ["invoice.paid"], async |_: Event| {}).build();
    Endpoint::new(secret(), router.expect("it is correct")).clock(clock.clone())
}

fn signed(body: &[u8]) -> Builder {
    Request::post("/webhook").header("Stripe-Signature", signature(body))
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A body that must not be read.
struct Unread {
    lower: u64,
}

impl Body for Unread {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        panic!("the body was read")
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::default();
        hint.set_lower(self.lower);
        hint
    }
}

/// A body that comes as the test sends it, and does not know its length.
struct Sent(mpsc::UnboundedReceiver<Result<Bytes, BoxError>>);

impl Body for Sent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

fn sent() -> (mpsc::UnboundedSender<Result<Bytes, BoxError>>, Sent) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Sent(receiver))
}

#[tokio::test]
async fn a_body_that_says_that_it_is_too_large_is_refused_unread() {
    let header = signed(b"").header("Content-Length", LIMIT + 1).body(Unread { lower: 0 });
    let hint = signed(b"").body(Unread { lower: LIMIT as u64 + 1 });
    for request in [header, hint] {
        let response = send(endpoint(), request.unwrap()).await;
        assert_eq!(response.status(), 413);
        assert_eq!(response.body(), r#"{"error":"body too large"}"#);
        let refusal = response.extensions().get();
        assert!(matches!(refusal, Some(Refusal::TooLarge { limit: LIMIT })), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_while_it_is_read_whatever_its_length_says() {
    for length in [None, Some("5"), Some("-1"), Some("many")] {
        let (body, read) = sent();
        let mut request = signed(b"").body(read).unwrap();
        if let Some(length) = length {
            request.headers_mut().insert("content-length", length.parse().unwrap());
        }
        let call = send(endpoint(), request);
        let mut call = pin!(call);
        body.send(Ok(vec![b' '; LIMIT].into())).unwrap();
        assert!(poll(call.as_mut()).is_pending(), "the limit itself is allowed");
        body.send(Ok(" ".into())).unwrap();
        // The sender is still there: it was not waited for.
        let Poll::Ready(response) = poll(call.as_mut()) else {
            panic!("{length:?}: still reading")
        };
        assert_eq!(response.status(), 413, "{length:?}");
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_taken() {
    let body = payload("invoice.paid");
    let limited = |bytes| endpoint().body_limit(bytes);
    assert_eq!(send(limited(body.len()), post(body.clone())).await.status(), 200);
    assert_eq!(send(limited(body.len() - 1), post(body)).await.status(), 413);
}

#[tokio::test]
async fn a_body_in_pieces_is_the_body() {
    let body = payload("invoice.paid");
    let (pieces, read) = sent();
    for piece in body.as_bytes().chunks(7) {
        pieces.send(Ok(Bytes::copy_from_slice(piece))).unwrap();
    }
    drop(pieces);
    let request = signed(body.as_bytes()).body(read).unwrap();
    assert_eq!(send(endpoint(), request).await.status(), 200);
}

#[test]
fn a_body_that_stalls_is_cut() {
    let clock = ManualClock::at(now());
    let (_body, read) = sent();
    let mut call = pin!(send(endpoint_at(&clock), signed(b"").body(read).unwrap()));
    assert!(poll(call.as_mut()).is_pending());
    clock.advance(TIMEOUT - Duration::from_millis(1));
    assert!(poll(call.as_mut()).is_pending());
    clock.advance(Duration::from_millis(1));
    let Poll::Ready(response) = poll(call) else { panic!("still waiting") };
    assert_eq!(response.status(), 408);
    assert_eq!(response.body(), r#"{"error":"body read timeout"}"#);
    let refusal = response.extensions().get();
    assert!(matches!(refusal, Some(Refusal::BodyTimeout { limit: TIMEOUT })), "{refusal:?}");
}

#[test]
fn a_body_that_trickles_is_cut_too() {
    let clock = ManualClock::at(now());
    let (body, read) = sent();
    let mut call = pin!(send(endpoint_at(&clock), signed(b"").body(read).unwrap()));
    assert!(poll(call.as_mut()).is_pending());
    for _ in 0..9 {
        body.send(Ok(" ".into())).unwrap();
        clock.advance(Duration::from_secs(1));
        assert!(poll(call.as_mut()).is_pending());
    }
    body.send(Ok(" ".into())).unwrap();
    clock.advance(Duration::from_secs(1));
    let Poll::Ready(response) = poll(call) else { panic!("each byte buys more time") };
    assert_eq!(response.status(), 408);
}

#[test]
fn a_body_that_comes_in_time_is_taken_however_late() {
    let clock = ManualClock::at(now());
    let payload = payload("invoice.paid");
    let (body, read) = sent();
    let request = signed(payload.as_bytes()).body(read).unwrap();
    let mut call = pin!(send(endpoint_at(&clock), request));
    assert!(poll(call.as_mut()).is_pending());
    clock.advance(TIMEOUT - Duration::from_millis(1));
    body.send(Ok(payload.into())).unwrap();
    drop(body);
    let Poll::Ready(response) = poll(call) else { panic!("still waiting") };
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_body_that_breaks_is_refused() {
    // What did come is signed: it must not pass for the whole.
    let payload = payload("invoice.paid");
    let (body, read) = sent();
    body.send(Ok(payload.clone().into())).unwrap();
    body.send(Err("connection reset".into())).unwrap();
    let response = send(endpoint(), signed(payload.as_bytes()).body(read).unwrap()).await;
    assert_eq!(response.status(), 400);
    assert_eq!(response.body(), r#"{"error":"body could not be read"}"#);
    match response.extensions().get() {
        Some(Refusal::BodyRead(cause)) => assert_eq!(cause.to_string(), "connection reset"),
        other => panic!("{other:?}"),
    }
}

/// Has no endpoint anywhere.
struct Nowhere;

impl SecretProvider for Nowhere {
    async fn secrets(&self, _: &http::request::Parts) -> Result<Option<Secrets>, BoxError> {
        Ok(None)
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_for_us_is_refused_unread() {
    let inner = Router::builder().handler("shop", ["*"], async |_: Event| {}).build().unwrap();
    let nowhere = Endpoint::with_provider(Nowhere, inner);
    let request = signed(b"").body(Unread { lower: 0 }).unwrap();
    assert_eq!(send(nowhere, request).await.status(), 404);

    let mut get = signed(b"").body(Unread { lower: 0 }).unwrap();
    *get.method_mut() = http::Method::GET;
    assert_eq!(send(endpoint(), get).await.status(), 405);
}

/// Takes events once the test says so.
#[derive(Clone, Default)]
struct Busy {
    free: Arc<AtomicBool>,
    asked: bool,
}

impl Service<Event> for Busy {
    type Response = Answer;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.asked = self.free.load(Ordering::Relaxed);
        if self.asked { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, _: Event) -> Self::Future {
        assert!(self.asked, "called before it was ready");
        std::future::ready(Ok(Answer::accepted(&"stored")))
    }
}

#[test]
fn a_verified_event_waits_until_the_service_behind_the_endpoint_is_ready() {
    let busy = Busy::default();
    let endpoint = Endpoint::new(secret(), busy.clone()).clock(ManualClock::at(now()));

    // Meanwhile others are refused at once: they do not queue up.
    let Poll::Ready(refused) = poll(pin!(send(
        endpoint.clone(),
        Request::post("/webhook").body(http_body_util::Full::<Bytes>::default()).unwrap()
    ))) else {
        panic!("an unsigned request waits")
    };
    assert_eq!(refused.status(), 400);

    let mut call = pin!(send(endpoint, post(payload("invoice.paid"))));
    assert!(poll(call.as_mut()).is_pending());
    busy.free.store(true, Ordering::Relaxed);
    let Poll::Ready(response) = poll(call) else { panic!("still waiting") };
    assert_eq!(response.status(), 200);
}
