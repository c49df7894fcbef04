//! The settings of a store, and the ways to open it.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use async_nats::{Client, ConnectOptions, jetstream};
use router_core::clock::Clock;

use super::{
    Connection, JetStreamStore,
    connect::{self, Address, Server},
    contention::Contention,
    read, stream,
    subjects::Subjects,
    time::ServerTime,
    url::{InboxUrl, check_name},
};
use crate::{StoreError, store::StoreErrorKind};

/// The settings of a [`JetStreamStore`]. The settings of the connection are in the URL or in the
/// client.
///
/// ```no_run
/// use router_inbox::JetStreamStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = JetStreamStore::connect_options().credentials_file("inbox.creds").await?;
/// let client = client.connect(vec!["nats1:4222", "nats2:4222", "nats3:4222"]).await?;
/// let store = JetStreamStore::options().name("shop").connect_with(client).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a store is opened by `connect` or `connect_with`"]
pub struct JetStreamOptions {
    name: String,
    replicas: Option<usize>,
    clock: Option<Arc<dyn Clock>>,
    create_if_missing: bool,
}

/// Timeout of requests to the server, except writes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
#[error("invalid setting of the inbox: {0}")]
struct InvalidSetting(&'static str);

impl JetStreamStore {
    /// Returns the default settings, from which a store is opened with other ones.
    pub fn options() -> JetStreamOptions {
        JetStreamOptions::new()
    }

    /// Connects to the servers of a URL with the default settings, see
    /// [`JetStreamOptions::connect`].
    ///
    /// # Errors
    ///
    /// Fails like `JetStreamOptions::connect`.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::options().connect(url).await
    }

    /// Opens the inbox `stripe_inbox` with a client and the default settings, see
    /// [`JetStreamOptions::connect_with`].
    ///
    /// # Errors
    ///
    /// Fails like `JetStreamOptions::connect_with`.
    pub async fn from_client(client: Client) -> Result<Self, StoreError> {
        Self::options().connect_with(client).await
    }

    /// Returns options to make a client for [`from_client`](Self::from_client). Credentials and TLS
    /// settings can be added to them.
    ///
    /// The options have the timeouts that the store needs, and the client logs when its connection
    /// is lost and established.
    pub fn connect_options() -> ConnectOptions {
        connect::options(Server::new("of the client"))
    }
}

impl JetStreamOptions {
    fn new() -> Self {
        let name = "stripe_inbox".to_owned();
        Self { name, replicas: None, clock: None, create_if_missing: true }
    }

    /// Sets the name of the inbox and its stream: 1 to 64 letters, digits, `_` and `-`. Default:
    /// `stripe_inbox`. A name in the URL takes precedence.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Sets the number of the stream's replicas, from 1 to 5. By default, a new stream has three in
    /// a cluster and one otherwise, and an existing stream may have any number.
    pub fn replicas(self, replicas: usize) -> Self {
        Self { replicas: Some(replicas), ..self }
    }

    /// Sets a clock to use instead of the server's time. All processes that share the inbox must
    /// agree on the time.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Some(Arc::new(clock)), ..self }
    }

    /// Sets whether the stream is created if it does not exist. Default: `true`.
    pub fn create_if_missing(self, create_if_missing: bool) -> Self {
        Self { create_if_missing, ..self }
    }

    /// Connects to an inbox, and creates its stream if it does not exist.
    ///
    /// The URL has the form `nats://user:password@host:4222/name`, with several hosts separated by
    /// commas for a cluster. The scheme `tls://` requires TLS. The parameters are
    /// `credentials=/path/to/user.creds`, and `ca=/path/to/ca.pem` for a CA certificate to trust in
    /// addition to the system's.
    ///
    /// # Errors
    ///
    /// Fails if
    ///
    /// - the URL or a setting is invalid;
    /// - no server can be reached, or the server rejects the credentials;
    /// - the server is older than 2.12 or has no JetStream;
    /// - the stream cannot be created, or its configuration would break the store's guarantees;
    /// - the stream does not exist, and [`create_if_missing`](Self::create_if_missing) is `false`.
    pub async fn connect(self, url: &str) -> Result<JetStreamStore, StoreError> {
        let url = InboxUrl::parse(url)?;
        let name = url.name.clone().unwrap_or_else(|| self.name.clone());
        let address = self.address(Server::new(&url.hosts), name)?;
        let client = address.connect(&url).await?;
        self.open(client, address).await
    }

    /// Opens an inbox with a client, like [`connect`](Self::connect).
    ///
    /// Make the client with [`JetStreamStore::connect_options`]. Otherwise it must meet these
    /// requirements, which cannot be checked:
    ///
    /// - The `ping_interval` is 3 s. With the client's default of 60 s, a connection to a suspended
    ///   server is replaced only after up to three minutes. Events are answered with 503 meanwhile.
    /// - The `connection_timeout` is 3 s. With a longer one, the client stays longer with a server
    ///   that does not answer, although another could.
    /// - `max_reconnects` is not set. Otherwise the store is unavailable after so many failures,
    ///   until the process restarts.
    /// - The user may publish to `$JS.API.>` and to subjects that begin with the inbox's name, and
    ///   may subscribe to the client's inbox prefix (`_INBOX.>`).
    ///
    /// The store uses the client's timeouts for nothing else: its requests have limits of their
    /// own.
    ///
    /// # Errors
    ///
    /// Fails like `connect`, and if the client is not connected.
    pub async fn connect_with(self, client: Client) -> Result<JetStreamStore, StoreError> {
        let address = self.address(Server::of(&client).await?, self.name.clone())?;
        self.open(client, address).await
    }

    fn address(&self, server: Server, name: String) -> Result<Address, StoreError> {
        let invalid = |reason| StoreError::misuse(InvalidSetting(reason));
        check_name(&name).map_err(invalid)?;
        if self.replicas.is_some_and(|replicas| !(1..=5).contains(&replicas)) {
            return Err(invalid("`replicas` must be a number from 1 to 5"));
        }
        Ok(Address { server, name, replicas: self.replicas })
    }

    async fn open(self, client: Client, address: Address) -> Result<JetStreamStore, StoreError> {
        let jetstream = jetstream::ContextBuilder::new().timeout(REQUEST_TIMEOUT);
        let jetstream = jetstream.build(client.clone());
        let stream = if self.create_if_missing {
            stream::open_or_create(&address, &jetstream).await?
        } else {
            let stream = stream::open_existing(&address, &jetstream).await?;
            stream.ok_or_else(|| {
                let advice = format!(
                    "it has no stream {}; the webhook server creates the stream, so use the same \
                     servers and the same inbox name, in a URL the part after the /",
                    address.name
                );
                address.unusable(StoreErrorKind::Misuse, advice, None)
            })?
        };
        let time = self.clock.map_or_else(ServerTime::new, ServerTime::fixed_to);
        read::sync_time(&jetstream, &address.name, &time).await?;
        Ok(JetStreamStore(Arc::new(Connection {
            client,
            subjects: Subjects::new(&address.name),
            jetstream,
            stream,
            address,
            time: Arc::new(time),
            mirror: OnceLock::new(),
            written_handlers: Mutex::default(),
            contention: Contention::new(),
        })))
    }
}

impl fmt::Debug for JetStreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamOptions")
            .field("name", &self.name)
            .field("replicas", &self.replicas)
            .field("create_if_missing", &self.create_if_missing)
            .finish_non_exhaustive()
    }
}
