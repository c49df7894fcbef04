//! The interfaces of an endpoint: the provider of secrets, the inner service, and `receive` for
//! servers with their own request types.

use std::{
    cell::Cell,
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, request::Parts};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use router_core::{
    BoxError, Endpoint, Event, Router, Secrets,
    endpoint::{Answer, EventService, FullBody, Refusal, SecretProvider},
    testing::ManualClock,
};
use router_tests::{now, payload, secret, signature};
use tower::{Service, service_fn};

use router_tests::exchange::{post, read, send};

const PAID: &str = "invoice.paid";

fn endpoint<S: EventService>(inner: S) -> Endpoint<S> {
    Endpoint::new(secret(), inner).clock(ManualClock::at(now()))
}

fn retry_after(response: &Response<String>) -> Option<&HeaderValue> {
    response.headers().get("retry-after")
}

/// A provider that knows one tenant, at `/webhook`. It fails for `/down`, has no secrets for
/// `/empty`, and never answers for `/slow`.
struct Tenants;

impl SecretProvider for Tenants {
    async fn secrets(&self, request: &Parts) -> Result<Option<Secrets>, BoxError> {
        match request.uri.path() {
            "/webhook" => Ok(Some(secret().into())),
            "/empty" => Ok(Some(Secrets::from_iter([]))),
            "/slow" => std::future::pending().await,
            "/down" => Err("password of the vault refused".into()),
            _ => Ok(None),
        }
    }
}

#[tokio::test]
async fn secret_provider_selects_secrets_by_request() {
    let inner = service_fn(async |_: Event| Ok::<_, BoxError>(Answer::accepted(&"stored")));
    let endpoint = Endpoint::with_provider(Tenants, inner).clock(ManualClock::at(now()));
    let rows = [
        ("/webhook", 200, r#""stored""#, None),
        ("/elsewhere", 404, r#"{"error":"not found"}"#, None),
        ("/down", 503, r#"{"error":"try again later"}"#, Some("10")),
    ];
    for (path, status, body, wait) in rows {
        let mut request = post(payload(PAID));
        *request.uri_mut() = path.parse().unwrap();
        let response = send(endpoint.clone(), request).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.body(), body);
        assert_eq!(retry_after(&response), wait.map(HeaderValue::from_static).as_ref());
        match (path, response.extensions().get()) {
            ("/webhook", None) | ("/elsewhere", Some(Refusal::UnknownEndpoint)) => {}
            ("/down", Some(Refusal::SecretsUnavailable(error))) => {
                assert_eq!(error.to_string(), "password of the vault refused");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Returns the text of a `SecretsUnavailable`, which the answer does not contain.
fn lookup_error(response: &Response<String>) -> String {
    assert_eq!(response.status(), 503);
    assert_eq!(retry_after(response), Some(&HeaderValue::from_static("10")));
    assert_eq!(response.body(), r#"{"error":"try again later"}"#);
    match response.extensions().get() {
        Some(refusal @ Refusal::SecretsUnavailable(_)) => refusal.to_string(),
        other => panic!("{other:?}"),
    }
}

fn post_to(path: &str) -> Request<Full<Bytes>> {
    let mut request = post(payload(PAID));
    *request.uri_mut() = path.parse().expect("path is valid");
    request
}

#[tokio::test]
async fn endpoint_without_secrets_is_answered_with_503() {
    let tenants = Endpoint::with_provider(Tenants, Untouchable).clock(ManualClock::at(now()));
    let fixed = Endpoint::new(Secrets::from_iter([]), Untouchable).clock(ManualClock::at(now()));
    let body = Bytes::from(payload(PAID));
    for response in [
        send(tenants, post_to("/empty")).await,
        send(fixed.clone(), post_to("/webhook")).await,
        read(fixed.receive(Some(signature(&body).as_bytes()), body).await.map(FullBody::from))
            .await,
    ] {
        let error = lookup_error(&response);
        assert!(error.contains("there is no signing secret for this endpoint"), "{error}");
    }
}

#[tokio::test]
async fn slow_secret_provider_hits_the_timeout() {
    let clock = ManualClock::at(now());
    let endpoint = Endpoint::with_provider(Tenants, Untouchable).clock(clock.clone());
    let call = send(endpoint.timeout(Duration::from_secs(2)), post_to("/slow"));
    let time_passes = async {
        clock.wait_for_sleeper().await;
        clock.advance(Duration::from_secs(2));
    };
    let (response, ()) = tokio::join!(call, time_passes);
    let error = lookup_error(&response);
    assert!(
        error.ends_with("did not answer within 2s; `Endpoint::timeout` sets this limit"),
        "{error}"
    );
}

#[tokio::test]
async fn received_request_has_the_secrets_of_its_tenant() {
    let inner = service_fn(async |_: Event| Ok::<_, BoxError>(Answer::accepted(&"stored")));
    let clock = ManualClock::at(now());
    let endpoint = Endpoint::with_provider(Tenants, inner).clock(clock.clone());
    let request = |path: &str| {
        let body = Bytes::from(payload(PAID));
        let request = Request::post(path).header("stripe-signature", signature(&body));
        request.body(body).unwrap()
    };
    for (path, status) in [("/webhook", 200), ("/elsewhere", 404), ("/down", 503)] {
        let response =
            read(endpoint.receive_request(request(path)).await.map(FullBody::from)).await;
        assert_eq!(response.status(), status, "{path}");
    }
    let mut get = request("/webhook");
    *get.method_mut() = Method::GET;
    assert_eq!(endpoint.receive_request(get).await.status(), 405);

    // An hour in a queue does not count, only the time until the request was received.
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(endpoint.receive_request(request("/webhook")).await.status(), 400);
    for (seconds, status) in [(0, 200), (300, 200), (301, 400)] {
        let received_at = now() + Duration::from_secs(seconds);
        let response = endpoint.receive_at(request("/webhook"), received_at).await;
        assert_eq!(response.status(), status, "received after {seconds} s");
    }
}

#[tokio::test]
async fn failing_inner_service_is_answered_with_503() {
    let inner = service_fn(async |_: Event| Err::<Answer, BoxError>("the disk is full".into()));
    let response = send(endpoint(inner), post(payload(PAID))).await;
    assert_eq!(response.status(), 503);
    assert_eq!(retry_after(&response).unwrap(), "10");
    assert_eq!(response.body(), r#"{"error":"try again later"}"#);
    match response.extensions().get() {
        Some(Refusal::Unavailable(cause)) => assert_eq!(cause.to_string(), "the disk is full"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn inner_service_can_request_redelivery() {
    let answer = || Answer::retry(&"later", Some(Duration::from_secs(5)));
    let inner = service_fn(move |_: Event| ready(Ok::<_, BoxError>(answer())));
    let response = send(endpoint(inner), post(payload(PAID))).await;
    assert_eq!(response.status(), 500);
    assert_eq!(response.body(), r#""later""#);
    assert_eq!(retry_after(&response).unwrap(), "5");
}

/// An inner service that panics on any use.
#[derive(Clone)]
struct Untouchable;

impl Service<Event> for Untouchable {
    type Response = Answer;
    type Error = BoxError;
    type Future = Ready<Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        panic!("`poll_ready` was called")
    }

    fn call(&mut self, _: Event) -> Self::Future {
        panic!("`call` was called")
    }
}

#[tokio::test]
async fn refused_request_never_reaches_inner_service() {
    let unsigned = Request::post("/webhook").body(Full::new(Bytes::from(payload(PAID)))).unwrap();
    let too_large = post("x".repeat(2 << 20));
    let not_an_event = post("[]");
    let mut get = post(payload(PAID));
    *get.method_mut() = Method::GET;
    for (request, status) in [(unsigned, 400), (too_large, 413), (not_an_event, 400), (get, 405)] {
        assert_eq!(send(endpoint(Untouchable), request).await.status(), status);
    }
}

#[tokio::test]
async fn receive_gives_the_same_answers_as_the_service() {
    let body = Bytes::from(payload(PAID));
    let valid = signature(&body);
    // A router each, because the second copy of an event would be a duplicate.
    let router = || Router::builder().handler("shop", [PAID], async |_: Event| {}).build().unwrap();
    let endpoint = || endpoint(router()).body_limit(body.len());
    let too_long = Bytes::from([&*body, b" "].concat());
    let rows: [(Option<&[u8]>, Bytes, u16); 5] = [
        (Some(valid.as_bytes()), body.clone(), 200),
        (None, body.clone(), 400),
        (Some(b"\xff"), body.clone(), 400),
        (Some(valid.as_bytes()), too_long.clone(), 413),
        (None, too_long, 413),
    ];
    for (header, body, status) in rows {
        let mut request = Request::post("/webhook").body(Full::new(body.clone())).unwrap();
        if let Some(header) = header {
            let header = HeaderValue::from_bytes(header).unwrap();
            request.headers_mut().insert("stripe-signature", header);
        }
        let sent = send(endpoint(), request).await;
        assert_eq!(sent.status().as_u16(), status);
        let received = endpoint().receive(header, body.clone()).await;
        let streamed = endpoint().receive_body(header, Streamed::new(&body)).await;
        for response in [received, streamed] {
            assert_eq!(response.status(), sent.status());
            assert_eq!(sent.body().as_bytes(), response.body());
        }
    }
}

#[tokio::test]
async fn receive_body_limits_a_body_without_a_declared_length() {
    let body = payload(PAID);
    let header = signature(body.as_bytes());
    let endpoint = endpoint(Untouchable).body_limit(body.len() - 1);
    let body = Streamed { length: 0, ..Streamed::new(body.as_bytes()) };
    let response = endpoint.receive_body(Some(header.as_bytes()), body).await;
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn receive_body_refuses_a_body_that_stalls() {
    let clock = ManualClock::at(now());
    let endpoint = endpoint(Untouchable).clock(clock.clone()).body_timeout(Duration::from_secs(2));
    let body = payload(PAID);
    let header = signature(body.as_bytes());
    let call = endpoint.receive_body(Some(header.as_bytes()), Streamed::stalling(&body));
    let time_passes = async {
        clock.wait_for_sleeper().await;
        clock.advance(Duration::from_secs(2));
    };
    let (response, ()) = tokio::join!(call, time_passes);
    assert_eq!(response.status(), 408);
}

#[tokio::test]
async fn receive_body_answers_odd_bodies_like_the_service() {
    let body = payload(PAID);
    let header = signature(body.as_bytes());
    let (first, second) = body.split_at(body.len() / 2);
    let accept = service_fn(async |_: Event| Ok::<_, BoxError>(Answer::accepted(&"stored")));
    let endpoint = endpoint(accept).body_limit(body.len()).body_budget(body.len());
    for (status, frames) in [
        (200, &["", "wait", first, "", "wait", second, ""][..]),
        (200, &[first, second, "trailers"]),
        (413, &[first, "wait", second, "}"]),
        (400, &[first, "wait", "error"]),
        (400, &[first, "wait"]),
        (400, &[""]),
        // The budget is free again after each of them.
        (200, &[first, "wait", second]),
    ] {
        let request = Request::post("/webhook").header("stripe-signature", &header);
        let sent = send(endpoint.clone(), request.body(Odd::new(frames)).unwrap()).await;
        assert_eq!(sent.status(), status, "{}", sent.body());
        let received = endpoint.receive_body(Some(header.as_bytes()), Odd::new(frames)).await;
        assert_eq!(received.status(), status);
        assert_eq!(sent.body().as_bytes(), received.body());
        assert_eq!(sent.headers(), received.headers());
    }
}

/// A body of these frames, of which some are no data.
struct Odd(VecDeque<String>);

impl Odd {
    fn new(frames: &[&str]) -> Self {
        Self(frames.iter().map(ToString::to_string).collect())
    }
}

impl Body for Odd {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(frame) = self.0.pop_front() else { return Poll::Ready(None) };
        match &*frame {
            "wait" => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            "error" => Poll::Ready(Some(Err("connection reset".into()))),
            "trailers" => Poll::Ready(Some(Ok(Frame::trailers(http::HeaderMap::new())))),
            _ => Poll::Ready(Some(Ok(Frame::data(frame.into())))),
        }
    }
}

#[tokio::test]
async fn receive_body_reads_no_body_without_a_signature() {
    let endpoint = endpoint(Untouchable);
    let body = Streamed::new(b"{}");
    let was_read = body.was_read.clone();
    let response = endpoint.receive_body(None, body).await;
    assert_eq!((response.status().as_u16(), was_read.get()), (400, false));
}

/// A body in two frames. It is not `Send`, like that of actix-web.
struct Streamed {
    frames: VecDeque<Bytes>,
    /// The declared length, or 0.
    length: u64,
    stalls: bool,
    was_read: Rc<Cell<bool>>,
}

impl Streamed {
    fn new(body: &[u8]) -> Self {
        let (first, second) = body.split_at(body.len() / 2);
        let frames = [first, second].map(Bytes::copy_from_slice).into();
        Self { frames, length: body.len() as u64, stalls: false, was_read: Rc::default() }
    }

    /// Creates a body whose end never arrives.
    fn stalling(body: &str) -> Self {
        Self { stalls: true, ..Self::new(body.as_bytes()) }
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.was_read.set(true);
        match self.frames.pop_front() {
            None if self.stalls => Poll::Pending,
            frame => Poll::Ready(frame.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.length);
        hint
    }
}
