//! tower's own layers around the router and around the endpoint: what they limit, and what Stripe is
//! answered then.

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
use router_core::{BoxError, Endpoint, Event, Refusal, Router, testing::ManualClock};
use router_tests::{now, payload, payload_of, secret, signature};
use tokio::sync::mpsc;
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt as _, layer::layer_fn, load_shed::error::Overloaded,
    service_fn, timeout::error::Elapsed,
};
use tower_http::trace::TraceLayer;

use crate::{
    exchange::{post, send},
    held::Held,
};

mod exchange;
mod held;

const PAID: &str = "invoice.paid";

/// A router with one handler that the test holds.
fn held_router() -> (Router, Held, mpsc::UnboundedReceiver<&'static str>) {
    let (held, heard) = Held::new();
    let router = Router::builder().handler("held", ["*"], held.clone()).build();
    (router.expect("it has a handler"), held, heard)
}

/// Another event than [`payload`]'s: one that is handled already would be waited for.
fn another() -> String {
    payload_of("evt_2", PAID)
}

fn over<S>(inner: S) -> Endpoint<S> {
    Endpoint::new(secret(), inner).clock(ManualClock::at(now()))
}

/// A service of requests that never fails, of one with layers that do: as in the example.
fn never_failing<S, B>(
    service: S,
) -> impl Service<Request<B>, Response = router_core::Response, Error = Infallible> + Clone
where
    S: Service<Request<B>, Response = router_core::Response, Error = BoxError> + Clone,
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

/// Checks that Stripe is asked to send the event again, because of this error of a layer.
fn is_asked_for_again<E: std::error::Error + 'static>(response: &Response<String>) {
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "10");
    assert_eq!(response.body(), r#"{"error":"try again later"}"#);
    match response.extensions().get() {
        Some(Refusal::Unavailable(cause)) => assert!(cause.is::<E>(), "{cause}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_the_router_is_answered_with_503_and_the_handler_goes_on() {
    let (router, held, mut heard) = held_router();
    let events = ServiceBuilder::new().timeout(Duration::from_secs(5)).service(router.clone());
    let response = send(over(events), post(payload(PAID))).await;
    is_asked_for_again::<Elapsed>(&response);
    assert_eq!(heard.recv().await, Some("begun"));
    assert!(heard.is_empty(), "it is not done yet");

    held.release();
    router.close();
    router.drained().await;
    assert_eq!(heard.try_recv(), Ok("done"), "the handler was cut off");
}

#[tokio::test]
async fn a_second_event_waits_for_the_permit_of_the_first_and_is_then_handled() {
    let (router, held, mut heard) = held_router();
    let endpoint = over(ServiceBuilder::new().concurrency_limit(1).service(router));
    let mut first = pin!(send(endpoint.clone(), post(payload(PAID))));
    let mut second = pin!(send(endpoint, post(another())));
    // A handler begins in the very call, so that each poll shows whether it may.
    assert!(poll(first.as_mut()).is_pending());
    assert_eq!(heard.try_recv(), Ok("begun"));
    assert!(poll(second.as_mut()).is_pending());
    assert!(heard.is_empty(), "the second handler has begun beside the first");

    held.release();
    assert_eq!(first.await.status(), 200);
    assert_eq!(heard.try_recv(), Ok("done"));
    assert!(poll(second.as_mut()).is_pending());
    assert_eq!(heard.try_recv(), Ok("begun"));
    held.release();
    assert_eq!(second.await.status(), 200);
}

/// A body of which the rest never comes.
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

/// Requests that stall: one that nobody signed, and an authentic one whose body stops halfway.
fn stalled() -> [Request<HalfSent>; 2] {
    let body = Bytes::from(payload(PAID));
    let request = || Request::post("/webhook");
    let signed = request().header("stripe-signature", signature(&body));
    let half = body.slice(..body.len() / 2);
    let unsigned = request().body(HalfSent(None));
    [unsigned, signed.body(HalfSent(Some(half)))].map(|request| request.expect("it is a request"))
}

#[tokio::test]
async fn a_request_that_stalls_holds_no_permit_of_a_limit_around_the_router() {
    let router = Router::builder().handler("shop", [PAID], async |_: Event| {}).build().unwrap();
    let endpoint = over(ServiceBuilder::new().concurrency_limit(1).service(router));
    let mut calls = stalled().map(|request| Box::pin(send(endpoint.clone(), request)));
    for call in &mut calls {
        assert!(poll(call.as_mut()).is_pending());
    }
    let good = pin!(send(endpoint, post(payload(PAID))));
    let Poll::Ready(response) = poll(good) else { panic!("it waits for one that stalls") };
    assert_eq!(response.status(), 200);
    assert!(calls.iter_mut().all(|call| poll(call.as_mut()).is_pending()));
}

/// Why such a limit does not belong around the endpoint.
#[tokio::test]
async fn a_request_that_stalls_holds_a_permit_of_a_limit_around_the_endpoint() {
    for request in stalled() {
        let router = Router::builder().handler("shop", [PAID], async |_: Event| {}).build();
        let limited = ServiceBuilder::new().concurrency_limit(1).service(over(router.unwrap()));
        let mut call = Box::pin(send(limited.clone(), request));
        assert!(poll(call.as_mut()).is_pending());
        let mut good = pin!(send(limited, post(payload(PAID))));
        assert!(poll(good.as_mut()).is_pending());
        drop(call);
        assert_eq!(good.await.status(), 200);
    }
}

/// Sends two requests at once to a service that has one permit, and a third when it is free again.
async fn sheds<S>(service: S, held: &Held, heard: &mut mpsc::UnboundedReceiver<&'static str>)
where
    S: Service<Request<Full<Bytes>>, Response = router_core::Response>,
    S: Service<Request<Full<Bytes>>, Error = Infallible> + Clone,
{
    let mut first = pin!(send(service.clone(), post(payload(PAID))));
    assert!(poll(first.as_mut()).is_pending());
    let second = pin!(send(service.clone(), post(another())));
    let Poll::Ready(refused) = poll(second) else { panic!("it waits for the first") };
    is_asked_for_again::<Overloaded>(&refused);
    assert_eq!((heard.try_recv(), heard.is_empty()), (Ok("begun"), true));

    held.release();
    assert_eq!(first.await.status(), 200);
    held.release();
    assert_eq!(send(service, post(another())).await.status(), 200);
}

#[tokio::test]
async fn load_that_is_shed_around_the_router_is_answered_with_503_at_once() {
    let (router, held, mut heard) = held_router();
    let events = ServiceBuilder::new().load_shed().concurrency_limit(1).service(router);
    sheds(over(events), &held, &mut heard).await;
}

#[tokio::test]
async fn load_that_is_shed_around_the_endpoint_is_answered_with_503_at_once() {
    let (router, held, mut heard) = held_router();
    let requests = ServiceBuilder::new().load_shed().concurrency_limit(1).service(over(router));
    sheds(never_failing(requests), &held, &mut heard).await;
}

/// The limit counts answers that somebody waits for, not handlers.
#[tokio::test(start_paused = true)]
async fn a_call_that_timed_out_gives_its_permit_back_while_its_handler_goes_on() {
    let (router, held, mut heard) = held_router();
    let events = ServiceBuilder::new()
        .concurrency_limit(1)
        .timeout(Duration::from_secs(5))
        .service(router.clone());
    let endpoint = over(events);
    let mut first = pin!(send(endpoint.clone(), post(payload(PAID))));
    let mut second = pin!(send(endpoint, post(another())));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    assert_eq!((heard.try_recv(), heard.is_empty()), (Ok("begun"), true));
    is_asked_for_again::<Elapsed>(&first.await);
    is_asked_for_again::<Elapsed>(&second.await);
    assert_eq!((heard.try_recv(), heard.is_empty()), (Ok("begun"), true), "the first still runs");

    held.release();
    held.release();
    router.close();
    router.drained().await;
    assert_eq!([heard.try_recv(), heard.try_recv()], [Ok("done"), Ok("done")]);
}

/// A user's own layer around the router.
#[derive(Clone)]
struct Noted<S> {
    inner: S,
    types: Arc<Mutex<Vec<String>>>,
}

impl<S: Service<Event>> Service<Event> for Noted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, event: Event) -> S::Future {
        let mut types = self.types.lock().expect("nobody panics with it");
        types.push(event.event_type().to_owned());
        self.inner.call(event)
    }
}

#[tokio::test]
async fn a_trace_sees_each_request_outside_and_each_event_inside() {
    let router = Router::builder().handler("shop", [PAID], async |_: Event| {}).build().unwrap();
    let types = Arc::new(Mutex::new(Vec::new()));
    let noted = layer_fn(|inner| Noted { inner, types: types.clone() });
    let statuses = Arc::new(Mutex::new(Vec::new()));
    let seen = statuses.clone();
    let trace = TraceLayer::new_for_http().on_response(
        move |response: &router_core::Response, _: Duration, _: &tracing::Span| {
            seen.lock().unwrap().push(response.status().as_u16());
        },
    );
    let service = trace.layer(over(noted.layer(router)));
    let unsigned = Request::post("/webhook").body(Bytes::from(payload("charge.refunded")).into());
    for request in [post(payload(PAID)), unsigned.unwrap(), post(payload("invoice.voided"))] {
        drop(service.clone().oneshot(request).await.unwrap());
    }
    assert_eq!(*statuses.lock().unwrap(), [200, 400, 200]);
    assert_eq!(*types.lock().unwrap(), [PAID, "invoice.voided"]);
}
