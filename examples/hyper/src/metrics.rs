//! The internal server: metrics for Prometheus, and the routes for `event-router doctor`.
//!
//! It has its own listener, because neither is for everyone who can reach the webhook endpoint: the
//! routes show the names and the source files of the handlers.

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
    build::Routes,
    clock::{Clock as _, SystemClock},
    server::Server,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tower::service_fn;
use tracing::Instrument as _;

/// Histogram buckets in seconds. They range from a trivial handler to the default handler timeout
/// (20 s) and the longest request (30 s).
const BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0];

/// The interval at which recorded durations are moved into their buckets. It bounds memory while
/// nothing scrapes the metrics.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The bound listener of the metrics server, which serves nothing yet.
pub(crate) struct MetricsListener {
    listener: TcpListener,
    handle: PrometheusHandle,
}

/// The running metrics server.
pub(crate) struct Metrics {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl MetricsListener {
    /// Opens the port and installs the metrics recorder. Call this before a router is built,
    /// because building a router registers the descriptions.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            format!(
                "cannot serve metrics on {address}: {error}; choose another address with \
                 `--metrics-listen`"
            )
        })?;
        // Without buckets the exporter uses summaries, which cannot be aggregated over servers.
        let durations = Matcher::Suffix("_seconds".into());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(durations, &BUCKETS)?;
        Ok(Self { listener, handle: builder.install_recorder()? })
    }

    /// Starts the server of the metrics and of the routes.
    pub(crate) fn serve(self, routes: &Routes) -> Result<Metrics, Box<dyn Error>> {
        let address = self.listener.local_addr()?;
        let routes = serde_json::to_string(routes)?;
        let (stop, stopped) = oneshot::channel();
        let server = serve(self.listener, self.handle, routes, async { drop(stopped.await) });
        // Distinguishes the log lines of this server from those of the webhook server.
        let task = tokio::spawn(server.instrument(tracing::info_span!("metrics")));
        Ok(Metrics { address, stop, task })
    }
}

impl Metrics {
    /// Stops the server after it has answered the requests in flight.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "metrics server task failed");
        }
    }
}

async fn serve(
    listener: TcpListener,
    handle: PrometheusHandle,
    routes: String,
    stopped: impl Future<Output = ()>,
) {
    let upkeep = {
        let handle = handle.clone();
        async move {
            loop {
                SystemClock.sleep(UPKEEP_INTERVAL).await;
                handle.run_upkeep();
            }
        }
    };
    let service = service_fn(move |request: Request<_>| {
        ready(Ok::<_, Infallible>(answer(&handle, &routes, request.method(), request.uri().path())))
    });
    tokio::select! {
        () = Server::new(service).serve(listener, stopped) => {}
        () = upkeep => {}
    }
}

fn answer(
    handle: &PrometheusHandle,
    routes: &str,
    method: &Method,
    path: &str,
) -> Response<String> {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    let (status, content_type, text) = match (method, path) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, TEXT, handle.render()),
        (&Method::GET | &Method::HEAD, "/routes") => {
            (StatusCode::OK, "application/json", routes.to_owned())
        }
        _ => {
            let text = "not found; metrics are at /metrics, and routes at /routes\n";
            (StatusCode::NOT_FOUND, TEXT, text.to_owned())
        }
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
