//! The internal server: the shop's page, metrics for Prometheus, and the routes for `event-router
//! doctor`.
//!
//! It has its own listener, because these must not be public like the webhook endpoint: the page
//! shows the data of customers, and the routes show the names and the source files of the handlers.
//! The listener of the webhook endpoint cannot serve them even on a loopback address, because a TLS
//! proxy or a tunnel on the same machine forwards requests from the internet to it.

use std::{convert::Infallible, error::Error, future::Future, net::SocketAddr, time::Duration};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE, request::Parts,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use router_core::{
    clock::{Clock as _, SystemClock},
    server::Server,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tower::service_fn;
use tracing::Instrument as _;

use crate::{backend::Backend, shop_page, shop_setup::Shop};

/// Histogram buckets in seconds. They range from a trivial handler to the default handler timeout
/// (20 s) and the longest request (30 s).
const BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0];

/// The interval at which recorded durations are moved into their buckets. It bounds memory while
/// nothing scrapes the metrics.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum number of connections. Few clients connect, and the process needs its file descriptors
/// for the webhook endpoint.
const MAX_CONNECTIONS: usize = 32;

/// The bound listener of the internal server, which serves nothing yet.
pub(crate) struct InternalListener {
    listener: TcpListener,
    metrics: PrometheusHandle,
}

/// The running internal server.
pub(crate) struct InternalServer {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl InternalListener {
    /// Opens the port and installs the metrics recorder. Call this before a router is built,
    /// because building a router registers the descriptions.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            format!(
                "cannot serve the shop's page and metrics on {address}: {error}; choose another \
                 address with `--internal-listen`"
            )
        })?;
        // Without buckets the exporter uses summaries, which cannot be aggregated over servers.
        let durations = Matcher::Suffix("_seconds".into());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(durations, &BUCKETS)?;
        Ok(Self { listener, metrics: builder.install_recorder()? })
    }

    /// Starts the server of the shop's page, the metrics and the routes.
    pub(crate) fn serve(self, backend: &Backend) -> Result<InternalServer, Box<dyn Error>> {
        let address = self.listener.local_addr()?;
        let routes = serde_json::to_string(&backend.routes)?;
        let content = Content { metrics: self.metrics, routes, shop: backend.shop.clone() };
        let (stop, stopped) = oneshot::channel();
        let server = serve(self.listener, content, async { drop(stopped.await) });
        // Distinguishes the log lines of this server from those of the webhook server.
        let task = tokio::spawn(server.instrument(tracing::info_span!("internal")));
        Ok(InternalServer { address, stop, task })
    }
}

impl InternalServer {
    /// Stops the server after it has answered the requests in flight.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "internal server task failed");
        }
    }
}

/// The content that the server serves.
#[derive(Clone)]
struct Content {
    metrics: PrometheusHandle,
    /// The routes, as JSON.
    routes: String,
    shop: Option<Shop>,
}

async fn serve(listener: TcpListener, content: Content, stopped: impl Future<Output = ()>) {
    let upkeep = {
        let metrics = content.metrics.clone();
        async move {
            loop {
                SystemClock.sleep(UPKEEP_INTERVAL).await;
                metrics.run_upkeep();
            }
        }
    };
    let service = service_fn(move |request: Request<_>| {
        let content = content.clone();
        async move { Ok::<_, Infallible>(content.answer(&request.into_parts().0).await) }
    });
    tokio::select! {
        () = Server::new(service).max_connections(MAX_CONNECTIONS).serve(listener, stopped) => {}
        () = upkeep => {}
    }
}

impl Content {
    async fn answer(&self, request: &Parts) -> Response<String> {
        if ![Method::GET, Method::HEAD].contains(&request.method) {
            return self.not_found();
        }
        match (request.uri.path(), &self.shop) {
            ("/metrics", _) => {
                text("text/plain; version=0.0.4; charset=utf-8", self.metrics.render())
            }
            ("/routes", _) => text("application/json", self.routes.clone()),
            ("/shop", Some(shop)) => shop_page::page(shop, request).await,
            ("/shop.css", Some(_)) => text("text/css; charset=utf-8", shop_page::STYLE.to_owned()),
            _ => self.not_found(),
        }
    }

    fn not_found(&self) -> Response<String> {
        let shop = if self.shop.is_some() { "the shop is at /shop, " } else { "" };
        let message = format!("not found; {shop}metrics are at /metrics, and routes at /routes\n");
        let mut response = text("text/plain; charset=utf-8", message);
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    }
}

fn text(content_type: &'static str, text: String) -> Response<String> {
    let mut response = Response::new(text);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
