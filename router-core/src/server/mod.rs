//! Serves an [`Endpoint`](crate::Endpoint) over HTTP/1 and HTTP/2 without TLS (h2c), with hyper.
//! For those who have no server yet; in an axum application, mount the endpoint there.
//!
//! ```no_run
//! use router_core::{Endpoint, Router, SigningSecret, server::{Server, shutdown_signal}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let router = Router::builder().build()?;
//! let endpoint = Endpoint::new(SigningSecret::from_env("STRIPE_WEBHOOK_SECRET")?, router.clone());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:4242").await?;
//!
//! Server::new(endpoint).serve(listener, shutdown_signal()?).await;
//!
//! // Handlers whose client hung up may still run.
//! router.close();
//! router.drained().await;
//! # Ok(())
//! # }
//! ```

mod connection;
mod signal;

use std::{convert::Infallible, future::Future, io, pin::pin, sync::Arc, time::Duration};

use http_body::Body;
use hyper::body::Incoming;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::{net::TcpListener, task::JoinSet};
use tower_service::Service;

pub use self::signal::shutdown_signal;
use crate::{
    clock::{Clock, SystemClock},
    handler::BoxError,
};

/// Serves a tower service of HTTP requests, such as an [`Endpoint`](crate::Endpoint), until it is
/// told to stop.
#[derive(Clone)]
pub struct Server<S> {
    service: S,
    header_timeout: Duration,
    shutdown_grace: Duration,
    clock: Arc<dyn Clock>,
}

impl<S> Server<S> {
    /// A server of this service.
    pub fn new(service: S) -> Self {
        Self {
            service,
            header_timeout: Duration::from_secs(75),
            shutdown_grace: Duration::from_secs(25),
            clock: Arc::new(SystemClock),
        }
    }

    /// How long a client may take to send the head of a request, and so how long a connection may
    /// stay idle between two; 75 s by default. Behind a load balancer it should be longer than the
    /// balancer's own idle timeout (often 60 s), or now and then a request is sent into a
    /// connection that is just being closed.
    #[must_use]
    pub fn header_timeout(self, header_timeout: Duration) -> Self {
        Self { header_timeout, ..self }
    }

    /// How long requests in flight may take to finish once the server is told to stop; 25 s by
    /// default, which is less than the 30 s after which Kubernetes kills.
    #[must_use]
    pub fn shutdown_grace(self, shutdown_grace: Duration) -> Self {
        Self { shutdown_grace, ..self }
    }

    /// Where time comes from; the machine's clock by default. (hyper's own timers use tokio's.)
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }
}

impl<S, B> Server<S>
where
    S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    /// Serves until `shutdown` is ready; then takes no more connections and no more requests, and
    /// returns once the requests in flight are answered or the
    /// [grace](Server::shutdown_grace) is over.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        // Dropped on return, it ends those that are left.
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        self.after_accept_error(&error).await;
                        continue;
                    }
                },
                Some(_) = connections.join_next() => continue,
                () = &mut shutdown => break,
            };
            connections.spawn(connection::serve(
                self.service.clone(),
                stream,
                self.header_timeout,
                graceful.watcher(),
                self.clock.clone(),
            ));
        }
        drop(listener);
        let open = graceful.count();
        tracing::info!(connections = open, grace = ?self.shutdown_grace, "shutting down");
        tokio::select! {
            () = graceful.shutdown() => tracing::info!("every request in flight was answered"),
            () = self.clock.sleep(self.shutdown_grace) => tracing::error!(
                "requests were still in flight after {:?} and were cut off; Stripe will send their \
                 events again",
                self.shutdown_grace
            ),
        }
    }

    /// Most errors concern one connection. A process that is out of file descriptors would fail at
    /// once again, so it waits until some connection has closed.
    async fn after_accept_error(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};

        if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
            tracing::error!(%error, "cannot accept a connection; trying again in 1 s");
            self.clock.sleep(Duration::from_secs(1)).await;
        }
    }
}
