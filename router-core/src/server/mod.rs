//! An HTTP server for an [`Endpoint`](crate::Endpoint), built on hyper: HTTP/1 and HTTP/2 without
//! TLS (h2c).
//!
//! Use it in a program that has no HTTP server yet. In an axum application, mount the endpoint
//! there instead.
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
//! // Handlers may still be running if their client disconnected.
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

/// An HTTP server for a tower service, such as an [`Endpoint`](crate::Endpoint), with graceful
/// shutdown.
#[derive(Clone)]
pub struct Server<S> {
    service: S,
    header_timeout: Duration,
    shutdown_grace: Duration,
    clock: Arc<dyn Clock>,
}

impl<S> Server<S> {
    /// Creates a server for this service.
    pub fn new(service: S) -> Self {
        Self {
            service,
            header_timeout: Duration::from_secs(75),
            shutdown_grace: Duration::from_secs(25),
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets the time that a client has to send the head of a request. It is also how long a
    /// connection may stay idle between two requests. Default: 75 s.
    ///
    /// Behind a load balancer it should be longer than the balancer's own idle timeout (often 60
    /// s). Otherwise the balancer occasionally sends a request on a connection that is being
    /// closed.
    #[must_use]
    pub fn header_timeout(self, header_timeout: Duration) -> Self {
        Self { header_timeout, ..self }
    }

    /// Sets the grace period: the time that requests in flight have to finish after shutdown
    /// begins. Default: 25 s, less than the 30 s after which Kubernetes kills a process.
    #[must_use]
    pub fn shutdown_grace(self, shutdown_grace: Duration) -> Self {
        Self { shutdown_grace, ..self }
    }

    /// Sets the source of time. Default: the machine's clock. hyper's own timers always use tokio's
    /// clock.
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
    /// Serves until `shutdown` is ready. Then accepts no more connections and no more requests, and
    /// returns once the requests in flight are answered or the
    /// [grace period](Server::shutdown_grace) is over.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        // Dropped on return, which aborts the connections that are left.
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        self.handle_accept_error(&error).await;
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
            () = graceful.shutdown() => tracing::info!("all requests in flight were answered"),
            () = self.clock.sleep(self.shutdown_grace) => tracing::error!(
                "aborted requests that were still in flight after {:?}; Stripe will send their \
                 events again",
                self.shutdown_grace
            ),
        }
    }

    /// Logs an error of `accept` and pauses, unless it concerns only one connection. A process that
    /// is out of file descriptors would otherwise fail again at once, in a busy loop, until a
    /// connection is closed.
    async fn handle_accept_error(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};

        if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
            tracing::error!(%error, "failed to accept a connection; retrying in 1 s");
            self.clock.sleep(Duration::from_secs(1)).await;
        }
    }
}
