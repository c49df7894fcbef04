//! The task that searches for missed events, and its settings.

use std::{
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use router_core::{handler::ErrorChain, signature::EndpointName};
use router_inbox::{Inbox, Store};

use super::{ReconcileError, reader::MAX_AGE, telemetry};
use crate::Client;

/// Maximum pause between two passes. Without it, the jitter could overflow.
const MAX_INTERVAL: Duration = MAX_AGE;

/// Hands the events that Stripe could not deliver to an inbox (feature `inbox`).
///
/// A pass lists the undelivered snapshot events, and the thin events that a handler names. It calls
/// the inbox with each event that the store does not have, as the endpoint does, so an event that
/// also arrives as a webhook is handled once. After each batch a checkpoint is stored, from which
/// the next pass goes on, also after a restart. Without a checkpoint, the first pass begins 84
/// hours ago, or at the age set with [`since`](Self::since). Several processes may run the task.
///
/// The name of the endpoint is part of an event's identity. Call [`RouterBuilder::endpoints`] with
/// the names of the secrets, so that a wrong name given to `Reconcile` is an error at once.
///
/// Thin events are listed only if a handler has a pattern that names them, such as
/// `v1.invoice.paid` or `v2.*`. A handler of `*` alone gets no listed thin event, because the list
/// has every thin event of the account, whether or not a destination sends it.
///
/// A listed event has the API version of the account, and the settings of an
/// [`Endpoint`](router_core::Endpoint), such as `require_api_version`, do not apply to it.
///
/// [`RouterBuilder::endpoints`]: router_core::build::RouterBuilder::endpoints
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
/// # let router = router.endpoints(["default"]).delivered_by(&store).build()?;
/// # let inbox = Inbox::new(store, router);
/// # let shutdown = async {};
/// # use std::time::Duration;
/// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
///
/// // The inbox retains events for 30 days, see `Worker::retention`.
/// let reconcile = Reconcile::new(client, inbox).endpoint("default").since(29 * DAY);
/// let summary = reconcile.pass().await?; // one pass
/// println!("{} events were missed", summary.missed);
/// reconcile.run(shutdown).await?; // or a pass every ten minutes
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Reconcile<S> {
    pub(super) client: Client,
    pub(super) inbox: Inbox<S>,
    pub(super) endpoint: String,
    pub(super) thin_endpoint: Option<String>,
    pub(super) connect_endpoint: Option<String>,
    pub(super) accounts: Vec<String>,
    pub(super) has_all_accounts: bool,
    pub(super) interval: Duration,
    /// The maximum age of the events, if it was set.
    pub(super) since: Option<Duration>,
    pub(super) min_age: Duration,
    /// `true` once the store has been found to have events of the endpoints.
    pub(super) endpoints_checked: Arc<AtomicBool>,
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
            since: None,
            min_age: Duration::from_secs(60),
            endpoints_checked: Arc::default(),
        }
    }

    /// Sets the name of the endpoint that receives the account's own events. It must be the name of
    /// that endpoint's signing secret, because an event with another name is another event, which
    /// is handled again. Default: `default`, the name of a secret without one.
    #[must_use]
    pub fn endpoint(self, name: impl Into<String>) -> Self {
        Self { endpoint: name.into(), ..self }
    }

    /// Sets the name of the endpoint that receives thin events. Default: that of the snapshot
    /// events of the same account.
    #[must_use]
    pub fn thin_endpoint(self, name: impl Into<String>) -> Self {
        Self { thin_endpoint: Some(name.into()), ..self }
    }

    /// Sets the name of the endpoint that receives the events of connected accounts. Default: that
    /// of the account's own events. For thin events, a [`thin_endpoint`](Self::thin_endpoint)
    /// applies instead.
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
        Self { interval: interval.min(MAX_INTERVAL), ..self }
    }

    /// Sets the maximum age of the events that are handed over, at most 30 days. Default: 84 hours,
    /// which is half a day less than the shortest retention of an inbox.
    ///
    /// The age must be shorter, by a day, than the retention of the inbox: the shortest of all
    /// workers (`Worker::retention`, 30 days by default) and of `event-router inbox purge`. Stripe
    /// lists an event as undelivered if any endpoint of the account has failed, so this inbox may
    /// have handled it. The inbox does not recognize an event that it has purged, and would run its
    /// handlers again.
    ///
    /// If the checkpoint is older than this age, the events in between are given up, and logged as
    /// an error. If no age is set, they are not given up: see [`ReconcileError::Gap`].
    #[must_use]
    pub fn since(self, age: Duration) -> Self {
        Self { since: Some(age.min(MAX_AGE)), ..self }
    }

    /// Sets the minimum age of the events that are listed, see
    /// [`EventReader::min_age`](super::EventReader::min_age). Default: one minute.
    #[must_use]
    pub fn min_age(self, age: Duration) -> Self {
        Self { min_age: age, ..self }
    }

    /// Makes a pass at once and then after each pause, until `shutdown` is ready. A failed pass is
    /// logged, and the next one goes on from the checkpoints.
    ///
    /// # Errors
    ///
    /// Fails if no later pass could succeed: if the router does not have an endpoint of this name
    /// ([`ReconcileError::UnknownEndpoint`]), or the store cannot find events
    /// ([`ReconcileError::NoOperations`]).
    pub async fn run(&self, shutdown: impl Future) -> Result<(), ReconcileError> {
        let mut shutdown = pin!(shutdown);
        loop {
            let pass = async {
                if let Err(error) = self.pass().await {
                    if error.is_permanent() {
                        return Err(error);
                    }
                    let error = ErrorChain::new(&error);
                    tracing::error!(%error, "the search for missed events failed; retrying later");
                }
                // Jitter, so that processes started together do not list together.
                let jitter = 0.75 + fastrand::f64() / 2.0;
                self.client.clock().sleep(self.interval.mul_f64(jitter)).await;
                Ok(())
            };
            tokio::select! {
                biased;
                _ = &mut shutdown => return Ok(()),
                result = pass => result?,
            }
        }
    }
}
