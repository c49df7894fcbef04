//! The store in NATS JetStream keeps the promises of every store, with many processes at once, and through what happens
//! to servers.

mod held_up;
mod kept;
mod opening;
mod outages;
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod together;

use std::{
    error::Error as _,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use async_nats::{
    ConnectOptions,
    jetstream::{self, Context},
};
use router_core::testing::ManualClock;
use router_inbox::{JetStreamStore, StoreError, conformance::Subject};

use self::support::nats::{self, PASSWORD, Server, USER};

struct InJetStream {
    store: Arc<JetStreamStore>,
    url: String,
    clock: ManualClock,
}

impl InJetStream {
    /// An inbox of its own, for which time stands still; none, where there is no NATS server.
    async fn made() -> Option<Self> {
        let url = nats::shared()?.url_of(&nats::unused_name());
        let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let store = JetStreamStore::connect(&url).await.expect("it can be made");
        Some(Self { store: Arc::new(store.clock(clock.clone())), url, clock })
    }

    /// The same, as another process has it.
    async fn again(&self) -> JetStreamStore {
        let store = JetStreamStore::connect(&self.url).await.expect("it is there");
        store.clock(self.clock.clone())
    }
}

#[async_trait::async_trait]
impl Subject for InJetStream {
    type Store = JetStreamStore;

    fn missing() -> Option<String> {
        nats::missing()
    }

    async fn fresh() -> Self {
        InJetStream::made().await.expect("nothing is missing")
    }

    fn store(&self) -> &JetStreamStore {
        &self.store
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

/// An error as it is logged, with all that caused it.
fn told(error: &StoreError) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told += &format!(": {error}");
        cause = error.source();
    }
    let all = format!("{told} {error:?}");
    assert!(!all.contains(PASSWORD), "{all}");
    told
}

/// As an operator is.
async fn connected(server: &Server) -> Context {
    let options = ConnectOptions::with_user_and_password(USER.into(), PASSWORD.into());
    jetstream::new(options.connect(server.address()).await.expect("it is there"))
}

router_inbox::store_conformance!(InJetStream);
router_inbox::operations_conformance!(InJetStream);
