//! Tests of the JetStream store: the conformance suite, and tests specific to JetStream.

mod client;
mod clock;
mod connect;
mod delayed_claim;
mod erase;
mod holding_proxy;
mod latency;
mod messages;
mod moving_records;
mod outages;
mod servers;
mod tls;
mod workers;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, UNIX_EPOCH},
};

use async_nats::{
    ConnectOptions,
    jetstream::{self, Context},
};
use router_core::testing::ManualClock;
use router_inbox::{
    JetStreamStore,
    conformance::{ServerSubject, Subject},
};
use router_test_servers::{
    nats::{self, PASSWORD, Server, USER},
    unused_name,
};

struct TestInbox {
    store: Arc<JetStreamStore>,
    url: String,
    clock: ManualClock,
}

impl TestInbox {
    /// Creates an inbox of its own, with a clock that only [`pass`](Subject::pass) advances.
    /// Returns `None` if nats-server is not installed.
    async fn create() -> Option<Self> {
        Some(Self::create_on(nats::shared()?).await)
    }

    async fn create_on(server: &Server) -> Self {
        let url = server.url_of(&unused_name());
        let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let store = JetStreamStore::options().clock(clock.clone()).connect(&url).await;
        let store = Arc::new(store.expect("the stream can be created"));
        Self { store, url, clock }
    }
}

#[async_trait::async_trait]
impl Subject for TestInbox {
    type Store = JetStreamStore;

    fn missing() -> Option<String> {
        nats::missing()
    }

    async fn fresh() -> Self {
        TestInbox::create().await.expect("nats-server is installed")
    }

    fn store(&self) -> &JetStreamStore {
        &self.store
    }

    async fn reopen(&self) -> JetStreamStore {
        let store = JetStreamStore::options().clock(self.clock.clone()).connect(&self.url).await;
        store.expect("the inbox exists")
    }

    fn notifies() -> bool {
        true
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    async fn set_back(&self, time: Duration) -> bool {
        self.clock.set_back(time);
        true
    }
}

/// An inbox on a server of its own.
struct ServerInbox {
    inbox: TestInbox,
    server: Mutex<Server>,
}

impl ServerInbox {
    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().expect("no holder of the lock panics")
    }
}

#[async_trait::async_trait]
impl Subject for ServerInbox {
    type Store = JetStreamStore;

    fn missing() -> Option<String> {
        nats::missing()
    }

    async fn fresh() -> Self {
        let server = Server::start().expect("nats-server is installed");
        let inbox = TestInbox::create_on(&server).await;
        Self { inbox, server: Mutex::new(server) }
    }

    fn store(&self) -> &JetStreamStore {
        self.inbox.store()
    }

    async fn reopen(&self) -> JetStreamStore {
        self.inbox.reopen().await
    }

    fn notifies() -> bool {
        true
    }

    async fn pass(&self, time: Duration) {
        self.inbox.pass(time).await;
    }
}

#[async_trait::async_trait]
impl ServerSubject for ServerInbox {
    fn address(&self) -> String {
        self.server().address()
    }

    async fn stop(&self) {
        self.server().stop();
    }

    async fn kill(&self) {
        self.server().kill();
    }

    async fn start(&self) {
        self.server().restart();
    }
}

/// Connects to the server directly, as an operator would.
async fn operator(server: &Server) -> Context {
    let options = ConnectOptions::with_user_and_password(USER.into(), PASSWORD.into());
    jetstream::new(options.connect(server.address()).await.expect("the server runs"))
}

router_inbox::store_conformance!(TestInbox);
router_inbox::operations_conformance!(TestInbox);
router_inbox::outage_conformance!(ServerInbox);
