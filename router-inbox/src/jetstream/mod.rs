//! A store in a NATS JetStream stream, for more throughput than one database has.
//!
//! Each event is stored as two messages. The *payload message* never changes, except that erasing
//! the event empties it. The *record* holds the state of the event's deliveries, and each change
//! replaces it. The record's subject contains its stage: open, dead, ended or unhandled (see
//! [`record::Stage`]). Each subject holds at most one message.
//!
//! - The subjects are derived from the event's key, so a redelivered event meets the stored one. If
//!   a delivery needs the payload of a redelivered event, the payload is stored as a message of its
//!   own, a *copy* ([`redeliver`]).
//! - An *alias* is a message with which an event is found by an id that its subjects do not contain
//!   ([`lookup`]).
//! - An event's *number* is the sequence of its first payload message. An erased event has a
//!   message with which it is found by this number.
//! - A *revision* is the sequence of a subject's message. Every change of a record is a
//!   compare-and-set on its revision (or on the last sequence of an object's open records), so a
//!   change that is based on stale data is rejected.
//! - Related changes are written as one atomic batch.
//! - When a record moves to another subject, a *tombstone* replaces it on the old subject: an empty
//!   message that expires.
//! - Each process keeps a *local view* of the open records ([`mirror`]), from which its workers
//!   claim and its inbox reads the backlog.
//! - For handlers of the newest event only, a message for each handler and object remembers the
//!   newest event that is done ([`newest`]).
//! - A message for each running worker has its handlers, and expires ([`workers`]).
//! - One message has all paused handlers ([`paused`]).
//! - A message for each checkpoint has its value ([`checkpoints`]).

mod checkpoints;
mod claims;
mod complete;
mod connect;
mod contention;
mod event_meta;
mod lookup;
mod messages;
mod mirror;
mod names;
mod newest;
mod open_records;
mod operations;
pub(crate) mod options;
mod paused;
mod read;
mod record;
mod redeliver;
mod store;
mod stream;
mod subjects;
mod time;
mod url;
mod workers;
mod writes;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use async_nats::{
    Client,
    jetstream::{Context, stream::Stream},
};
use async_trait::async_trait;
use router_core::delivery::{DeliveryOrder, DeliveryService, ProvidedType};
use serde::{Deserialize, Serialize};

use self::{
    connect::Address,
    contention::Contention,
    messages::{Message, WriteError},
    mirror::Mirror,
    subjects::Subjects,
    time::ServerTime,
};
use crate::{
    Store, StoreError,
    store::{
        Backlog, Claim, ClaimRequest, CompleteResult, DeliveryOutcome, Lease, NewEvent, Operations,
        PausedHandler, Stored, StoredDelivery, WorkerInfo,
    },
};

/// A store in a NATS JetStream stream.
///
/// Any number of processes on any number of machines can share it. Leases use the server's time,
/// so the clocks of the machines may differ. If the server's clock is set back, each delivery
/// remains due within the delay with which it was scheduled. An event is on a majority of the
/// stream's replicas before Stripe is answered. A stream with one replica is only as durable as its
/// server; opening the store then logs a warning.
///
/// Requires nats-server 2.12 or later. If the stream does not exist, [`connect`](Self::connect)
/// creates it, by default with three replicas in a cluster and with one otherwise. It rejects an
/// existing stream whose configuration would break the store's guarantees, and lists the
/// differences.
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
/// Cloning is cheap; clones share the connection.
#[derive(Clone)]
pub struct JetStreamStore(Arc<Connection>);

/// A connection to a stream, with the state of this process.
struct Connection {
    client: Client,
    jetstream: Context,
    stream: Stream,
    address: Address,
    subjects: Subjects,
    time: Arc<ServerTime>,
    /// The local view of the open records, started on first use. A process that only receives
    /// events does not need it.
    mirror: OnceLock<Mirror>,
    /// The handlers whose entries this process has written, each with the order in the entry.
    written_handlers: Mutex<HashMap<Arc<str>, Option<DeliveryOrder>>>,
    contention: Contention,
}

/// The entry in the stream for a handler that has had a delivery.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct HandlerEntry {
    name: Arc<str>,
    /// The order of the handler's latest delivery.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "names::order")]
    order: Option<DeliveryOrder>,
}

impl Connection {
    /// Returns the local view of the open records, and waits for its initial load.
    async fn mirror(&self) -> Result<&Mirror, StoreError> {
        let mirror = self.started_mirror();
        mirror.wait_for_sequence(0).await?;
        Ok(mirror)
    }

    /// Returns the local view of the open records, which may be empty or stale. The first call
    /// starts it.
    fn started_mirror(&self) -> &Mirror {
        self.mirror.get_or_init(|| {
            let (jetstream, stream) = (self.jetstream.clone(), self.stream.clone());
            Mirror::start(
                jetstream,
                stream,
                self.address.clone(),
                &self.subjects,
                self.time.clone(),
            )
        })
    }

    /// Writes messages atomically. Returns the sequence of the last.
    async fn write(&self, messages: &[Message]) -> Result<u64, WriteError> {
        messages::write(&self.client, &self.address, messages).await
    }

    fn written_handlers(&self) -> MutexGuard<'_, HashMap<Arc<str>, Option<DeliveryOrder>>> {
        self.written_handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeliveryService for JetStreamStore {
    fn provides(&self) -> Vec<ProvidedType> {
        Vec::new()
    }

    fn hint(&self) -> Option<&'static str> {
        Some(
            "an inbox in NATS JetStream has no transaction for handlers: take an `IdempotencyKey`, \
             and let the database reject a duplicate key; or keep the inbox in the handler's \
             database, with `SqliteStore` or `PostgresStore`",
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

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        self.0.claim(request).await
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        self.0.extend(leases, duration).await
    }

    async fn complete(
        &self,
        outcomes: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<CompleteResult>, StoreError> {
        self.0.complete(outcomes).await
    }

    async fn deliveries(&self, event_id: &str) -> Result<Vec<StoredDelivery>, StoreError> {
        self.0.deliveries(event_id).await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        let mirror = self.0.mirror().await?;
        let now = self.0.time.now();
        Ok(mirror.records().backlog(now))
    }

    async fn report_worker(&self, worker: &WorkerInfo, ttl: Duration) -> Result<(), StoreError> {
        self.0.report_worker(worker, ttl).await
    }

    async fn workers(&self) -> Result<Option<Vec<WorkerInfo>>, StoreError> {
        self.0.workers().await.map(Some)
    }

    async fn paused_handlers(&self) -> Result<Vec<PausedHandler>, StoreError> {
        self.0.paused_handlers().await
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    async fn notified(&self) {
        // The view notifies also when it follows the stream again after a failure.
        self.0.started_mirror().changed().await;
    }
}

impl fmt::Debug for JetStreamStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamStore")
            .field("server", &self.0.address.server.to_string())
            .field("inbox", &self.0.address.name)
            .finish_non_exhaustive()
    }
}
