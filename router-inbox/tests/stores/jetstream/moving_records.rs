//! Records that move between stages while other processes look them up.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use router_inbox::{
    JetStreamStore, Store as _, StoreError,
    conformance::Subject as _,
    operations::{Change, ListFilter},
    store::{Operations as _, StoreErrorKind},
};

use super::TestInbox;
use crate::support::paid;

/// Number of changes while each operation runs again and again.
const CHANGES: usize = 100;

/// A lookup finds each delivery exactly once, or fails if the record keeps moving.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moving_record_is_found_exactly_once() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.store(&[paid("evt_1")]).await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let moving = tokio::spawn(move_record(inbox.reopen().await, is_over.clone()));
    let store = &*inbox.store;
    let all = ListFilter { limit: 9, ..ListFilter::default() };
    let of_event = ListFilter { event_id: Some("evt_1".into()), ..all.clone() };
    let selected = store.select_deliveries(&of_event).await.unwrap();
    while !is_over.load(Ordering::SeqCst) {
        let found = [
            ("deliveries", store.deliveries("evt_1").await.map(|found| found.len())),
            ("show", store.show("evt_1").await.map(|shown| shown[0].deliveries.len())),
            ("list", store.list(&of_event).await.map(|listed| listed.len())),
            ("select_deliveries", store.select_deliveries(&of_event).await.map(|all| all.len())),
            ("change", store.change(&selected, Change::Retry).await.map(|changed| changed.len())),
        ];
        for (operation, found) in found {
            assert_eq!(unless_busy(found).unwrap_or(1), 1, "{operation}");
        }
        let listed = store.list(&all).await.unwrap();
        assert!(listed.len() <= 1, "{listed:?}");
    }
    moving.await.unwrap();
}

/// Discards and retries the delivery, so that its record moves between the open and the ended ones.
async fn move_record(store: JetStreamStore, is_over: Arc<AtomicBool>) {
    for _ in 0..CHANGES {
        unless_busy(store.discard("evt_1", None).await);
        unless_busy(store.retry("evt_1", None).await);
    }
    is_over.store(true, Ordering::SeqCst);
}

fn unless_busy<T>(result: Result<T, StoreError>) -> Option<T> {
    match result {
        Err(error) if error.kind() == StoreErrorKind::Busy => None,
        result => Some(result.expect("store is available")),
    }
}
