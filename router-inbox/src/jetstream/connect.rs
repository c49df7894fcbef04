//! How servers are reached, and what is told where they are not.

use std::{error::Error as _, fmt, io, sync::Arc, time::Duration};

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use percent_encoding::percent_decode_str;
use router_core::BoxError;
use tokio::sync::Notify;

use crate::StoreError;

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often a silent server is asked whether it is there. One that says nothing three times in a row is left for
/// another, since a server can stand still with its connections open.
const SIGN: Duration = Duration::from_secs(5);

/// What a URL says.
#[derive(Clone)]
pub(super) struct Place {
    servers: Vec<ServerAddr>,
    login: Option<(String, String)>,
    credentials: Option<String>,
    /// Of whoever is trusted to say who a server is, beside those that the machine trusts.
    ca: Option<String>,
    pub(super) server: Server,
    /// The inbox's name, which its subjects begin with.
    pub(super) name: String,
    pub(super) replicas: Option<usize>,
    lost: Arc<Notify>,
}

/// A server, or the servers of a cluster, as errors name them: without the password.
#[derive(Debug, Clone)]
pub(super) struct Server(Arc<str>);

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the inbox's URL cannot be read: {0}. It is written as nats://user:password@host:4222/name, or, of the servers of one \
     cluster, as nats://user:password@host1:4222,host2:4222,host3:4222"
)]
struct NoUrl(&'static str);

#[derive(Debug, thiserror::Error)]
#[error("{server} cannot be used as an inbox: {advice}")]
pub(super) struct Unusable {
    server: Server,
    advice: String,
    source: Option<BoxError>,
}

const NO_TLS: &str = "no TLS that both sides trust; tls:// in the URL demands TLS, and nats:// leaves it to the server, whose \
                      certificate must be one that this machine trusts, or of the authority in ?ca=/path/to/ca.pem";

#[derive(Debug, thiserror::Error)]
#[error("there is no connection to {0} at the moment; it is being tried again")]
pub(super) struct Disconnected(Server);

/// What an inbox is called without a name.
const NAME: &str = "stripe_inbox";

impl Place {
    pub(super) fn of(url: &str) -> Result<Self, StoreError> {
        Self::read(url).map_err(|reason| StoreError::of(NoUrl(reason)))
    }

    fn read(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("it has no ://")?;
        if !["nats", "tls"].contains(&scheme) {
            return Err("it begins neither with nats:// nor with tls://, which demands TLS");
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
        if rest.contains("://") {
            return Err("nats:// stands in it more than once; it is for all of the servers");
        }
        if name.contains('@') {
            return Err("there is a / in the user or the password; write %2F for it");
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
        let servers = servers.ok_or("a host or a port in it is none")?;
        let (mut replicas, mut credentials, mut ca) = (None, None, None);
        for setting in query.split('&').filter(|setting| !setting.is_empty()) {
            match setting.split_once('=') {
                Some(("replicas", number)) => {
                    let number = number.parse().ok().filter(|number| (1..=5).contains(number));
                    replicas = Some(number.ok_or("replicas= takes a number from 1 to 5")?);
                }
                Some(("credentials", path)) => credentials = Some(decoded(path)?),
                Some(("ca", path)) => ca = Some(decoded(path)?),
                _ => {
                    return Err(
                        "after a ? there may be replicas=3, credentials=/path/to/user.creds and ca=/path/to/ca.pem, with & \
                         between them; a ? in the password is written %3F",
                    );
                }
            }
        }
        let name = if name.is_empty() { NAME } else { name };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if name.len() > 64 || !name.bytes().all(is_plain) {
            return Err(
                "the inbox's name, after the /, has more than 64 letters, or something but letters, digits, _ and -",
            );
        }
        Ok(Self {
            servers,
            login: login.map(login_of).transpose()?,
            credentials,
            ca,
            server: Server(format!("the NATS server {hosts}").into()),
            name: name.to_owned(),
            replicas,
            lost: Arc::default(),
        })
    }

    pub(super) async fn connect(&self) -> Result<Client, StoreError> {
        let options = ConnectOptions::new()
            .name(format!("inbox {}", self.name))
            .connection_timeout(PATIENCE)
            .ping_interval(SIGN)
            .event_callback({
                let (server, lost) = (self.server.clone(), self.lost.clone());
                move |event| {
                    tell(&server, &event);
                    if matches!(event, Event::Disconnected) {
                        lost.notify_waiters();
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
                self.unusable("the file of credentials cannot be read", Some(error.into()))
            })?,
            None => options,
        };
        let options = match &self.ca {
            Some(path) => options.add_root_certificates(path.into()),
            None => options,
        };
        let connected = options.connect(self.servers.as_slice()).await;
        connected.map_err(|error| {
            let advice = match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    return self.unusable(self.refused(), None);
                }
                ConnectErrorKind::Dns => "there is no such host; set it right in the URL",
                ConnectErrorKind::Tls => NO_TLS,
                // What is no TLS is told as data that cannot be read.
                ConnectErrorKind::Io if is_invalid(&error) => NO_TLS,
                ConnectErrorKind::TimedOut => {
                    "no answer in time; set host and port right in the URL, or see what keeps the server"
                }
                _ => "no server can be reached there; start it, or set host and port right in the URL",
            };
            // It tells its cause itself.
            self.unusable(advice, Some(error.to_string().into()))
        })
    }

    /// What the future comes to; an error, should the connection be lost before: what was asked is not answered any
    /// more, and what was followed may have ended.
    pub(super) async fn unless_lost<T>(
        &self,
        future: impl Future<Output = T>,
    ) -> Result<T, Disconnected> {
        tokio::select! {
            value = future => Ok(value),
            () = self.lost.notified() => Err(self.disconnected()),
        }
    }

    pub(super) fn disconnected(&self) -> Disconnected {
        Disconnected(self.server.clone())
    }

    fn refused(&self) -> String {
        match (&self.login, &self.credentials) {
            (_, Some(path)) => format!(
                "the server does not let the user in whose credentials are in {path}; name the right file in the URL"
            ),
            (Some((user, _)), None) => format!(
                "the server does not let {user} in so; set user and password right in the URL"
            ),
            (None, None) => "the server lets nobody in without a user; write user:password@ in the URL, before the host, or \
                             ?credentials=/path/to/user.creds at its end"
                .to_owned(),
        }
    }

    pub(super) fn unusable(
        &self,
        advice: impl Into<String>,
        source: Option<BoxError>,
    ) -> StoreError {
        StoreError::of(Unusable { server: self.server.clone(), advice: advice.into(), source })
    }
}

fn is_invalid(error: &ConnectError) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
}

fn login_of(login: &str) -> Result<(String, String), &'static str> {
    let (user, password) =
        login.split_once(':').ok_or("there is a user and no password; write user:password")?;
    if password.contains([':', '@']) {
        return Err(
            "there is a : or an @ in the password, for which %3A or %40 is written; or a user for each server, and one stands \
             before all of them",
        );
    }
    Ok((decoded(user)?, decoded(password)?))
}

fn decoded(text: &str) -> Result<String, &'static str> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| "what is written with % is not UTF-8; a % in the password is written %25")
}

fn tell(server: &Server, event: &Event) {
    match event {
        Event::Connected => tracing::info!(%server, "connected"),
        Event::Disconnected => {
            tracing::warn!(%server, "the connection is lost; trying again until there is one");
        }
        Event::ServerError(error) => {
            tracing::warn!(%server, %error, "the server refuses something");
        }
        Event::ClientError(error) => tracing::warn!(%server, %error, "the connection has failed"),
        Event::SlowConsumer(_) => {
            tracing::warn!(%server, "this process is too slow for what the server sends; it begins anew");
        }
        Event::LameDuckMode => {
            tracing::info!(%server, "a server is about to stop; going to another");
        }
        Event::Draining | Event::Closed => {}
    }
}
