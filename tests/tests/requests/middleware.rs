//! Layers of tower and tower-http around the router and around the endpoint.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use router_core::{
    BoxError, Endpoint, Event, Router,
    endpoint::{EventService, Refusal},
    testing::ManualClock,
};
use router_tests::{
    exchange::{post, send},
    held::Held,
    now, payload, payload_with_id, secret, signature,
};
use tokio::sync::mpsc;
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt as _, layer::layer_fn, load_shed::error::Overloaded,
    service_fn, timeout::error::Elapsed,
};
use tower_http::trace::TraceLayer;

const PAID: &str = "invoice.paid";

/// Returns a router with one handler that waits until the test releases it.
fn held_router() -> (Router, Held, mpsc::UnboundedReceiver<&'static str>) {
    let (held, progress) = Held::new();
    let router = Router::builder().handler("held", ["*"], held.clone()).build();
    (router.expect("the router is valid"), held, progress)
}

/// Returns an event with another id than [`payload`], so that it is not a duplicate of it.
fn second_payload() -> String {
    payload_with_id("evt_2", PAID)
}

/// Returns an endpoint that passes its events to `inner`.
fn endpoint_around<S: EventService>(inner: S) -> Endpoint<S> {
    Endpoint::new(secret(), inner).clock(ManualClock::at(now()))
}

/// Turns the errors of layers around an endpoint into 503 responses, as a server requires.
fn infallible<S, B>(
    service: S,
) -> impl Service<Request<B>, Response = router_core::endpoint::Response, Error = Infallible> + Clone
where
    S: Service<Request<B>, Response = router_core::endpoint::Response, Error = BoxError> + Clone,
{
    service_fn(move |request| {
        let answer = service.clone().oneshot(request);
        async {
            let refused = |error: BoxError| Refusal::unavailable(error).into();
            Ok(answer.await.unwrap_or_else(refused))
        }
    })
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Asserts that the response asks Stripe to retry because a layer failed with an `E`.
fn assert_retry_is_requested<E: std::error::Error + 'static>(response: &Response<String>) {
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "10");
    assert_eq!(response.body(), r#"{"error":"try again later"}"#);
    match response.extensions().get() {
        Some(Refusal::Unavailable(cause)) => assert!(cause.is::<E>(), "{cause}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn router_timeout_answers_503_and_handler_continues() {
    let (router, held, mut progress) = held_router();
    let events = ServiceBuilder::new().timeout(Duration::from_secs(5)).service(router.clone());
    let response = send(endpoint_around(events), post(payload(PAID))).await;
    assert_retry_is_requested::<Elapsed>(&response);
    assert_eq!(progress.recv().await, Some("begun"));
    assert!(progress.is_empty(), "the handler finished too early");

    held.release();
    router.close();
    router.drained().await;
    assert_eq!(progress.try_recv(), Ok("done"), "the handler was canceled");
}

#[tokio::test]
async fn second_event_waits_for_the_concurrency_permit() {
    let (router, held, mut progress) = held_router();
    let endpoint = endpoint_around(ServiceBuilder::new().concurrency_limit(1).service(router));
    let mut first = pin!(send(endpoint.clone(), post(payload(PAID))));
    let mut second = pin!(send(endpoint, post(second_payload())));
    // The first poll of a call starts the handler if the call has a permit.
    assert!(poll(first.as_mut()).is_pending());
    assert_eq!(progress.try_recv(), Ok("begun"));
    assert!(poll(second.as_mut()).is_pending());
    assert!(progress.is_empty(), "the second handler started without a permit");

    held.release();
    assert_eq!(first.await.status(), 200);
    assert_eq!(progress.try_recv(), Ok("done"));
    assert!(poll(second.as_mut()).is_pending());
    assert_eq!(progress.try_recv(), Ok("begun"));
    held.release();
    assert_eq!(second.await.status(), 200);
}

/// A body that stalls after its first half, or at once if that is `None`.
struct HalfSent(Option<Bytes>);

impl Body for HalfSent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(half) => Poll::Ready(Some(Ok(Frame::data(half)))),
            None => Poll::Pending,
        }
    }
}

/// Returns a request with a forged signature and a signed one, both with a body that stalls.
fn stalled_requests() -> [Request<HalfSent>; 2] {
    let body = Bytes::from(payload(PAID));
    let request = || Request::post("/webhook");
    let signed = request().header("stripe-signature", signature(&body));
    let half = body.slice(..body.len() / 2);
    let forged = request().header("stripe-signature", signature(b"")).body(HalfSent(None));
    [forged, signed.body(HalfSent(Some(half)))]
        .map(|request| request.expect("the request is valid"))
}

#[tokio::test]
async fn stalled_request_holds_no_permit_of_router_limit() {
    let router = Router::builder().handler("shop", [PAID], async |_: Event| {}).build().unwrap();
    let endpoint = endpoint_around(ServiceBuilder::new().concurrency_limit(1).service(router));
    let mut calls = stalled_requests().map(|request| Box::pin(send(endpoint.clone(), request)));
    for call in &mut calls {
        assert!(poll(call.as_mut()).is_pending());
    }
    let good = pin!(send(endpoint, post(payload(PAID))));
    let Poll::Ready(response) = poll(good) else { panic!("the request waits for a stalled one") };
    assert_eq!(response.status(), 200);
    assert!(calls.iter_mut().all(|call| poll(call.as_mut()).is_pending()));
}

/// A concurrency limit belongs around the router. Around the endpoint, stalled clients hold its
/// permits.
#[tokio::test]
async fn stalled_request_holds_permit_of_endpoint_limit() {
    for request in stalled_requests() {
        let router = Router::builder().handler("shop", [PAID], async |_: Event| {}).build();
        let limited =
            ServiceBuilder::new().concurrency_limit(1).service(endpoint_around(router.unwrap()));
        let mut call = Box::pin(send(limited.clone(), request));
        assert!(poll(call.as_mut()).is_pending());
        let mut good = pin!(send(limited, post(payload(PAID))));
        assert!(poll(good.as_mut()).is_pending());
        drop(call);
        assert_eq!(good.await.status(), 200);
    }
}

/// Asserts that a service with one permit refuses a second request at once, and accepts it again
/// when the permit is free.
async fn assert_load_is_shed<S>(
    service: S,
    held: &Held,
    progress: &mut mpsc::UnboundedReceiver<&'static str>,
) where
    S: Service<Request<Full<Bytes>>, Response = router_core::endpoint::Response>,
    S: Service<Request<Full<Bytes>>, Error = Infallible> + Clone,
{
    let mut first = pin!(send(service.clone(), post(payload(PAID))));
    assert!(poll(first.as_mut()).is_pending());
    let second = pin!(send(service.clone(), post(second_payload())));
    let Poll::Ready(refused) = poll(second) else {
        panic!("the second request waits for the permit")
    };
    assert_retry_is_requested::<Overloaded>(&refused);
    assert_eq!((progress.try_recv(), progress.is_empty()), (Ok("begun"), true));

    held.release();
    assert_eq!(first.await.status(), 200);
    held.release();
    assert_eq!(send(service, post(second_payload())).await.status(), 200);
}

#[tokio::test]
async fn load_shed_around_router_answers_503_at_once() {
    let (router, held, mut progress) = held_router();
    let events = ServiceBuilder::new().load_shed().concurrency_limit(1).service(router);
    assert_load_is_shed(endpoint_around(events), &held, &mut progress).await;
}

#[tokio::test]
async fn load_shed_around_endpoint_answers_503_at_once() {
    let (router, held, mut progress) = held_router();
    let requests =
        ServiceBuilder::new().load_shed().concurrency_limit(1).service(endpoint_around(router));
    assert_load_is_shed(infallible(requests), &held, &mut progress).await;
}

/// A concurrency limit counts calls, not handlers: a handler continues after its call timed out.
#[tokio::test(start_paused = true)]
async fn timed_out_call_frees_permit_while_handler_runs() {
    let (router, held, mut progress) = held_router();
    let events = ServiceBuilder::new()
        .concurrency_limit(1)
        .timeout(Duration::from_secs(5))
        .service(router.clone());
    let endpoint = endpoint_around(events);
    let mut first = pin!(send(endpoint.clone(), post(payload(PAID))));
    let mut second = pin!(send(endpoint, post(second_payload())));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    assert_eq!((progress.try_recv(), progress.is_empty()), (Ok("begun"), true));
    assert_retry_is_requested::<Elapsed>(&first.await);
    assert_retry_is_requested::<Elapsed>(&second.await);
    assert_eq!(
        (progress.try_recv(), progress.is_empty()),
        (Ok("begun"), true),
        "the first handler ended, or the second did not start"
    );

    held.release();
    held.release();
    router.close();
    router.drained().await;
    assert_eq!([progress.try_recv(), progress.try_recv()], [Ok("done"), Ok("done")]);
}

/// A custom middleware around the router. Records the types of the events.
#[derive(Clone)]
struct RecordTypes<S> {
    inner: S,
    types: Arc<Mutex<Vec<String>>>,
}

impl<S: Service<Event>> Service<Event> for RecordTypes<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, event: Event) -> S::Future {
        let mut types = self.types.lock().expect("the lock is not poisoned");
        types.push(event.event_type().to_owned());
        self.inner.call(event)
    }
}

#[tokio::test]
async fn layers_see_requests_outside_and_events_inside() {
    let router = Router::builder().handler("shop", [PAID], async |_: Event| {}).build().unwrap();
    let types = Arc::new(Mutex::new(Vec::new()));
    let record_types = layer_fn(|inner| RecordTypes { inner, types: types.clone() });
    let statuses = Arc::new(Mutex::new(Vec::new()));
    let seen = statuses.clone();
    let trace = TraceLayer::new_for_http().on_response(
        move |response: &router_core::endpoint::Response, _: Duration, _: &tracing::Span| {
            seen.lock().unwrap().push(response.status().as_u16());
        },
    );
    let service = trace.layer(endpoint_around(record_types.layer(router)));
    let unsigned = Request::post("/webhook").body(Bytes::from(payload("charge.refunded")).into());
    for request in [post(payload(PAID)), unsigned.unwrap(), post(payload("invoice.voided"))] {
        drop(service.clone().oneshot(request).await.unwrap());
    }
    assert_eq!(*statuses.lock().unwrap(), [200, 400, 200]);
    assert_eq!(*types.lock().unwrap(), [PAID, "invoice.voided"]);
}
