//! The task that hands missed events to an inbox.

use std::{pin::pin, time::Duration};

use router_core::{Event, handler::ErrorChain, signature::EndpointName};
use router_inbox::{Inbox, InboxError, Store, StoreError, store::Operations};
use tower_service::Service as _;

use super::{
    EventList, EventReader, EventSource, connected_accounts, format_checkpoint, parse_checkpoint,
    reader::MAX_AGE,
    telemetry::{self, Outcome},
};
use crate::{Client, Error};

/// Hands the events that Stripe could not deliver to an inbox (feature `inbox`).
///
/// A pass lists the undelivered snapshot events, and all thin events that have a handler. It calls
/// the inbox with each event that the store does not have, as the endpoint does, so an event that
/// also arrives as a webhook is handled once. After each batch a checkpoint is stored, from which
/// the next pass goes on, also after a restart. Several processes may run it.
///
/// ```
/// use router_inbox::Inbox;
/// use router_stripe::reconcile::Reconcile;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let stripe = router_stripe::testing::StubStripe::start().await?;
/// # let client = stripe.client();
/// # let folder = tempfile::tempdir()?;
/// # let url = format!("sqlite:{}/inbox.db", folder.path().display());
/// # let store = router_inbox::SqliteStore::open(&url).await?;
/// # let router = router_core::Router::builder().without_linked();
/// # let router = router.handler("shop.fulfil", ["invoice.paid"], async |_: router_core::Event| {});
/// # let router = router.delivered_by(&store).build()?;
/// # let inbox = Inbox::new(store, router);
/// # let shutdown = async {};
/// let reconcile = Reconcile::new(client, inbox).endpoint("default");
/// let summary = reconcile.pass().await?; // one pass
/// println!("{} events were missed", summary.missed);
/// reconcile.run(shutdown).await; // or a pass every ten minutes
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Reconcile<S> {
    client: Client,
    inbox: Inbox<S>,
    endpoint: String,
    thin_endpoint: Option<String>,
    connect_endpoint: Option<String>,
    accounts: Vec<String>,
    has_all_accounts: bool,
    interval: Duration,
    since: Duration,
    min_age: Duration,
}

/// The numbers of events of a pass, by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// All events that were listed.
    pub listed: u64,
    /// Events that the inbox did not have. Their handlers run now.
    pub missed: u64,
    /// Events that the inbox had.
    pub already_stored: u64,
    /// Events that the inbox has of another endpoint or account. They are not handed over, because
    /// every handler would run again: the name of the endpoint may be wrong.
    pub other_endpoint: u64,
    /// Thin events without a handler.
    pub ignored: u64,
    /// Items that are not events in a known form.
    pub unreadable: u64,
}

/// The failure of a pass. The next pass goes on where this one has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconcileError {
    /// A request to Stripe failed. Events of other accounts and lists have been read all the same.
    #[error("cannot list the events {list}")]
    Stripe {
        /// The list, as in `v1/default/self`.
        list: String,
        /// The cause.
        #[source]
        error: Error,
    },
    /// The connected accounts could not be listed.
    #[error("cannot list the connected accounts")]
    Accounts(#[source] Error),
    /// The inbox did not accept an event.
    #[error("cannot hand a missed event to the inbox")]
    Inbox(#[from] InboxError),
    /// The store could not be read, or a checkpoint not be stored.
    #[error("cannot access the store of the inbox")]
    Store(#[from] StoreError),
    /// The store has no [`Operations`], by which events are found.
    #[error("the store of the inbox does not implement `Operations`, by which events are found")]
    NoOperations,
    /// A checkpoint in the store is not a time.
    #[error("the checkpoint {name} is not a time: {value:?}; was it changed by another program?")]
    Checkpoint {
        /// The name of the checkpoint.
        name: String,
        /// Its value.
        value: String,
    },
}

impl<S: Store> Reconcile<S> {
    /// Creates the task for the account of the client's key.
    #[must_use]
    pub fn new(client: Client, inbox: Inbox<S>) -> Self {
        telemetry::describe();
        Self {
            client,
            inbox,
            endpoint: EndpointName::DEFAULT.to_owned(),
            thin_endpoint: None,
            connect_endpoint: None,
            accounts: Vec::new(),
            has_all_accounts: false,
            interval: Duration::from_secs(10 * 60),
            since: MAX_AGE,
            min_age: Duration::from_secs(60),
        }
    }

    /// Sets the name of the endpoint that receives the account's own events. It must be the name of
    /// that endpoint's signing secret, because an event with another name is another event, which
    /// is handled again. Default: `default`, the name of a secret without one.
    #[must_use]
    pub fn endpoint(self, name: impl Into<String>) -> Self {
        Self { endpoint: name.into(), ..self }
    }

    /// Sets the name of the endpoint that receives thin events, if it is another one.
    #[must_use]
    pub fn thin_endpoint(self, name: impl Into<String>) -> Self {
        Self { thin_endpoint: Some(name.into()), ..self }
    }

    /// Sets the name of the endpoint that receives the snapshot events of connected accounts, if it
    /// is another one.
    #[must_use]
    pub fn connect_endpoint(self, name: impl Into<String>) -> Self {
        Self { connect_endpoint: Some(name.into()), ..self }
    }

    /// Adds a connected account (`acct_…`).
    #[must_use]
    pub fn account(mut self, id: impl Into<String>) -> Self {
        self.accounts.push(id.into());
        self
    }

    /// Adds all connected accounts, which each pass lists.
    #[must_use]
    pub fn all_accounts(self) -> Self {
        Self { has_all_accounts: true, ..self }
    }

    /// Sets the pause between two passes of [`run`](Self::run). Default: 10 minutes.
    #[must_use]
    pub fn every(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// Sets the maximum age of the events that are handed over. Default: 30 days.
    ///
    /// It must not be longer than the retention of the inbox (`Worker::retention`, 30 days by
    /// default). The inbox does not recognize an event that it has purged, and would run its
    /// handlers again.
    #[must_use]
    pub fn since(self, age: Duration) -> Self {
        Self { since: age.min(MAX_AGE), ..self }
    }

    /// Sets the minimum age of the events that are listed, see [`EventReader::min_age`]. Default:
    /// one minute.
    #[must_use]
    pub fn min_age(self, age: Duration) -> Self {
        Self { min_age: age, ..self }
    }

    /// Makes a pass at once and then after each pause, until `shutdown` is ready. A failed pass is
    /// logged, and the next one goes on where it has failed.
    pub async fn run(&self, shutdown: impl Future) {
        let mut shutdown = pin!(shutdown);
        loop {
            let pass = async {
                if let Err(error) = self.pass().await {
                    let error = ErrorChain::new(&error);
                    tracing::error!(%error, "the search for missed events failed; retrying later");
                }
                // Jitter, so that processes started together do not list together.
                let jitter = 0.75 + fastrand::f64() / 2.0;
                self.client.clock().sleep(self.interval.mul_f64(jitter)).await;
            };
            tokio::select! {
                biased;
                _ = &mut shutdown => return,
                () = pass => {}
            }
        }
    }

    /// Makes one pass. Cancel safe: the next pass goes on where this one has ended.
    ///
    /// # Errors
    ///
    /// Fails if a request to Stripe or to the inbox fails. After a failed request to Stripe, the
    /// other accounts and lists are still read, and the first error is returned.
    pub async fn pass(&self) -> Result<Summary, ReconcileError> {
        let mut summary = Summary::default();
        let result = self.read_sources(&mut summary).await;
        telemetry::passed(&summary, result.is_ok());
        result.map(|()| summary)
    }

    async fn read_sources(&self, summary: &mut Summary) -> Result<(), ReconcileError> {
        let store = self.inbox.store().clone();
        let operations = store.operations().ok_or(ReconcileError::NoOperations)?;
        let mut result = Ok(());
        let sources = match self.sources().await {
            Ok(sources) => sources,
            Err(error) => {
                result = Err(error);
                self.sources_of(self.accounts.clone())
            }
        };
        for source in sources {
            match self.read(source, operations, summary).await {
                // One account that has revoked its access must not keep the others from being read.
                Err(error @ ReconcileError::Stripe { .. }) => {
                    tracing::warn!(error = %ErrorChain::new(&error), "a list of events was not read");
                    result = result.and(Err(error));
                }
                other => other?,
            }
        }
        result
    }

    async fn sources(&self) -> Result<Vec<EventSource>, ReconcileError> {
        let mut accounts = self.accounts.clone();
        if self.has_all_accounts {
            let all = connected_accounts(&self.client).await;
            accounts.extend(all.map_err(ReconcileError::Accounts)?);
        }
        Ok(self.sources_of(accounts))
    }

    fn sources_of(&self, mut accounts: Vec<String>) -> Vec<EventSource> {
        accounts.sort();
        accounts.dedup();
        let thin = self.thin_endpoint.as_ref().unwrap_or(&self.endpoint);
        let connect = self.connect_endpoint.as_ref().unwrap_or(&self.endpoint);
        let connect_thin = self.thin_endpoint.as_ref().unwrap_or(connect);
        let own = [(EventList::Undelivered, &self.endpoint), (EventList::Thin, thin)];
        let connected = [(EventList::Undelivered, connect), (EventList::Thin, connect_thin)];
        let own = own.map(|(list, endpoint)| EventSource::new(list, endpoint));
        let connected = accounts.iter().flat_map(|account| {
            connected.map(|(list, endpoint)| EventSource::new(list, endpoint).account(account))
        });
        own.into_iter().chain(connected).collect()
    }

    /// Reads a source from its checkpoint on.
    async fn read(
        &self,
        source: EventSource,
        operations: &dyn Operations,
        summary: &mut Summary,
    ) -> Result<(), ReconcileError> {
        let name = source.checkpoint_name();
        let checkpoint = operations.checkpoint(&name).await?;
        let checkpoint = checkpoint.map(|value| {
            parse_checkpoint(&value)
                .ok_or_else(|| ReconcileError::Checkpoint { name: name.clone(), value })
        });
        let checkpoint = checkpoint.transpose()?;
        let failed = |error| ReconcileError::Stripe { list: source.to_string(), error };
        let mut reader = EventReader::new(&self.client, source.clone());
        reader = reader.max_age(self.since).min_age(self.min_age);
        if let Some(checkpoint) = checkpoint {
            reader = reader.since(checkpoint);
        }
        let start = reader.range().await.map_err(failed)?.start;
        if let Some(checkpoint) = checkpoint.filter(|checkpoint| *checkpoint < start) {
            tracing::error!(
                %source,
                from = %humantime::format_rfc3339_seconds(checkpoint),
                until = %humantime::format_rfc3339_seconds(start),
                "events of this time are too old to be searched, and may be lost; find them in \
                 Stripe's dashboard"
            );
        }
        while let Some(batch) = reader.next().await.map_err(failed)? {
            for id in &batch.unreadable {
                summary.count(Outcome::Unreadable, id);
            }
            for event in batch.events {
                let id = event.id().to_owned();
                let outcome = self.hand_over(&source, event, operations).await?;
                summary.count(outcome, &id);
            }
            operations.set_checkpoint(&name, &format_checkpoint(batch.until)).await?;
        }
        Ok(())
    }

    /// Hands an event to the inbox, unless the store has it.
    async fn hand_over(
        &self,
        source: &EventSource,
        event: Event,
        operations: &dyn Operations,
    ) -> Result<Outcome, ReconcileError> {
        // This list also has the events for which no destination is enabled.
        if source.list() == EventList::Thin && self.inbox.router().plan(&event).next().is_none() {
            return Ok(Outcome::Ignored);
        }
        let stored = operations.show(event.id()).await?;
        let key = event.key();
        let is_same = |endpoint: &str, account: Option<&str>| {
            (endpoint, account) == (key.endpoint(), key.account())
        };
        if let Some(other) = stored.first() {
            if stored.iter().any(|it| is_same(&it.event.endpoint, it.event.account.as_deref())) {
                return Ok(Outcome::Stored);
            }
            tracing::warn!(
                event.id = event.id(),
                event.r#type = event.event_type(),
                endpoint = key.endpoint(),
                account = key.account(),
                stored_endpoint = other.event.endpoint,
                stored_account = other.event.account,
                "an undelivered event is stored for another endpoint or account, and is not handled \
                 again; check the endpoints given to `Reconcile`"
            );
            return Ok(Outcome::OtherEndpoint);
        }
        // Of a thin event and its snapshot event, the inbox decides for each handler.
        let receipt = self.inbox.clone().call(event).await?;
        Ok(match receipt.stored() {
            Some(stored) if stored.is_duplicate() => Outcome::Stored,
            // New, redelivered to a handler that had no delivery, or replied to.
            _ => Outcome::Missed,
        })
    }
}

impl Summary {
    fn count(&mut self, outcome: Outcome, id: &str) {
        telemetry::found(outcome, id);
        self.listed += 1;
        *match outcome {
            Outcome::Missed => &mut self.missed,
            Outcome::Stored => &mut self.already_stored,
            Outcome::OtherEndpoint => &mut self.other_endpoint,
            Outcome::Ignored => &mut self.ignored,
            Outcome::Unreadable => &mut self.unreadable,
        } += 1;
    }
}
