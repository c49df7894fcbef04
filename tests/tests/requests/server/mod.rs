//! The server, over real connections. Its timeouts use a clock that the test advances.

mod limits;
mod load;
mod requests;
mod shutdown;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use router_core::{
    Endpoint, Event, Router, handler::IntoHandler, server::Server, testing::ManualClock,
};
use router_tests::{now, signature};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
};

const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
const SHUTDOWN_GRACE: Duration = Duration::from_secs(25);

/// A running server.
struct Running {
    address: SocketAddr,
    router: Router,
    /// The clock of the endpoint, for the body timeout.
    body_clock: ManualClock,
    /// The clock of the server, for its timeouts and the grace period.
    clock: ManualClock,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Running {
    async fn start(handler: impl IntoHandler<(Event,)>) -> Self {
        Self::start_with(handler, |server| server).await
    }

    async fn start_with(
        handler: impl IntoHandler<(Event,)>,
        configure: impl FnOnce(Server<Endpoint<Router>>) -> Server<Endpoint<Router>>,
    ) -> Self {
        let router = Router::builder().handler("shop", ["invoice.paid"], handler).build();
        let router = router.expect("the router is valid");
        let body_clock = ManualClock::at(now());
        let clock = ManualClock::at(now());
        let endpoint =
            Endpoint::new(router_tests::secret(), router.clone()).clock(body_clock.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let (stop, stopped) = oneshot::channel();
        let server = Server::new(endpoint)
            .head_timeout(HEAD_TIMEOUT)
            .idle_timeout(IDLE_TIMEOUT)
            .write_timeout(WRITE_TIMEOUT)
            .shutdown_grace(SHUTDOWN_GRACE)
            .clock(clock.clone());
        let served = tokio::spawn(configure(server).serve(listener, async {
            stopped.await.expect("the test stops the server");
        }));
        Self { address, router, body_clock, clock, stop, served }
    }

    fn url(&self) -> String {
        format!("http://{}/webhook", self.address)
    }

    fn post(&self, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        signed(&self.url(), body)
    }

    /// Stops the server, and waits until all requests are answered and all handlers have finished.
    async fn stop(self) {
        self.stop.send(()).expect("the server is running");
        self.served.await.expect("the server does not panic");
        self.router.close();
        self.router.drained().await;
    }
}

fn signed(url: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let body = body.into();
    let request = Request::post(url).header("Stripe-Signature", signature(&body));
    request.body(Full::new(body)).expect("the request is valid")
}

fn client(http2: bool) -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).http2_only(http2).build_http()
}

/// Reads the response and returns its status and body.
async fn read(response: http::Response<hyper::body::Incoming>) -> (StatusCode, String) {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("the body is complete").to_bytes();
    (parts.status, String::from_utf8(body.into()).expect("the body is UTF-8"))
}

const DONE: &str =
    r#"{"event":"evt_1","outcome":"done","handlers":[{"name":"shop","outcome":"done"}]}"#;

/// Returns a call counter and the handler that increments it.
fn counting() -> (Arc<AtomicUsize>, impl IntoHandler<(Event,)>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let in_handler = calls.clone();
    let handler = move |_: Event| {
        in_handler.fetch_add(1, Ordering::Relaxed);
        std::future::ready(())
    };
    (calls, handler)
}

/// Returns a channel, a semaphore and a handler, which sends to the channel at its start and then
/// waits for a permit.
fn held() -> (mpsc::UnboundedReceiver<()>, Arc<Semaphore>, impl IntoHandler<(Event,)>) {
    let (started, starts) = mpsc::unbounded_channel();
    let permits = Arc::new(Semaphore::new(0));
    let in_handler = permits.clone();
    let handler = move |_: Event| {
        let (started, permits) = (started.clone(), in_handler.clone());
        async move {
            started.send(())?;
            permits.acquire().await?.forget();
            Ok::<_, router_core::Failure>(())
        }
    };
    (starts, permits, handler)
}
