//! Serving one connection.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http_body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulConnection},
};
use tokio::{net::TcpStream, sync::watch};
use tower_service::Service;

use super::{
    activity::{Activity, Expiry},
    limits::{self, Limits},
    stream::Stream,
};
use crate::{
    clock::{Clock, Sleep},
    endpoint::Authentic,
    handler::BoxError,
};

/// The interval between HTTP/2 keep-alive pings, and the timeout for the answer to a ping. The
/// connection of a client that does not answer is closed.
const HTTP2_PING: Duration = Duration::from_secs(20);

/// The time in which a connection that is being closed must end after its last answer. The client
/// reads the answer in this time, and an HTTP/2 client acknowledges the close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The settings of a connection.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) limits: Limits,
    pub(super) clock: Arc<dyn Clock>,
    /// Becomes `true` when the server shuts down.
    pub(super) shutdown: watch::Receiver<bool>,
}

/// Serves one connection until the client closes it, a limit is reached, or its slot is needed.
/// After a shutdown begins, serves until the requests in flight are answered.
pub(super) async fn serve<S, B>(
    service: S,
    stream: TcpStream,
    settings: Settings,
    activity: Arc<Activity>,
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
    // hyper's own timeout for heads is switched off, because `Activity` covers it.
    http.http1().header_read_timeout(None).max_buf_size(limits::HTTP1_BUFFER);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING)
        .max_concurrent_streams(limits::HTTP2_STREAMS)
        .max_header_list_size(limits::HTTP2_HEAD)
        .initial_stream_window_size(limits::HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(limits::HTTP2_CONNECTION_WINDOW)
        .max_send_buf_size(limits::HTTP2_SEND_BUFFER);

    let requests = activity.clone();
    let service = service_fn(move |request| {
        let guard = requests.begin_request();
        let mut service = service.clone();
        async move {
            let Some(guard) = guard else {
                // The client ignores the close. The answer never comes, and the stream ends with
                // the connection.
                return std::future::pending().await;
            };
            poll_fn(|context| service.poll_ready(context)).await?;
            let response = service.call(request).await?;
            if response.extensions().get::<Authentic>().is_some() {
                guard.record_event();
            }
            Ok::<_, Infallible>(response)
        }
    });
    let stream = TokioIo::new(Stream::new(stream, activity.clone()));
    let connection = Connection { activity, settings };
    connection.run(pin!(http.serve_connection(stream, service))).await;
}

/// The reason for the end of a connection.
enum End<E> {
    /// The client closed it, or it failed.
    Finished(Result<(), E>),
    Expired(Expiry),
    /// Its slot is needed for a new connection.
    Evicted,
    ShutDown,
}

struct Connection {
    activity: Arc<Activity>,
    settings: Settings,
}

impl Connection {
    async fn run<C>(self, mut http: Pin<&mut C>)
    where
        C: GracefulConnection<Error: std::fmt::Display>,
    {
        let end = self.serve(http.as_mut()).await;
        self.activity.begin_close();
        match end {
            End::Finished(result) => log(result),
            End::Expired(expiry @ (Expiry::Blocked | Expiry::Lingered)) => {
                tracing::debug!(
                    ?expiry,
                    "the client does not read, or goes on sending; closing the connection"
                );
            }
            End::Expired(expiry) => {
                tracing::debug!(
                    ?expiry,
                    "the client sent no request in time; closing the connection"
                );
                self.close(http).await;
            }
            End::Evicted => {
                http.as_mut().graceful_shutdown();
                // One poll sends a GOAWAY, and reads a request that has just arrived.
                let finished = poll_fn(|context| Poll::Ready(http.as_mut().poll(context))).await;
                if finished.is_pending() && self.activity.in_flight() > 0 {
                    self.close(http).await;
                }
            }
            End::ShutDown => self.close(http).await,
        }
    }

    /// Serves requests until there is a reason to end.
    async fn serve<C: GracefulConnection>(&self, mut http: Pin<&mut C>) -> End<C::Error> {
        let mut shutdown = self.settings.shutdown.clone();
        // Fails if the server is dropped, which aborts this task.
        let mut shutdown = pin!(shutdown.wait_for(|is_shutting_down| *is_shutting_down));
        let mut evicted = pin!(self.activity.changed());
        let mut timer = None;
        poll_fn(|context| {
            if let Poll::Ready(result) = http.as_mut().poll(context) {
                return Poll::Ready(End::Finished(result));
            }
            if shutdown.as_mut().poll(context).is_ready() {
                return Poll::Ready(End::ShutDown);
            }
            if evicted.as_mut().poll(context).is_ready() {
                return Poll::Ready(End::Evicted);
            }
            self.poll_expiry(context, &mut timer).map(End::Expired)
        })
        .await
    }

    /// Waits for the connection's deadline, which moves with each request. An earlier timer stays
    /// in place, so that most requests create none.
    fn poll_expiry(
        &self,
        context: &mut Context<'_>,
        timer: &mut Option<(Instant, Sleep)>,
    ) -> Poll<Expiry> {
        let clock = &self.settings.clock;
        loop {
            let (deadline, expiry) = self.activity.deadline(&self.settings.limits);
            if timer.as_ref().is_none_or(|(wake_up, _)| *wake_up > deadline) {
                *timer = Some((deadline, clock.sleep_until(deadline)));
            }
            if let Some((_, sleep)) = timer
                && sleep.as_mut().poll(context).is_pending()
            {
                return Poll::Pending;
            }
            *timer = None;
            if let Some(expiry) = expiry
                && clock.monotonic() >= deadline
            {
                return Poll::Ready(expiry);
            }
        }
    }

    /// Closes the connection once its requests in flight are answered.
    async fn close<C>(&self, mut http: Pin<&mut C>)
    where
        C: GracefulConnection<Error: std::fmt::Display>,
    {
        http.as_mut().graceful_shutdown();
        let mut timer = None;
        let mut changed = pin!(self.activity.changed());
        poll_fn(|context| {
            if let Poll::Ready(result) = http.as_mut().poll(context) {
                log(result);
                return Poll::Ready(());
            }
            // The last answer wakes this task, even if the client has reset its stream.
            while changed.as_mut().poll(context).is_ready() {
                changed.set(self.activity.changed());
            }
            if self.activity.in_flight() > 0 {
                timer = None;
                return Poll::Pending;
            }
            if self.activity.is_settled() {
                return Poll::Ready(());
            }
            let timer = timer.get_or_insert_with(|| self.settings.clock.sleep(CLOSE_TIMEOUT));
            timer.as_mut().poll(context)
        })
        .await;
    }
}

/// Logs a failure at debug level, because the client caused it: the client disconnected, or did not
/// speak HTTP.
fn log(result: Result<(), impl std::fmt::Display>) {
    if let Err(error) = result {
        tracing::debug!(%error, "connection failed");
    }
}
