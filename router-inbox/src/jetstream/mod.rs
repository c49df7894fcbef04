//! The store past one database: a stream of NATS JetStream.

mod about;
mod claims;
mod connect;
mod ends;
mod messages;
mod mirror;
mod open;
mod operations;
mod read;
mod record;
mod spread;
mod stream;
mod time;
mod writes;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use async_nats::{
    Client,
    jetstream::{self, Context, stream::Stream},
};
use async_trait::async_trait;
use router_core::{DeliveringService, ProvidedType, clock::Clock};
use serde::{Deserialize, Serialize};

use self::{
    about::Subjects, connect::Place, messages::Message, messages::Unwritten, mirror::Mirror,
    spread::Spread, time::ServerTime,
};
use crate::{
    Backlog, Claim, ClaimRequest, Completed, DeliveryOutcome, Lease, NewEvent, Operations, Store,
    StoreError, Stored, StoredDelivery,
};

/// A store in a stream of NATS JetStream, which any number of processes on any number of machines share. The time is
/// the servers'. What is stored is on most of the stream's replicas before Stripe is answered; a stream of one replica is
/// as safe as its one server, and the log says so at the start.
///
/// The server is version 2.12 or later. The stream is made if it is not there, with three replicas in a cluster; one that
/// is not as it has to be is refused with what is different.
///
/// ```no_run
/// use router_inbox::{JetStreamStore, Store as _};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let servers = "nats://user:password@nats1:4222,nats2:4222,nats3:4222";
/// let store = JetStreamStore::connect(servers).await?;
/// assert!(store.deliveries("evt_1").await?.is_empty());
/// # Ok(())
/// # }
/// ```
///
/// Cheap to clone; clones are one store.
#[derive(Clone)]
pub struct JetStreamStore(Arc<Connection>);

/// A process's connection to a stream, and what it knows of it.
struct Connection {
    client: Client,
    jetstream: Context,
    stream: Stream,
    place: Place,
    subjects: Subjects,
    time: Arc<ServerTime>,
    /// Once somebody asks for what is open. A process that only receives never does.
    mirror: OnceLock<Mirror>,
    /// The handlers that this process has told of, and whether they are ordered.
    handlers: Mutex<HashMap<Arc<str>, bool>>,
    spread: Spread,
}

/// That there is or was such a handler, and whether its last delivery was ordered.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Handler {
    name: Arc<str>,
    ordered: bool,
}

/// How long the server may take to answer what is no write.
const PATIENCE: Duration = Duration::from_secs(5);

impl JetStreamStore {
    /// Connects to the servers that a URL such as `nats://user:password@host:4222/name?replicas=3` names, and makes the
    /// stream of that name, `stripe_inbox` by default, if it is not there. `tls://` demands TLS; after the `?` there may be
    /// `credentials=/path/to/user.creds` too, and the certificate of who vouches for the servers, `ca=/path/to/ca.pem`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where no server can be reached, it is older than 2.12 or has no JetStream, or the stream is not as
    /// it has to be.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let place = Place::of(url)?;
        let jetstream = Self::jetstream(&place).await?;
        let stream = stream::made(&place, &jetstream).await?;
        Self::of(place, jetstream, stream).await
    }

    /// The same, of an inbox that is there.
    ///
    /// # Errors
    ///
    /// [`StoreError`], also where there is none.
    pub async fn connect_existing(url: &str) -> Result<Self, StoreError> {
        let place = Place::of(url)?;
        let jetstream = Self::jetstream(&place).await?;
        match stream::existing(&place, &jetstream).await? {
            Some(stream) => Self::of(place, jetstream, stream).await,
            None => Err(place.unusable(
                format!(
                    "it has no stream {}, as an inbox of that name would be; the server that receives into an inbox makes it, \
                     so see whether the URL is that server's, also in the name after the /",
                    place.name
                ),
                None,
            )),
        }
    }

    async fn jetstream(place: &Place) -> Result<Context, StoreError> {
        let client = place.connect().await?;
        Ok(jetstream::ContextBuilder::new().timeout(PATIENCE).build(client))
    }

    async fn of(place: Place, jetstream: Context, stream: Stream) -> Result<Self, StoreError> {
        let time = ServerTime::new();
        read::ask_time(&jetstream, &place.name, &time).await?;
        Ok(Self(Arc::new(Connection {
            client: jetstream.client(),
            subjects: Subjects::of(&place.name),
            jetstream,
            stream,
            place,
            time: Arc::new(time),
            mirror: OnceLock::new(),
            handlers: Mutex::default(),
            spread: Spread::new(),
        })))
    }

    /// Where the time comes from; the servers by default. All processes that share the inbox must agree about it. For a
    /// store that nothing was asked of yet.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        let Connection { client, jetstream, stream, place, subjects, .. } = &*self.0;
        Self(Arc::new(Connection {
            client: client.clone(),
            jetstream: jetstream.clone(),
            stream: stream.clone(),
            place: place.clone(),
            subjects: subjects.clone(),
            time: Arc::new(ServerTime::given(clock)),
            mirror: OnceLock::new(),
            handlers: Mutex::default(),
            spread: Spread::new(),
        }))
    }
}

impl Connection {
    /// What is open, once it is known.
    async fn mirror(&self) -> Result<&Mirror, StoreError> {
        let mirror = self.mirror.get_or_init(|| {
            let (jetstream, stream) = (self.jetstream.clone(), self.stream.clone());
            Mirror::start(jetstream, stream, self.place.clone(), &self.subjects, self.time.clone())
        });
        mirror.heard(0).await?;
        Ok(mirror)
    }

    async fn write(&self, messages: &[Message]) -> Result<u64, Unwritten> {
        messages::write(&self.client, &self.place, messages).await
    }

    fn handlers(&self) -> MutexGuard<'_, HashMap<Arc<str>, bool>> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeliveringService for JetStreamStore {
    fn provides(&self) -> Vec<ProvidedType> {
        Vec::new()
    }

    fn hint(&self) -> Option<&'static str> {
        Some(
            "an inbox in NATS JetStream has no transaction to write in: take an `IdempotencyKey`, and have the database refuse \
             what it has under that key already; or keep the inbox in the database that the handler writes in, by \
             `SqliteStore` or `PostgresStore`",
        )
    }
}

#[async_trait]
impl Store for JetStreamStore {
    async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        self.0.store(events).await
    }

    fn check(&self, event: &NewEvent) -> Result<(), StoreError> {
        self.0.check(event)
    }

    async fn claim(&self, wanted: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        self.0.claim(wanted).await
    }

    async fn extend(&self, leases: &[Lease], time: Duration) -> Result<Vec<bool>, StoreError> {
        self.0.extend(leases, time).await
    }

    async fn complete(
        &self,
        ends: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<Completed>, StoreError> {
        self.0.complete(ends).await
    }

    async fn deliveries(&self, event_id: &str) -> Result<Vec<StoredDelivery>, StoreError> {
        self.0.deliveries(event_id).await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        let mirror = self.0.mirror().await?;
        let now = self.0.time.now();
        Ok(mirror.open().backlog(now))
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    async fn notified(&self) {
        match self.0.mirror().await {
            Ok(mirror) => mirror.news().await,
            Err(_) => std::future::pending().await,
        }
    }
}

impl fmt::Debug for JetStreamStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamStore")
            .field("server", &self.0.place.server.to_string())
            .field("inbox", &self.0.place.name)
            .finish_non_exhaustive()
    }
}
