//! What receives: an event is stored, and then Stripe is answered.

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use router_core::{
    Answer, DeliveryRouter, Event,
    clock::{Clock, SystemClock},
};
use serde::Serialize;
use tokio::sync::watch;
use tower_service::Service;

use crate::{
    NewDelivery, NewEvent, Store, StoreError, Stored, group_commit::GroupCommit, telemetry,
};

/// A tower `Service<Event>` that stores each event durably, with a delivery for each of its handlers, and then
/// answers. What comes while something is being written is stored together, in one commit.
///
/// A [`worker`](Self::worker) has the handlers run, in this process or in another. Cheap to clone; clones are one
/// inbox.
///
/// ```
/// use router_core::{Event, Router, testing::SyntheticEvent};
/// use router_inbox::{Inbox, SqliteStore, Stored};
/// use tower_service::Service as _;
///
/// async fn fulfil(_: Event) {}
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let url = format!("sqlite:{}/inbox.db", folder.path().display());
/// let store = SqliteStore::open(&url).await?; // "sqlite:inbox.db"
/// let router = Router::builder().without_linked().handler("shop.fulfil", ["invoice.paid"], fulfil);
/// let router = router.delivered_by(&store).build()?;
///
/// // Behind an endpoint: `Endpoint::new(secret, inbox)`.
/// let mut inbox = Inbox::new(store, router.clone());
/// let event = SyntheticEvent::new("invoice.paid").build()?.event().clone();
/// assert_eq!(inbox.call(event.clone()).await?.stored(), Stored::New);
/// assert_eq!(inbox.call(event).await?.stored(), Stored::Duplicate);
///
/// // Runs what is due until it is told to stop; here at once.
/// inbox.worker(router).run(async {}).await;
/// # Ok(())
/// # }
/// ```
pub struct Inbox<S> {
    store: Arc<S>,
    router: DeliveryRouter,
    group_commit: Arc<GroupCommit<S>>,
    store_timeout: Duration,
    clock: Arc<dyn Clock>,
    /// Told whenever there is something new for the workers of this process.
    news: watch::Sender<()>,
}

/// What an inbox answers: the event is stored, now or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    event: String,
    stored: Stored,
    handlers: Vec<Arc<str>>,
}

/// An event could not be stored, and Stripe is to send it again: behind an endpoint the answer is 503.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the event could not be stored in the inbox")]
pub struct Unstored(#[source] Arc<StoreError>);

#[derive(Debug, thiserror::Error)]
#[error(
    "the store had not stored it after {}: it is overloaded, or something holds it up by writing for long",
    humantime::format_duration(*.0)
)]
struct TooSlow(Duration);

impl<S: Store> Inbox<S> {
    /// An inbox that keeps events in this store for the handlers of this router.
    #[must_use]
    pub fn new(store: S, router: DeliveryRouter) -> Self {
        telemetry::describe();
        let store = Arc::new(store);
        Self {
            group_commit: Arc::new(GroupCommit::new(store.clone())),
            store,
            router,
            store_timeout: Duration::from_secs(5),
            clock: Arc::new(SystemClock),
            news: watch::Sender::new(()),
        }
    }

    /// How long an event waits to be stored before Stripe is told to send it again; 5 s by default.
    #[must_use]
    pub fn store_timeout(self, store_timeout: Duration) -> Self {
        Self { store_timeout, ..self }
    }

    /// Where time comes from, for this inbox and its workers; the machine's clock by default.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<S> {
        &self.store
    }

    /// The handlers that it keeps events for.
    #[must_use]
    pub fn router(&self) -> &DeliveryRouter {
        &self.router
    }

    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    pub(crate) fn time(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    async fn receive(self, event: Event) -> Result<Receipt, Unstored> {
        let deliveries: Vec<NewDelivery> = self.router.plan(&event).map(NewDelivery::of).collect();
        let handlers: Vec<_> = deliveries.iter().map(|one| one.handler.clone()).collect();
        if handlers.is_empty() {
            self.router.log_unhandled(&event);
        }
        let begun = self.clock.monotonic();
        let stored = self.stored(NewEvent { event: event.clone(), deliveries }).await;
        telemetry::received(&event, &stored, handlers.is_empty(), self.clock.monotonic() - begun);
        let stored = stored.map_err(Unstored)?;
        self.news.send_replace(());
        Ok(Receipt { event: event.id().to_owned(), stored, handlers })
    }

    async fn stored(&self, event: NewEvent) -> Result<Stored, Arc<StoreError>> {
        self.store.check(&event)?;
        let stored = pin!(self.group_commit.store(event));
        tokio::select! {
            stored = stored => stored,
            // It may be stored yet. Then it is a duplicate when Stripe sends it again.
            () = self.clock.sleep(self.store_timeout) => Err(StoreError::of(TooSlow(self.store_timeout)).into()),
        }
    }
}

impl<S: Store> Service<Event> for Inbox<S> {
    type Response = Receipt;
    type Error = Unstored;
    type Future = Pin<Box<dyn Future<Output = Result<Receipt, Unstored>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unstored>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: Event) -> Self::Future {
        Box::pin(self.clone().receive(event))
    }
}

impl Receipt {
    /// Whether it was stored by this call, or before.
    #[must_use]
    pub fn stored(&self) -> Stored {
        self.stored
    }

    /// The stable names of the handlers that it is for; none, if it is unhandled. It is kept all the same.
    #[must_use]
    pub fn handlers(&self) -> &[Arc<str>] {
        &self.handlers
    }
}

/// In the form of a [`Report`](router_core::Report)'s.
impl From<Receipt> for Answer {
    fn from(Receipt { event, stored, handlers }: Receipt) -> Self {
        #[derive(Serialize)]
        struct Body<'r> {
            event: &'r str,
            outcome: &'static str,
            handlers: Vec<Handler<'r>>,
        }
        #[derive(Serialize)]
        struct Handler<'r> {
            name: &'r str,
            outcome: &'static str,
        }
        let outcome = match stored {
            Stored::New => "stored",
            Stored::Duplicate => "duplicate",
        };
        let handlers = handlers.iter().map(|name| Handler { name, outcome }).collect::<Vec<_>>();
        let unhandled = handlers.is_empty() && stored == Stored::New;
        let outcome = if unhandled { "unhandled" } else { outcome };
        Self::accepted(&Body { event: &event, outcome, handlers })
    }
}

impl<S> Clone for Inbox<S> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            router: self.router.clone(),
            group_commit: self.group_commit.clone(),
            store_timeout: self.store_timeout,
            clock: self.clock.clone(),
            news: self.news.clone(),
        }
    }
}

impl<S> fmt::Debug for Inbox<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("store_timeout", &self.store_timeout).finish_non_exhaustive()
    }
}
