//! Tests of the JetStream store: the conformance suite, concurrent processes and server failures.

mod client;
mod clock;
mod connect;
mod delayed_claim;
mod latency;
mod outages;
mod redelivery;
mod servers;
mod shared_stream;
mod storable;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod workers;

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use async_nats::{
    ConnectOptions,
    jetstream::{self, Context},
};
use router_core::{handler::ErrorChain, testing::ManualClock};
use router_inbox::{
    JetStreamStore, StoreError,
    conformance::Subject,
    store::{DeliveryState, Redelivery, Stored},
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
        let url = nats::shared()?.url_of(&unused_name());
        let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let store = JetStreamStore::options().clock(clock.clone()).connect(&url).await;
        let store = Arc::new(store.expect("the stream can be created"));
        Some(Self { store, url, clock })
    }

    /// Opens the same inbox again, as another process would.
    async fn reopen(&self) -> JetStreamStore {
        let store = JetStreamStore::options().clock(self.clock.clone()).connect(&self.url).await;
        store.expect("the inbox exists")
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

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

/// The result of storing an event again while its only delivery is waiting.
fn duplicate() -> Stored {
    Stored::Redelivered(vec![Redelivery::Unchanged(DeliveryState::Waiting)])
}

/// Formats an error with its causes, as it is logged, and asserts that it does not show the
/// password.
fn error_chain(error: &StoreError) -> String {
    let message = ErrorChain::new(error).text();
    let all = format!("{message} {error:?}");
    assert!(!all.contains(PASSWORD), "{all}");
    message
}

/// Connects to the server directly, as an operator would.
async fn operator(server: &Server) -> Context {
    let options = ConnectOptions::with_user_and_password(USER.into(), PASSWORD.into());
    jetstream::new(options.connect(server.address()).await.expect("the server runs"))
}

router_inbox::store_conformance!(TestInbox);
router_inbox::operations_conformance!(TestInbox);
