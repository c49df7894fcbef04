//! Serving one connection.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http_body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::Watcher},
};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::{clock::Clock, handler::BoxError};

/// The interval between HTTP/2 keep-alive pings, and the timeout for the answer to a ping. The
/// connection of a client that does not answer is closed.
const HTTP2_PING: Duration = Duration::from_secs(20);

/// Serves one connection until it is closed, or until its requests in flight are answered once a
/// shutdown begins.
pub(super) async fn serve<S, B>(
    service: S,
    stream: TcpStream,
    header_timeout: Duration,
    shutdown: Watcher,
    clock: Arc<dyn Clock>,
) where
    S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "failed to set TCP_NODELAY");
    }
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING);

    // hyper's header timeout starts only once hyper has detected the HTTP version, so without this
    // a client that sends nothing would stay connected forever.
    let sent_request = Arc::new(AtomicBool::new(false));
    let request_seen = sent_request.clone();
    let service = service_fn(move |request| {
        request_seen.store(true, Ordering::Relaxed);
        let mut service = service.clone();
        async move {
            poll_fn(|context| service.poll_ready(context)).await?;
            service.call(request).await
        }
    });
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(shutdown.watch(connection));
    let result = tokio::select! {
        result = &mut connection => result,
        () = clock.sleep(header_timeout) => {
            if !sent_request.load(Ordering::Relaxed) {
                tracing::debug!("the client sent no request in time; closing the connection");
                return;
            }
            connection.await
        }
    };
    if let Err(error) = result {
        // Debug level, because the client caused it: it disconnected, or did not speak HTTP.
        tracing::debug!(%error, "connection failed");
    }
}
