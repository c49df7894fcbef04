//! An inbox in a SQLite file, with webhooks that are signed and verified, and the search for its
//! missed events.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use router_core::{
    Event, Router,
    build::RouterBuilder,
    testing::{ManualClock, Payload},
};
use router_inbox::{store::Operations, testing::TestInbox};
use router_stripe::{
    reconcile::{Reconcile, ReconcileError, Summary},
    testing::StubStripe,
};
use serde_json::Value;

use crate::events::{advance, client, stub};

pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The name of the checkpoint of the account's undelivered events.
pub(crate) const CHECKPOINT: &str = "stripe-events/test/v1/default/self";

/// The stub, an inbox with a handler that counts its calls by event, and the search.
pub(crate) struct Shop {
    pub(crate) stripe: StubStripe,
    pub(crate) inbox: TestInbox,
    calls: Arc<Mutex<BTreeMap<String, u32>>>,
    pub(crate) reconcile: Reconcile<router_inbox::SqliteStore>,
    pub(crate) clock: ManualClock,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::of(&["invoice.paid", "v1.invoice.paid"], |router| router).await
    }

    /// Opens a shop whose handler has these patterns.
    pub(crate) async fn of(
        patterns: &[&str],
        configure: impl FnOnce(RouterBuilder) -> RouterBuilder,
    ) -> Self {
        let stripe = stub().await;
        let calls = Arc::<Mutex<BTreeMap<String, u32>>>::default();
        let counter = calls.clone();
        let handler = move |event: Event| {
            let mut calls = counter.lock().unwrap_or_else(PoisonError::into_inner);
            *calls.entry(event.id().to_owned()).or_default() += 1;
            async {}
        };
        let router = Router::builder().without_linked();
        let router = configure(router.handler("shop.fulfil", patterns.iter().copied(), handler));
        let inbox = TestInbox::new(router).await.expect("router is valid");
        let (client, clock) = client(&stripe);
        let reconcile = Reconcile::new(client, inbox.inbox().clone());
        Self { stripe, inbox, calls, reconcile, clock }
    }

    /// Delivers an event, and returns whether the inbox had it.
    pub(crate) async fn webhook(&self, event: &Value) -> bool {
        let payload = Payload::recorded(event.to_string()).expect("event is valid");
        let response = self.inbox.deliver(payload).await;
        assert_eq!(response.status(), 200);
        response.receipt().stored().expect("event is stored").is_duplicate()
    }

    pub(crate) async fn pass(&self) -> Result<Summary, ReconcileError> {
        advance(&self.clock, self.reconcile.pass()).await
    }

    pub(crate) fn operations(&self) -> &dyn Operations {
        let operations = router_inbox::Store::operations(&**self.inbox.store());
        operations.expect("SQLite has operations")
    }

    pub(crate) async fn checkpoint(&self) -> Option<String> {
        self.operations().checkpoint(CHECKPOINT).await.expect("store is available")
    }

    /// Lets time pass at Stripe and in the inbox.
    pub(crate) fn wait(&self, time: Duration) {
        self.stripe.set_clock_ahead(time);
        self.inbox.clock().advance(time);
        self.clock.advance(time);
    }

    /// Runs the handlers, and returns the number of calls of each event.
    pub(crate) async fn calls(&self) -> BTreeMap<String, u32> {
        self.inbox.run_until_idle().await;
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) async fn assert_each_handled_once(&self, events: usize) {
        let calls = self.calls().await;
        assert_eq!(calls.len(), events, "{calls:?}");
        assert!(calls.values().all(|calls| *calls == 1), "{calls:?}");
    }
}
