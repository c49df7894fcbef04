//! The test suite of stores, run on the store in memory.

use std::time::Duration;

use router_core::{
    clock::{Clock as _, SystemClock},
    testing::ManualClock,
};
use router_inbox::conformance::{MemoryStore, Subject};

struct InMemory(MemoryStore, ManualClock);

#[async_trait::async_trait]
impl Subject for InMemory {
    type Store = MemoryStore;

    async fn fresh() -> Self {
        let clock = ManualClock::at(SystemClock.wall());
        Self(MemoryStore::new(clock.clone()), clock)
    }

    fn store(&self) -> &MemoryStore {
        &self.0
    }

    async fn reopen(&self) -> MemoryStore {
        self.0.clone()
    }

    async fn pass(&self, time: Duration) {
        self.1.advance(time);
    }

    async fn set_back(&self, time: Duration) -> bool {
        self.1.set_back(time);
        true
    }
}

router_inbox::store_conformance!(InMemory);
router_inbox::operations_conformance!(InMemory);
