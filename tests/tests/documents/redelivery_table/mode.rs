//! The ways to run the shop: inline, and with an inbox on each store.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use router_core::{
    BoxError, Endpoint, Event, Router, SigningSecret,
    completions::{CompletionStore, HandlerProgress},
    endpoint::Answer as ServiceAnswer,
    event::EventKey,
    testing::{ManualClock, Payload},
};
use router_inbox::{
    Inbox, Store,
    operations::EventSelector,
    sqlx::{self, PgPool},
};
use router_tests::now;
use serde_json::Value;
use tokio::task::JoinHandle;
use tower::Service;

use super::{
    row::Kind,
    shop::{Handlers, Script, router},
};

/// A program that receives events.
#[async_trait]
pub(crate) trait Mode: Send + Sync {
    fn kind(&self) -> Kind;

    /// Sends a signed request to a program with these handlers.
    async fn send(&self, handlers: Handlers, script: &Script, payload: &Payload) -> Answer;

    /// Sends a signed request, and returns once the handler has started. The returned task ends
    /// with the handler.
    async fn start(&self, handlers: Handlers, script: &Script, payload: &Payload)
    -> JoinHandle<()>;

    /// Runs all due deliveries.
    async fn work(&self, handlers: Handlers, script: &Script);

    /// Does what an operator does, or the passing of time.
    async fn operate(&self, operation: Operation, event_id: &str);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Discard,
    Replay,
    /// Waits until the event is no longer stored.
    Forget,
}

/// The answer to Stripe.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    body: Value,
}

impl Answer {
    pub(crate) fn outcome(&self) -> String {
        self.body["outcome"].as_str().unwrap_or("none").to_owned()
    }

    pub(crate) fn handler_outcome(&self, name: &str) -> String {
        let handlers = self.body["handlers"].as_array().into_iter().flatten();
        let mut outcomes = handlers.filter(|handler| handler["name"] == name);
        let outcome = outcomes.next().and_then(|handler| handler["outcome"].as_str());
        outcome.unwrap_or("none").to_owned()
    }
}

/// Sends a signed request to an endpoint around this service.
async fn request<S>(service: S, payload: &Payload) -> Answer
where
    S: Service<Event, Response: Into<ServiceAnswer>, Error: Into<BoxError>>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let secret = SigningSecret::new("whsec_test").expect("secret is valid");
    let signature = payload.sign(&secret);
    let endpoint = Endpoint::new(secret, service);
    let response = endpoint.receive(Some(signature.as_bytes()), payload.body().clone()).await;
    let status = response.status().as_u16();
    Answer { status, body: serde_json::from_slice(response.body()).expect("body is JSON") }
}

/// One process with the default completion store, in memory.
pub(crate) struct Inline {
    clock: ManualClock,
    router: Mutex<Option<Router>>,
}

impl Inline {
    pub(crate) fn new() -> Self {
        Self { clock: ManualClock::at(now()), router: Mutex::default() }
    }

    fn router(&self, handlers: Handlers, script: &Script) -> Router {
        let mut running = self.router.lock().expect("mutex is not poisoned");
        let start = || {
            let router = router(handlers, script).clock(self.clock.clone());
            router.build().expect("router is valid")
        };
        running.get_or_insert_with(start).clone()
    }
}

#[async_trait]
impl Mode for Inline {
    fn kind(&self) -> Kind {
        Kind::Inline
    }

    async fn send(&self, handlers: Handlers, script: &Script, payload: &Payload) -> Answer {
        request(self.router(handlers, script), payload).await
    }

    async fn start(
        &self,
        handlers: Handlers,
        script: &Script,
        payload: &Payload,
    ) -> JoinHandle<()> {
        let (router, payload) = (self.router(handlers, script), payload.clone());
        let started = tokio::spawn(async move { drop(request(router, &payload).await) });
        script.started().await;
        started
    }

    async fn work(&self, _: Handlers, _: &Script) {}

    async fn operate(&self, operation: Operation, _: &str) {
        assert_eq!(operation, Operation::Forget, "inline there are no other operations");
        self.clock.advance(Duration::from_secs(4 * 24 * 60 * 60));
    }
}

/// A process that is restarted before each event, with a completion store that outlives it.
#[derive(Default)]
pub(crate) struct RestartedInline(Arc<Table>);

/// A table of a database.
#[derive(Default)]
struct Table(Mutex<HashMap<String, HashMap<Arc<str>, HandlerProgress>>>);

struct SharedTable(Arc<Table>);

#[async_trait]
impl CompletionStore for SharedTable {
    async fn load(&self, event: &EventKey) -> Result<Vec<HandlerProgress>, BoxError> {
        let rows = self.0.0.lock().expect("mutex is not poisoned");
        let progress = rows.get(&event.to_string()).into_iter().flat_map(HashMap::values);
        Ok(progress.cloned().collect())
    }

    async fn record(&self, event: &EventKey, progress: HandlerProgress) -> Result<(), BoxError> {
        let mut rows = self.0.0.lock().expect("mutex is not poisoned");
        rows.entry(event.to_string()).or_default().insert(progress.handler.clone(), progress);
        Ok(())
    }
}

#[async_trait]
impl Mode for RestartedInline {
    fn kind(&self) -> Kind {
        Kind::RestartedInline
    }

    async fn send(&self, handlers: Handlers, script: &Script, payload: &Payload) -> Answer {
        let router = router(handlers, script).completions(SharedTable(self.0.clone()));
        request(router.build().expect("router is valid"), payload).await
    }

    async fn start(&self, _: Handlers, _: &Script, _: &Payload) -> JoinHandle<()> {
        unreachable!("nothing runs in a process that has ended")
    }

    async fn work(&self, _: Handlers, _: &Script) {}

    async fn operate(&self, operation: Operation, _: &str) {
        assert_eq!(operation, Operation::Forget, "inline there are no other operations");
        self.0.0.lock().expect("mutex is not poisoned").clear();
    }
}

/// Lets time pass for a store.
pub(crate) type Elapse =
    Arc<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Advances the clock of a store.
pub(crate) fn elapse_with(clock: ManualClock) -> Elapse {
    Arc::new(move |time| {
        clock.advance(time);
        Box::pin(std::future::ready(()))
    })
}

/// Advances the time of the database, which is that of the store.
pub(crate) async fn elapse_in_postgres(url: &str) -> Elapse {
    let pool = PgPool::connect(url).await.expect("server runs");
    let passed = AtomicU64::new(0);
    Arc::new(move |time| {
        // Each call adds to the time that has passed.
        let millis = time.as_millis() as u64;
        let millis = passed.fetch_add(millis, Ordering::Relaxed) + millis;
        let pool = pool.clone();
        Box::pin(async move {
            let later = format!(
                "create or replace function stripe_inbox.inbox_now() returns bigint language sql stable
                     as $$ select (extract(epoch from clock_timestamp()) * 1000)::bigint + {millis} $$"
            );
            sqlx::raw_sql(sqlx::AssertSqlSafe(later)).execute(&pool).await.expect("server runs");
        })
    })
}

/// A process with an inbox, which is restarted before each event.
pub(crate) struct InboxMode<S> {
    store: S,
    elapse: Elapse,
}

impl<S: Store + Clone> InboxMode<S> {
    pub(crate) fn new(store: S, elapse: Elapse) -> Self {
        Self { store, elapse }
    }

    fn inbox(&self, handlers: Handlers, script: &Script) -> Inbox<S> {
        let router = router(handlers, script).delivered_by(&self.store);
        Inbox::new(self.store.clone(), router.build().expect("router is valid"))
    }
}

#[async_trait]
impl<S: Store + Clone> Mode for InboxMode<S> {
    fn kind(&self) -> Kind {
        Kind::Inbox
    }

    async fn send(&self, handlers: Handlers, script: &Script, payload: &Payload) -> Answer {
        request(self.inbox(handlers, script), payload).await
    }

    async fn start(
        &self,
        handlers: Handlers,
        script: &Script,
        payload: &Payload,
    ) -> JoinHandle<()> {
        self.send(handlers, script, payload).await;
        let inbox = self.inbox(handlers, script);
        let worker = inbox.worker(inbox.router().clone());
        let started = tokio::spawn(worker.run_until_idle());
        script.started().await;
        started
    }

    async fn work(&self, handlers: Handlers, script: &Script) {
        let inbox = self.inbox(handlers, script);
        inbox.worker(inbox.router().clone()).run_until_idle().await;
    }

    async fn operate(&self, operation: Operation, event_id: &str) {
        let operations = self.store.operations().expect("store has operations");
        let selection = EventSelector { event_id: Some(event_id.into()), ..Default::default() };
        let events = operations.select(&selection).await.expect("store is available");
        assert_eq!(events.len(), 1, "the event is stored");
        match operation {
            Operation::Discard => {
                let discarded = operations.discard(event_id, None).await;
                assert_eq!(discarded.expect("store is available").len(), 1);
            }
            Operation::Replay => {
                let replayed = operations.replay(&events, &[]).await;
                assert_eq!(replayed.expect("store is available").len(), 1);
            }
            Operation::Forget => {
                (self.elapse)(Duration::from_secs(31 * 24 * 60 * 60)).await;
                let purged = operations.purge(&events, Duration::from_secs(30 * 24 * 60 * 60));
                assert_eq!(purged.await.expect("store is available"), 1);
            }
        }
    }
}
