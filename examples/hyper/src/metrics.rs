//! The metrics, as Prometheus fetches them. On a listener of their own: whoever can send events need not
//! see how many there are.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, ready},
    net::SocketAddr,
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use router_core::{
    clock::{Clock as _, SystemClock},
    server::Server,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tower::service_fn;
use tracing::Instrument as _;

/// In seconds. From a handler that only looks at the event to the longest that one may take by
/// default, and the longest that a request may.
const BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0];

/// How often recorded durations are put into their buckets, which keeps memory flat while nobody fetches.
const UPKEEP: Duration = Duration::from_secs(5);

/// The listener that metrics are fetched from.
pub(crate) struct Metrics {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Metrics {
    /// Counts from now on, and serves the numbers. To be started before a router is built, so that it
    /// gets the descriptions.
    pub(crate) async fn start(address: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            format!("cannot serve metrics on {address}: {error}; `--metrics-listen` takes another address")
        })?;
        let address = listener.local_addr()?;
        // Without buckets they would be summaries, which cannot be added up over several servers.
        let durations = Matcher::Suffix("_seconds".into());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(durations, &BUCKETS)?;
        let handle = builder.install_recorder()?;
        let (stop, stopped) = oneshot::channel();
        let served = serve(listener, handle, async { drop(stopped.await) });
        // Tells its log lines from those of the other server.
        let served = tokio::spawn(served.instrument(tracing::info_span!("metrics")));
        Ok(Self { address, stop, served })
    }

    /// Stops once the requests in flight are answered.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.served.await {
            tracing::error!(%error, "the metrics were no longer served");
        }
    }
}

async fn serve(listener: TcpListener, handle: PrometheusHandle, stopped: impl Future<Output = ()>) {
    let upkeep = {
        let handle = handle.clone();
        async move {
            loop {
                SystemClock.sleep(UPKEEP).await;
                handle.run_upkeep();
            }
        }
    };
    let service = service_fn(move |request: Request<_>| {
        ready(Ok::<_, Infallible>(answer(&handle, request.method(), request.uri().path())))
    });
    tokio::select! {
        () = Server::new(service).serve(listener, stopped) => {}
        () = upkeep => {}
    }
}

fn answer(handle: &PrometheusHandle, method: &Method, path: &str) -> Response<String> {
    let (status, text) = match (method, path) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, handle.render()),
        _ => (StatusCode::NOT_FOUND, "not found; the metrics are at /metrics\n".into()),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, format);
    response
}
