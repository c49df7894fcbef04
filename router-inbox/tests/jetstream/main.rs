//! The store in NATS JetStream keeps the promises of every store, with many processes at once, and through what happens
//! to servers.

mod servers;
#[path = "../support/mod.rs"]
mod support;

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use router_core::testing::ManualClock;
use router_inbox::{JetStreamStore, conformance::Subject};

use self::support::nats;

struct InJetStream {
    store: Arc<JetStreamStore>,
    clock: ManualClock,
}

#[async_trait::async_trait]
impl Subject for InJetStream {
    type Store = JetStreamStore;

    fn missing() -> Option<String> {
        nats::missing()
    }

    async fn fresh() -> Self {
        let server = nats::shared().expect("nothing is missing");
        let store = JetStreamStore::connect(&server.url_of(&nats::unused_name())).await;
        let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        Self { store: Arc::new(store.expect("it can be made").clock(clock.clone())), clock }
    }

    fn store(&self) -> &JetStreamStore {
        &self.store
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

router_inbox::store_conformance!(InJetStream);
router_inbox::operations_conformance!(InJetStream);
