//! Connects to the NATS servers of an inbox, and explains failures.

use std::{
    error::Error as _,
    fmt, io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, connection::State,
};
use router_core::{
    BoxError,
    clock::{Clock as _, SystemClock},
};

use super::url::InboxUrl;
use crate::{StoreError, store::StoreErrorKind};

/// Limit for establishing a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Interval of pings on the connection. When the third ping is due and none was answered, the
/// client connects again, because a suspended server keeps its connections open. A connection that
/// goes silent is thus replaced within 9 s, before a second operation has failed with its timeout.
const PING_INTERVAL: Duration = Duration::from_secs(3);

/// Interval of the checks whether the connection has been lost.
const DISCONNECT_CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// The location of an inbox.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) server: Server,
    /// The inbox's name: that of its stream, and the first token of its subjects.
    pub(super) name: String,
    pub(super) replicas: Option<usize>,
}

/// The servers of an inbox, as error messages name them: without the password.
#[derive(Debug, Clone)]
pub(super) struct Server(Arc<str>);

impl Server {
    pub(super) fn new(hosts: &str) -> Self {
        Self(format!("the NATS server {hosts}").into())
    }

    /// Returns the servers with which a client was configured.
    ///
    /// # Errors
    ///
    /// Fails if the client is not connected, because it does not answer until it is.
    pub(super) async fn of(client: &Client) -> Result<Self, StoreError> {
        let pool = tokio::select! {
            biased;
            () = connection_lost(client) => None,
            pool = client.server_pool() => pool.ok(),
        };
        let Some(pool) = pool else {
            let server = Self("the NATS server of the client".into());
            return Err(StoreError::unavailable(Disconnected(server)));
        };
        let configured = pool.iter().filter(|server| !server.is_discovered);
        let hosts =
            configured.map(|server| format!("{}:{}", server.addr.host(), server.addr.port()));
        Ok(Self::new(&hosts.collect::<Vec<_>>().join(",")))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{server} cannot be used as an inbox: {advice}")]
pub(super) struct Unusable {
    server: Server,
    advice: String,
    source: Option<BoxError>,
}

const TLS_FAILED: &str = "cannot establish a trusted TLS connection; tls:// in the URL requires TLS, \
                          and with nats:// the server decides; its certificate must be trusted by \
                          this machine, or issued by the CA in ?ca=/path/to/ca.pem";

#[derive(Debug, thiserror::Error)]
#[error("not connected to {0} at the moment; reconnecting")]
pub(super) struct Disconnected(Server);

/// Returns options with the timeouts that the store needs. Events of the connection are logged.
pub(super) fn options(server: Server) -> ConnectOptions {
    ConnectOptions::new()
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .event_callback(move |event| {
            log_event(&server, &event);
            std::future::ready(())
        })
}

impl Address {
    pub(super) async fn connect(&self, url: &InboxUrl) -> Result<Client, StoreError> {
        let options = options(self.server.clone()).name(format!("inbox {}", self.name));
        let options = match &url.login {
            Some((user, password)) => options.user_and_password(user.clone(), password.clone()),
            None => options,
        };
        let options = match &url.credentials {
            Some(path) => options.credentials_file(path).await.map_err(|error| {
                let advice = "cannot read the credentials file; correct its path in the URL";
                self.unusable(StoreErrorKind::Misuse, advice, Some(error.into()))
            })?,
            None => options,
        };
        let options = match &url.ca {
            Some(path) => options.add_root_certificates(path.into()),
            None => options,
        };
        let connected = options.connect(url.servers.as_slice()).await;
        connected.map_err(|error| {
            let (kind, advice) = match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    let advice = credentials_advice(url);
                    return self.unusable(StoreErrorKind::Misuse, advice, None);
                }
                ConnectErrorKind::Dns => {
                    (StoreErrorKind::Unavailable, "there is no such host; correct it in the URL")
                }
                ConnectErrorKind::Tls => (StoreErrorKind::Misuse, TLS_FAILED),
                // TLS errors of the handshake are I/O errors about invalid data.
                ConnectErrorKind::Io if is_invalid_data(&error) => {
                    (StoreErrorKind::Misuse, TLS_FAILED)
                }
                ConnectErrorKind::TimedOut => (
                    StoreErrorKind::Unavailable,
                    "no answer in time; correct the host and port in the URL, or check why the \
                     server does not answer",
                ),
                _ => (
                    StoreErrorKind::Unavailable,
                    "the server cannot be reached; start it, or correct the host and port in the URL",
                ),
            };
            // The error's text already contains its cause.
            self.unusable(kind, advice, Some(error.to_string().into()))
        })
    }

    /// Waits for a future, and fails if the connection is lost before the future completes. After
    /// that, requests are never answered, and subscriptions may have ended.
    pub(super) async fn unless_disconnected<T>(
        &self,
        client: &Client,
        future: impl Future<Output = T>,
    ) -> Result<T, Disconnected> {
        tokio::select! {
            biased;
            () = connection_lost(client) => Err(Disconnected(self.server.clone())),
            value = future => Ok(value),
        }
    }

    pub(super) fn unusable(
        &self,
        kind: StoreErrorKind,
        advice: impl Into<String>,
        source: Option<BoxError>,
    ) -> StoreError {
        let (server, advice) = (self.server.clone(), advice.into());
        StoreError::new(kind, Unusable { server, advice, source })
    }
}

/// Waits until the client is not connected, or has connected again since this call.
///
/// Polls the client, since only the program that has made it can receive its events.
async fn connection_lost(client: &Client) {
    let statistics = client.statistics();
    let connects = statistics.connects.load(Ordering::Relaxed);
    let has_reconnected = || statistics.connects.load(Ordering::Relaxed) != connects;
    while client.connection_state() == State::Connected && !has_reconnected() {
        SystemClock.sleep(DISCONNECT_CHECK_INTERVAL).await;
    }
}

/// Returns the advice for a server that does not accept the credentials.
fn credentials_advice(url: &InboxUrl) -> String {
    match (&url.login, &url.credentials) {
        (_, Some(path)) => {
            format!("the server rejects the credentials in {path}; correct the file in the URL")
        }
        (Some((user, _)), None) => format!(
            "authentication failed for user {user}; correct the user and password in the URL"
        ),
        (None, None) => "the server requires authentication; add user:password@ before the host \
                         in the URL, or ?credentials=/path/to/user.creds at its end"
            .to_owned(),
    }
}

fn is_invalid_data(error: &ConnectError) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
}

fn log_event(server: &Server, event: &Event) {
    match event {
        Event::Connected => tracing::info!(%server, "connected"),
        Event::Disconnected => {
            tracing::warn!(%server, "lost the connection; reconnecting");
        }
        Event::ServerError(error) => {
            tracing::warn!(%server, %error, "the server reported an error");
        }
        Event::ClientError(error) => tracing::warn!(%server, %error, "the connection failed"),
        Event::SlowConsumer(_) => {
            tracing::warn!(%server, "this process reads too slowly, and the client dropped messages; reading restarts");
        }
        Event::LameDuckMode => {
            tracing::info!(%server, "a server is shutting down; connecting to another");
        }
        Event::Draining | Event::Closed => {}
    }
}
