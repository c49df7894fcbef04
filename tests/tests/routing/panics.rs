//! A panic of the application's code is a failure of its handler, and ends no connection.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use router_core::{
    BoxError, Endpoint, Event, Failure, Router, Secrets, State,
    completions::{CompletionStore, HandlerProgress},
    dead_letters::{DeadLetter, DeadLetters},
    endpoint::SecretProvider,
    event::EventKey,
    handler::{HandlerResult, Report},
    on_event,
    server::Server,
    testing::ManualClock,
};
use router_tests::{
    bomb::{Fault, fail, fail_blocking},
    event,
    exchange::{post, send},
    now, payload, secret,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tower::{Service, ServiceExt as _};

const PAID: &str = "invoice.paid";

#[on_event("invoice.paid", name = "shop", exclusive, timeout = "20s")]
async fn inline(_: Event, fault: State<Fault>) -> HandlerResult {
    fail(*fault.0).await
}

#[on_event("invoice.paid", name = "shop", exclusive, blocking)]
fn blocking(_: Event, fault: State<Fault>) -> HandlerResult {
    fail_blocking(*fault.0)
}

/// Delivers an event of one object to the router, and advances the clock if the handler hangs.
async fn deliver(router: &Router, clock: &ManualClock, hangs: bool) -> Report {
    let event = event(payload(PAID)).expect("the payload is an event");
    let report = tokio::spawn(router.clone().oneshot(event));
    if hangs {
        clock.wait_for_sleeper().await;
        clock.advance(Duration::from_secs(20));
    }
    report.await.expect("the task does not panic").expect("the router is open")
}

#[tokio::test]
async fn panic_is_a_failure_and_releases_the_event_and_its_object() {
    let faults = Fault::ALL.into_iter().map(|fault| (fault, false));
    let in_thread = Fault::ALL.into_iter().filter(|fault| !fault.hangs());
    for (fault, is_blocking) in faults.chain(in_thread.map(|fault| (fault, true))) {
        let clock = ManualClock::at(now());
        let router = Router::builder().without_linked().state(fault).clock(clock.clone());
        let router = if is_blocking { router.add::<blocking>() } else { router.add::<inline>() };
        let router = router.build().unwrap();
        // The second delivery needs the same object's lock.
        for attempt in 1..=2 {
            let report = deliver(&router, &clock, fault.hangs()).await;
            let handler = report.handler("shop").unwrap();
            let failure = handler.result().unwrap_err();
            assert!(failure.to_string().contains(fault.message()), "{fault:?}: {failure}");
            assert!(!failure.is_permanent() && handler.attempts() == attempt, "{fault:?}");
        }
        router.close();
        router.drained().await;
    }
}

struct PanickingStore;

#[async_trait]
impl CompletionStore for PanickingStore {
    async fn load(&self, _: &EventKey) -> Result<Vec<HandlerProgress>, BoxError> {
        Ok(Vec::new())
    }

    async fn record(&self, _: &EventKey, _: HandlerProgress) -> Result<(), BoxError> {
        panic!("a bug in `record`")
    }
}

struct PanickingSink;

#[async_trait]
impl DeadLetters for PanickingSink {
    async fn store(&self, _: &DeadLetter<'_>) -> Result<(), BoxError> {
        panic!("a bug in the sink")
    }
}

#[tokio::test]
async fn panic_of_a_store_or_a_sink_is_its_error() {
    let permanent = async |_: Event| Err::<(), _>(Failure::permanent("no such order"));
    let router = Router::builder().without_linked().handler("shop", [PAID], permanent);
    let router = router.completions(PanickingStore).dead_letters(PanickingSink).build().unwrap();
    let report = router.clone().oneshot(event(payload(PAID)).unwrap()).await.unwrap();
    let failure = report.handler("shop").unwrap().result().unwrap_err().to_string();
    assert!(failure.ends_with("the dead-letter sink panicked: a bug in the sink"), "{failure}");
    router.close();
    router.drained().await;
}

/// A service that panics in the named method.
#[derive(Clone)]
struct PanickingService(&'static str);

impl Service<Event> for PanickingService {
    type Response = Report;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Report, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        assert!(self.0 != "poll_ready", "a bug in a layer");
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Event) -> Self::Future {
        panic!("a bug in a layer")
    }
}

#[tokio::test]
async fn panic_of_a_layer_is_answered_with_503() {
    for place in ["poll_ready", "call"] {
        let endpoint = Endpoint::new(secret(), PanickingService(place));
        let endpoint = endpoint.clock(ManualClock::at(now()));
        let response = send(endpoint, post(payload(PAID))).await;
        assert_eq!(response.status(), 503, "{place}");
    }
}

/// Panics for the first request.
#[derive(Default)]
struct PanickingProvider(AtomicBool);

impl SecretProvider for PanickingProvider {
    async fn secrets(&self, _: &Parts) -> Result<Option<Secrets>, BoxError> {
        assert!(self.0.swap(true, Ordering::Relaxed), "a bug in the secret provider");
        Ok(Some(secret().into()))
    }
}

/// The requests of an HTTP/1 client, or of one HTTP/2 connection, share a connection.
#[tokio::test]
async fn panic_of_a_handler_or_a_provider_ends_no_connection() {
    let router = Router::builder().without_linked().add::<inline>().state(Fault::PayloadDrop);
    let endpoint = Endpoint::with_provider(PanickingProvider::default(), router.build().unwrap());
    let endpoint = endpoint.clock(ManualClock::at(now()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::new(endpoint).serve(listener, async { drop(stopped.await) });
    let server = tokio::spawn(server);
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for expected in [503, 500, 500] {
        client.ready().await.unwrap();
        let mut request = post(payload(PAID));
        request.headers_mut().insert("host", "localhost".parse().unwrap());
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status(), expected);
        response.into_body().collect().await.unwrap();
    }
    drop(client);
    connection.await.unwrap().unwrap();
    drop(stop);
    server.await.unwrap();
}
