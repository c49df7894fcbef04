//! Connects to the NATS servers of an inbox's URL, and explains failures.

use std::{error::Error as _, fmt, io, sync::Arc, time::Duration};

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use percent_encoding::percent_decode_str;
use router_core::BoxError;
use tokio::sync::Notify;

use crate::{
    StoreError,
    store::{StoreErrorKind, parameters},
};

/// Limit for establishing a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Interval of pings on the connection. When the third ping is due and none was answered, the
/// client connects again, because a suspended server keeps its connections open. A connection that
/// goes silent is thus replaced within 9 s, before a second operation has failed with its timeout.
const PING_INTERVAL: Duration = Duration::from_secs(3);

/// An inbox's address, as given by its URL.
#[derive(Clone)]
pub(super) struct Address {
    servers: Vec<ServerAddr>,
    login: Option<(String, String)>,
    credentials: Option<String>,
    /// The file with a CA certificate that is trusted in addition to the machine's.
    ca: Option<String>,
    pub(super) server: Server,
    /// The inbox's name: that of its stream, and the first token of its subjects.
    pub(super) name: String,
    pub(super) replicas: Option<usize>,
    /// Notified when the connection is lost.
    disconnects: Arc<Notify>,
}

/// The hosts of the URL, for error messages: without the password.
#[derive(Debug, Clone)]
pub(super) struct Server(Arc<str>);

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "invalid URL of the inbox: {0} (expected nats://user:password@host:4222/name, or, for a cluster, \
     nats://user:password@host1:4222,host2:4222,host3:4222/name)"
)]
struct InvalidUrl(&'static str);

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

/// The parameters of the URL: the number of replicas, and the paths of a credentials file and of a
/// CA certificate.
const PARAMETERS: [&str; 3] = ["replicas", "credentials", "ca"];

/// The name of an inbox whose URL has none.
const DEFAULT_NAME: &str = "stripe_inbox";

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        if let Some((rest, query)) = url.split_once('?') {
            // A part of the password, which no error may show.
            if query.contains('@') && !rest.contains('@') {
                let reason = "the user or the password contains a ?; write it as %3F";
                return Err(StoreError::misuse(InvalidUrl(reason)));
            }
            parameters::check(query, &PARAMETERS).map_err(StoreError::misuse)?;
        }
        Self::parse_parts(url).map_err(|reason| StoreError::misuse(InvalidUrl(reason)))
    }

    fn parse_parts(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("it has no ://")?;
        if !["nats", "tls"].contains(&scheme) {
            return Err("it must begin with nats://, or with tls:// to require TLS");
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
        if rest.contains("://") {
            return Err(
                "it contains nats:// more than once; write it only before the first server",
            );
        }
        if name.contains('@') {
            return Err("the user or the password contains a /; write it as %2F");
        }
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        let server = |host: &str| {
            let server = format!("{scheme}://{host}").parse().ok();
            server.filter(|_| !host.is_empty())
        };
        let servers = hosts.split(',').map(server).collect::<Option<Vec<ServerAddr>>>();
        let servers = servers.ok_or("a host or a port is missing or invalid")?;
        let (mut replicas, mut credentials, mut ca) = (None, None, None);
        for setting in query.split('&').filter(|setting| !setting.is_empty()) {
            match setting.split_once('=') {
                Some(("replicas", number)) => {
                    let number = number.parse().ok().filter(|number| (1..=5).contains(number));
                    replicas = Some(number.ok_or("replicas= must be a number from 1 to 5")?);
                }
                Some(("credentials", path)) => credentials = Some(percent_decode(path)?),
                Some(("ca", path)) => ca = Some(percent_decode(path)?),
                _ => return Err("a parameter's name contains a %; write it without"),
            }
        }
        let name = if name.is_empty() { DEFAULT_NAME } else { name };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if name.len() > 64 || !name.bytes().all(is_plain) {
            return Err(
                "the inbox's name, after the /, must have at most 64 characters: letters, digits, _ \
                 and -",
            );
        }
        Ok(Self {
            servers,
            login: login.map(parse_login).transpose()?,
            credentials,
            ca,
            server: Server(format!("the NATS server {hosts}").into()),
            name: name.to_owned(),
            replicas,
            disconnects: Arc::default(),
        })
    }

    pub(super) async fn connect(&self) -> Result<Client, StoreError> {
        let options = ConnectOptions::new()
            .name(format!("inbox {}", self.name))
            .connection_timeout(CONNECT_TIMEOUT)
            .ping_interval(PING_INTERVAL)
            .event_callback({
                let (server, disconnects) = (self.server.clone(), self.disconnects.clone());
                move |event| {
                    log_event(&server, &event);
                    if matches!(event, Event::Disconnected) {
                        disconnects.notify_waiters();
                    }
                    std::future::ready(())
                }
            });
        let options = match &self.login {
            Some((user, password)) => options.user_and_password(user.clone(), password.clone()),
            None => options,
        };
        let options = match &self.credentials {
            Some(path) => options.credentials_file(path).await.map_err(|error| {
                let advice = "cannot read the credentials file";
                self.unusable(StoreErrorKind::Misuse, advice, Some(error.into()))
            })?,
            None => options,
        };
        let options = match &self.ca {
            Some(path) => options.add_root_certificates(path.into()),
            None => options,
        };
        let connected = options.connect(self.servers.as_slice()).await;
        connected.map_err(|error| {
            let (kind, advice) = match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    let advice = self.credentials_advice();
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

    /// Waits for a future, and fails if the connection is lost before it completes: requests are
    /// then never answered, and subscriptions may have ended.
    pub(super) async fn unless_disconnected<T>(
        &self,
        future: impl Future<Output = T>,
    ) -> Result<T, Disconnected> {
        tokio::select! {
            value = future => Ok(value),
            () = self.disconnects.notified() => Err(self.disconnected()),
        }
    }

    pub(super) fn disconnected(&self) -> Disconnected {
        Disconnected(self.server.clone())
    }

    /// Returns the advice for a server that does not accept the credentials.
    fn credentials_advice(&self) -> String {
        match (&self.login, &self.credentials) {
            (_, Some(path)) => {
                format!("the server rejects the credentials in {path}; correct the file in the URL")
            }
            (Some((user, _)), None) => format!(
                "authentication failed for user {user}; correct the user and password in the URL"
            ),
            (None, None) => {
                "the server requires authentication; add user:password@ before the host \
                             in the URL, or ?credentials=/path/to/user.creds at its end"
                    .to_owned()
            }
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

fn is_invalid_data(error: &ConnectError) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
}

fn parse_login(login: &str) -> Result<(String, String), &'static str> {
    let (user, password) =
        login.split_once(':').ok_or("a password is missing; write user:password")?;
    if password.contains([':', '@']) {
        return Err(
            "the password contains a : or an @; write them as %3A and %40, and write user:password@ \
             only once, before the first server",
        );
    }
    Ok((percent_decode(user)?, percent_decode(password)?))
}

fn percent_decode(text: &str) -> Result<String, &'static str> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| "a % sequence is not valid UTF-8; write a % in the password as %25")
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
