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
//!
//! # Limits
//!
//! Anyone can connect. A [`Server`] therefore limits the
//! [number of connections](Server::max_connections), the time for the
//! [first head](Server::head_timeout), the time [without a request](Server::idle_timeout), and the
//! time for which a client [does not read](Server::write_timeout). An HTTP/2 client can have 32
//! requests in flight on a connection. A head has at most 32 KiB in HTTP/1 and 8 KiB in HTTP/2.
//!
//! If you mount the endpoint in another server, set the same limits there, or in the proxy in front
//! of it. By default, hyper and axum limit only the size of a head and, to 200, the requests in
//! flight on an HTTP/2 connection. In hyper, set a timer and `header_read_timeout` for HTTP/1. For
//! HTTP/2, set a timer, `max_concurrent_streams`, `initial_connection_window_size` and
//! `keep_alive_interval`. Also limit the number of connections that you accept. The
//! [limits of bodies](crate::Endpoint#limits) are those of the endpoint, in every server.

mod activity;
mod connection;
mod connections;
mod limits;
mod signal;
mod stream;

use std::{convert::Infallible, fmt, future::Future, io, pin::pin, sync::Arc, time::Duration};

use http_body::Body;
pub use hyper::body::Incoming;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tower_service::Service;

pub use self::signal::{ShutdownSignal, shutdown_signal};
use self::{connections::Connections, limits::Limits};
use crate::{
    clock::{Clock, SystemClock},
    handler::BoxError,
};

/// An HTTP server for a tower service, such as an [`Endpoint`](crate::Endpoint), with graceful
/// shutdown.
#[derive(Clone)]
pub struct Server<S> {
    service: S,
    max_connections: usize,
    limits: Limits,
    shutdown_grace: Duration,
    clock: Arc<dyn Clock>,
}

impl<S> Server<S> {
    /// Creates a server for this service.
    pub fn new(service: S) -> Self {
        Self {
            service,
            max_connections: limits::MAX_CONNECTIONS,
            limits: Limits {
                head: Duration::from_secs(10),
                idle: Duration::from_secs(75),
                write: Duration::from_secs(10),
            },
            shutdown_grace: Duration::from_secs(25),
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets the maximum number of connections. Default: 1,024.
    ///
    /// If they are all in use, each new connection closes the one that has been idle for longest. A
    /// connection with a request in flight is not idle. If none is idle, a quarter of the
    /// connections is closed once their requests in flight are answered: those on which an
    /// [`Endpoint`](crate::Endpoint) has answered no authentic event for longest.
    ///
    /// Connections use at most half of the file descriptors that the process may open. The server
    /// raises the soft limit of descriptors for them, and serves fewer connections if the hard
    /// limit is too low.
    #[must_use]
    pub fn max_connections(self, max_connections: usize) -> Self {
        Self { max_connections: max_connections.max(1), ..self }
    }

    /// Sets the time that a client has to send the head of its first request. Default: 10 s.
    #[must_use]
    pub fn head_timeout(mut self, head_timeout: Duration) -> Self {
        self.limits.head = head_timeout;
        self
    }

    /// Sets the time for which a connection may stay idle: the time from an answer to the head of
    /// the next request. Default: 75 s. The body of an answer must be sent within this time too.
    ///
    /// Behind a load balancer, the time should be longer than the balancer's own idle timeout
    /// (often 60 s). Otherwise the balancer occasionally sends a request on a connection that is
    /// being closed.
    #[must_use]
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.limits.idle = idle_timeout;
        self
    }

    /// Sets the time after which the connection of a client that does not read is closed. Each byte
    /// that the client's TCP stack accepts restarts the time. Default: 10 s.
    #[must_use]
    pub fn write_timeout(mut self, write_timeout: Duration) -> Self {
        self.limits.write = write_timeout;
        self
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
    /// [grace period](Server::shutdown_grace) is over. A request counts as in flight once its head
    /// has arrived.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let max_connections = limits::allowed_connections(self.max_connections);
        // Dropped on return, which aborts the connections that are left.
        let mut connections = Connections::new(max_connections, self.clock.clone());
        let (shut_down, is_shutting_down) = watch::channel(false);
        let settings = connection::Settings {
            limits: self.limits,
            clock: self.clock.clone(),
            shutdown: is_shutting_down,
        };
        let mut shutdown = pin!(shutdown);
        loop {
            let stream = tokio::select! {
                stream = self.accept(&listener) => stream,
                Some(()) = connections.next_ended() => continue,
                () = &mut shutdown => break,
            };
            tokio::select! {
                () = connections.free_slot() => {}
                () = &mut shutdown => break,
            }
            connections.spawn(|activity| {
                connection::serve(self.service.clone(), stream, settings.clone(), activity)
            });
        }
        drop(listener);
        shut_down.send_replace(true);
        self.drain(connections).await;
    }

    /// Waits until the connections are closed, up to the grace period.
    async fn drain(&self, mut connections: Connections) {
        let (open, requests) = (connections.len(), connections.requests_in_flight());
        let grace = self.shutdown_grace;
        tracing::info!(connections = open, requests, ?grace, "shutting down");
        let drained = async { while connections.next_ended().await.is_some() {} };
        tokio::select! {
            () = drained => return tracing::info!("no request is in flight any more"),
            () = self.clock.sleep(grace) => {}
        }
        match connections.requests_in_flight() {
            0 => tracing::info!(connections = connections.len(), "closed the last connections"),
            requests => tracing::error!(
                requests,
                "aborted requests that were still in flight after {grace:?}; Stripe will send \
                 their events again"
            ),
        }
    }

    /// Accepts a connection. Logs an error and pauses, unless the error concerns only one
    /// connection. A process that is out of file descriptors would otherwise fail again at once, in
    /// a busy loop, until a connection is closed.
    async fn accept(&self, listener: &TcpListener) -> TcpStream {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};

        loop {
            match listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => match error.kind() {
                    ConnectionAborted | ConnectionRefused | ConnectionReset => {}
                    _ => {
                        tracing::error!(%error, "failed to accept a connection; retrying in 1 s");
                        self.clock.sleep(Duration::from_secs(1)).await;
                    }
                },
            }
        }
    }
}

impl<S> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("max_connections", &self.max_connections)
            .field("limits", &self.limits)
            .field("http2_streams", &limits::HTTP2_STREAMS)
            .field("shutdown_grace", &self.shutdown_grace)
            .finish_non_exhaustive()
    }
}
