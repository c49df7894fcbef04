//! One connection, from its first byte to its last.

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

/// An HTTP/2 client that does not answer a ping within this time is gone.
const PING: Duration = Duration::from_secs(20);

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
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PING);

    // hyper's header timeout begins only once it knows the version of HTTP, so a client that
    // never says a word would stay for ever.
    let has_spoken = Arc::new(AtomicBool::new(false));
    let spoke = has_spoken.clone();
    let service = service_fn(move |request| {
        spoke.store(true, Ordering::Relaxed);
        let mut service = service.clone();
        async move {
            poll_fn(|context| service.poll_ready(context)).await?;
            service.call(request).await
        }
    });
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(shutdown.watch(connection));
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = clock.sleep(header_timeout) => {
            if !has_spoken.load(Ordering::Relaxed) {
                tracing::debug!("closed a connection that sent no request");
                return;
            }
            connection.await
        }
    };
    if let Err(error) = ended {
        // The client's doing: it hung up, or spoke no HTTP.
        tracing::debug!(%error, "connection ended");
    }
}
