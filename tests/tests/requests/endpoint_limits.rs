//! Bodies that are too large, too slow or broken, and inner services that are not ready. The tests
//! poll by hand and use a manual clock, so none of them sleeps.

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
use http::{Request, Response, request::Builder};
use http_body::{Body, Frame, SizeHint};
use router_core::{
    BoxError, Endpoint, Event, Router, Secrets,
    endpoint::{Answer, Refusal, SecretProvider},
    signature::{Tolerance, sign},
    testing::ManualClock,
};
use router_tests::{NOW, now, payload, secret, signature};
use tokio::sync::mpsc;
use tower::Service;

use router_tests::exchange::{post, send};

const LIMIT: usize = 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);

fn endpoint() -> Endpoint<Router> {
    endpoint_with_clock(&ManualClock::at(now()))
}

fn endpoint_with_clock(clock: &ManualClock) -> Endpoint<Router> {
    let router = Router::builder().handler("shop", ["invoice.paid"], async |_: Event| {}).build();
    Endpoint::new(secret(), router.expect("the router is valid")).clock(clock.clone())
}

fn signed_request(body: &[u8]) -> Builder {
    Request::post("/webhook").header("Stripe-Signature", signature(body))
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A body that panics if it is read.
struct UnreadBody {
    /// The lower bound of the size hint.
    lower: u64,
}

impl Body for UnreadBody {
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

/// A body of unknown length whose chunks the test sends.
struct ChannelBody(mpsc::UnboundedReceiver<Result<Bytes, BoxError>>);

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

fn channel_body() -> (mpsc::UnboundedSender<Result<Bytes, BoxError>>, ChannelBody) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, ChannelBody(receiver))
}

#[tokio::test]
async fn declared_length_over_limit_is_refused_unread() {
    let header =
        signed_request(b"").header("Content-Length", LIMIT + 1).body(UnreadBody { lower: 0 });
    let hint = signed_request(b"").body(UnreadBody { lower: LIMIT as u64 + 1 });
    for request in [header, hint] {
        let response = send(endpoint(), request.unwrap()).await;
        assert_eq!(response.status(), 413);
        assert_eq!(response.body(), r#"{"error":"body too large"}"#);
        let refusal = response.extensions().get();
        assert!(matches!(refusal, Some(Refusal::TooLarge { limit: LIMIT })), "{refusal:?}");
    }
}

#[tokio::test]
async fn request_without_current_signature_is_refused_unread() {
    let old = sign(&secret(), NOW - 301, b"{}");
    let ahead = sign(&secret(), NOW + 61, b"{}");
    let limited = endpoint().tolerance(Tolerance::default().max_ahead(Duration::from_secs(60)));
    for header in [None, Some("nonsense"), Some("t=1,v1=abc"), Some(&*old), Some(&*ahead)] {
        let mut request = Request::post("/webhook").body(UnreadBody { lower: 0 }).unwrap();
        if let Some(header) = header {
            request.headers_mut().insert("stripe-signature", header.parse().unwrap());
        }
        let response = send(limited.clone(), request).await;
        assert_eq!(response.status(), 400, "{header:?}");
        assert_eq!(response.body(), r#"{"error":"signature verification failed"}"#);
    }
}

#[tokio::test]
async fn body_over_limit_is_refused_while_reading() {
    for length in [None, Some("5"), Some("-1"), Some("many")] {
        let (sender, body) = channel_body();
        let mut request = signed_request(b"").body(body).unwrap();
        if let Some(length) = length {
            request.headers_mut().insert("content-length", length.parse().unwrap());
        }
        let mut call = pin!(send(endpoint(), request));
        sender.send(Ok(vec![b' '; LIMIT].into())).unwrap();
        assert!(poll(call.as_mut()).is_pending(), "a body of exactly the limit is refused");
        sender.send(Ok(" ".into())).unwrap();
        // The sender is still open, so the endpoint does not wait for the end of the body.
        let Poll::Ready(response) = poll(call.as_mut()) else {
            panic!("{length:?}: still reading")
        };
        assert_eq!(response.status(), 413, "{length:?}");
    }
}

#[tokio::test]
async fn body_of_exactly_the_limit_is_accepted() {
    let body = payload("invoice.paid");
    let limited = |bytes| endpoint().body_limit(bytes);
    assert_eq!(send(limited(body.len()), post(body.clone())).await.status(), 200);
    assert_eq!(send(limited(body.len() - 1), post(body)).await.status(), 413);
}

#[tokio::test]
async fn body_in_chunks_is_accepted() {
    let payload = payload("invoice.paid");
    let (sender, body) = channel_body();
    for chunk in payload.as_bytes().chunks(7) {
        sender.send(Ok(Bytes::copy_from_slice(chunk))).unwrap();
    }
    drop(sender);
    let request = signed_request(payload.as_bytes()).body(body).unwrap();
    assert_eq!(send(endpoint(), request).await.status(), 200);
}

#[test]
fn stalled_body_times_out() {
    let clock = ManualClock::at(now());
    let (_sender, body) = channel_body();
    let mut call = pin!(send(endpoint_with_clock(&clock), signed_request(b"").body(body).unwrap()));
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
fn trickling_body_times_out() {
    let clock = ManualClock::at(now());
    let (sender, body) = channel_body();
    let mut call = pin!(send(endpoint_with_clock(&clock), signed_request(b"").body(body).unwrap()));
    assert!(poll(call.as_mut()).is_pending());
    for _ in 0..9 {
        sender.send(Ok(" ".into())).unwrap();
        clock.advance(Duration::from_secs(1));
        assert!(poll(call.as_mut()).is_pending());
    }
    sender.send(Ok(" ".into())).unwrap();
    clock.advance(Duration::from_secs(1));
    let Poll::Ready(response) = poll(call) else { panic!("each byte extends the timeout") };
    assert_eq!(response.status(), 408);
}

#[test]
fn body_just_before_the_timeout_is_accepted() {
    let clock = ManualClock::at(now());
    let payload = payload("invoice.paid");
    let (sender, body) = channel_body();
    let request = signed_request(payload.as_bytes()).body(body).unwrap();
    let mut call = pin!(send(endpoint_with_clock(&clock), request));
    assert!(poll(call.as_mut()).is_pending());
    clock.advance(TIMEOUT - Duration::from_millis(1));
    sender.send(Ok(payload.into())).unwrap();
    drop(sender);
    let Poll::Ready(response) = poll(call) else { panic!("still waiting") };
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn body_read_error_is_refused() {
    // The bytes before the error have a valid signature, but may not be the whole body.
    let payload = payload("invoice.paid");
    let (sender, body) = channel_body();
    sender.send(Ok(payload.clone().into())).unwrap();
    sender.send(Err("connection reset".into())).unwrap();
    let response = send(endpoint(), signed_request(payload.as_bytes()).body(body).unwrap()).await;
    assert_eq!(response.status(), 400);
    assert_eq!(response.body(), r#"{"error":"body could not be read"}"#);
    match response.extensions().get() {
        Some(Refusal::BodyRead(cause)) => assert_eq!(cause.to_string(), "connection reset"),
        other => panic!("{other:?}"),
    }
}

/// Sends a body of which the first `bytes` have arrived. Returns the sender of the rest, and the
/// call.
fn send_partial(
    endpoint: Endpoint<Router>,
    bytes: usize,
) -> (mpsc::UnboundedSender<Result<Bytes, BoxError>>, impl Future<Output = Response<String>>) {
    let (sender, body) = channel_body();
    sender.send(Ok(vec![b' '; bytes].into())).expect("the body exists");
    let request = signed_request(b"").body(body).expect("the request is valid");
    (sender, send(endpoint, request))
}

#[test]
fn unfinished_bodies_share_a_budget() {
    let endpoint = endpoint().body_budget(10_000);
    let (_first_sender, first) = send_partial(endpoint.clone(), 6_000);
    let mut first = pin!(first);
    assert!(poll(first.as_mut()).is_pending());

    // Setting something else keeps the budget. The newer body displaces the older one.
    let clone = endpoint.clone().timeout(Duration::from_secs(1));
    let (second_sender, second) = send_partial(clone, 6_000);
    let mut second = pin!(second);
    assert!(poll(second.as_mut()).is_pending());
    let Poll::Ready(response) = poll(first) else { panic!("the bodies exceed the budget") };
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "10");
    assert_eq!(response.body(), r#"{"error":"try again later"}"#);
    let refusal = response.extensions().get();
    assert!(matches!(refusal, Some(Refusal::BodyBudget { limit: 10_000 })), "{refusal:?}");

    // A body that is there at once needs no budget.
    let large = payload("invoice.paid") + &" ".repeat(20_000);
    let Poll::Ready(response) = poll(pin!(send(endpoint.clone(), post(large)))) else {
        panic!("the body is complete")
    };
    assert_eq!(response.status(), 200);

    // The refused body does not count any more, and a body that exceeds the whole budget displaces
    // no other.
    let (_third_sender, third) = send_partial(endpoint.clone(), 4_000);
    let mut third = pin!(third);
    assert!(poll(third.as_mut()).is_pending());
    let (_large_sender, large) = send_partial(endpoint.clone(), 10_001);
    let Poll::Ready(response) = poll(pin!(large)) else { panic!("the body exceeds the budget") };
    assert_eq!(response.status(), 503);
    assert!(poll(second.as_mut()).is_pending());
    assert!(poll(third.as_mut()).is_pending());

    // A complete body does not count any more.
    drop(second_sender);
    let Poll::Ready(response) = poll(second) else { panic!("the body is complete") };
    assert_eq!(response.status(), 400);
    let (_fourth_sender, fourth) = send_partial(endpoint, 6_000);
    assert!(poll(pin!(fourth)).is_pending());
    assert!(poll(third).is_pending());
}

#[tokio::test]
async fn displaced_body_is_refused_while_its_sender_stalls() {
    let endpoint = endpoint().body_budget(10_000);
    let (_stalled_sender, stalled) = send_partial(endpoint.clone(), 10_000);
    let stalled = tokio::spawn(stalled);
    tokio::task::yield_now().await;
    let payload = payload("invoice.paid");
    let (sender, body) = channel_body();
    let event = send(endpoint, signed_request(payload.as_bytes()).body(body).unwrap());
    let (start, end) = payload.split_at(20);
    sender.send(Ok(start.to_owned().into())).unwrap();
    let event = tokio::spawn(event);
    // One yield runs the event's task, and another one the task that it wakes.
    for _ in 0..2 {
        tokio::task::yield_now().await;
    }
    assert!(stalled.is_finished(), "the displaced body was not woken");
    assert_eq!(stalled.await.unwrap().status(), 503);
    sender.send(Ok(end.to_owned().into())).unwrap();
    drop(sender);
    assert_eq!(event.await.unwrap().status(), 200);
}

#[test]
fn stalled_body_releases_its_budget_at_the_timeout() {
    let clock = ManualClock::at(now());
    let endpoint = endpoint_with_clock(&clock).body_budget(10_000);
    let (_stalled_sender, stalled) = send_partial(endpoint.clone(), 10_000);
    let mut stalled = pin!(stalled);
    assert!(poll(stalled.as_mut()).is_pending());
    clock.advance(TIMEOUT);
    assert!(poll(stalled).is_ready());
    let (_sender, next) = send_partial(endpoint, 10_000);
    assert!(poll(pin!(next)).is_pending());
}

#[test]
fn body_that_trickles_in_counts_with_its_buffer() {
    // The length that a sender declares is not reserved, and neither is much more than has arrived.
    let endpoint = endpoint().body_budget(1_000);
    for length in [None, Some("1000000")] {
        let (sender, body) = channel_body();
        let mut request = signed_request(b"").body(body).unwrap();
        if let Some(length) = length {
            request.headers_mut().insert("content-length", length.parse().unwrap());
        }
        let mut call = pin!(send(endpoint.clone(), request));
        for _ in 0..500 {
            sender.send(Ok(" ".into())).unwrap();
            assert!(poll(call.as_mut()).is_pending());
        }
    }
}

#[test]
fn head_is_freed_before_the_body_arrives() {
    let (sender, body) = channel_body();
    let payload = payload("invoice.paid");
    let mut request = signed_request(payload.as_bytes()).body(body).unwrap();
    // The extensions are part of the head.
    let head = Arc::new(());
    request.extensions_mut().insert(head.clone());
    let mut call = pin!(send(endpoint(), request));
    assert!(poll(call.as_mut()).is_pending());
    assert_eq!(Arc::strong_count(&head), 1);
    sender.send(Ok(payload.into())).unwrap();
    drop(sender);
    let Poll::Ready(response) = poll(call) else { panic!("the body is complete") };
    assert_eq!(response.status(), 200);
}

/// A provider that knows no endpoint.
struct NoEndpoints;

impl SecretProvider for NoEndpoints {
    async fn secrets(&self, _: &http::request::Parts) -> Result<Option<Secrets>, BoxError> {
        Ok(None)
    }
}

#[tokio::test]
async fn wrong_path_or_method_is_refused_unread() {
    let inner = Router::builder().handler("shop", ["*"], async |_: Event| {}).build().unwrap();
    let unknown = Endpoint::with_provider(NoEndpoints, inner);
    let request = signed_request(b"").body(UnreadBody { lower: 0 }).unwrap();
    assert_eq!(send(unknown, request).await.status(), 404);

    let mut get = signed_request(b"").body(UnreadBody { lower: 0 }).unwrap();
    *get.method_mut() = http::Method::GET;
    assert_eq!(send(endpoint(), get).await.status(), 405);
}

/// A service that becomes ready when the test sets `ready`.
#[derive(Clone, Default)]
struct Busy {
    ready: Arc<AtomicBool>,
    polled_ready: bool,
}

impl Service<Event> for Busy {
    type Response = Answer;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.polled_ready = self.ready.load(Ordering::Relaxed);
        if self.polled_ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, _: Event) -> Self::Future {
        assert!(self.polled_ready, "called before `poll_ready` returned ready");
        std::future::ready(Ok(Answer::accepted(&"stored")))
    }
}

#[test]
fn verified_event_waits_until_service_is_ready() {
    let busy = Busy::default();
    let endpoint = Endpoint::new(secret(), busy.clone()).clock(ManualClock::at(now()));

    // While the service is not ready, an invalid request is refused without waiting.
    let Poll::Ready(refused) = poll(pin!(send(
        endpoint.clone(),
        Request::post("/webhook").body(http_body_util::Full::<Bytes>::default()).unwrap()
    ))) else {
        panic!("an unsigned request waits")
    };
    assert_eq!(refused.status(), 400);

    let mut call = pin!(send(endpoint, post(payload("invoice.paid"))));
    assert!(poll(call.as_mut()).is_pending());
    busy.ready.store(true, Ordering::Relaxed);
    let Poll::Ready(response) = poll(call) else { panic!("still waiting") };
    assert_eq!(response.status(), 200);
}
