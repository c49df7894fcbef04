//! The history of a delivery that workers run.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use router_core::{BoxError, Event, Router, State, on_event, testing::SyntheticEvent};
use router_inbox::{
    Tx,
    operations::{AttemptOutcome, AttemptSummary},
    sqlx::{Sqlite, query},
    store::Operations as _,
    testing::TestInbox,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Fails in its first run, after a write.
#[on_event("invoice.*", name = "shop.fulfil", retry(max_attempts = 3, backoff = "10s"))]
async fn fulfil(event: Event, mut tx: Tx<Sqlite>, runs: State<AtomicU32>) -> Result<(), BoxError> {
    query("insert into orders (event) values (?)")
        .bind(event.id())
        .execute(tx.begin().await?)
        .await?;
    match runs.fetch_add(1, Ordering::SeqCst) {
        0 => Err("the warehouse is down".into()),
        _ => Ok(()),
    }
}

/// Runs a worker with this name until no delivery is due.
async fn work(shop: &TestInbox, name: &str) {
    let worker = shop.inbox().worker(shop.inbox().router().clone());
    worker.name(name).run_until_idle().await;
    shop.clock().advance(MINUTE);
}

async fn history(shop: &TestInbox) -> Vec<AttemptSummary> {
    let shown = shop.store().show("evt_1").await.expect("store is available");
    shown[0].deliveries[0].history.clone()
}

/// The last attempt is completed in the transaction of its handler.
#[tokio::test]
async fn each_attempt_is_in_history_with_its_worker() {
    let router = Router::builder().only::<fulfil>().state(AtomicU32::new(0));
    let shop = TestInbox::new(router).await.unwrap();
    query("create table orders (event text)").execute(shop.pool()).await.unwrap();
    shop.deliver(SyntheticEvent::new("invoice.paid").id("evt_1")).await.receipt();
    work(&shop, "web-1").await;
    shop.crash_in("shop.fulfil").await;
    let running = history(&shop).await.pop().unwrap();
    assert_eq!((running.number, running.outcome), (2, AttemptOutcome::Running));
    shop.clock().advance(MINUTE);
    work(&shop, "web-2").await;
    work(&shop, "web-3").await;
    let history = history(&shop).await;
    let attempts: Vec<_> =
        history.iter().map(|attempt| (attempt.number, attempt.outcome)).collect();
    let failed = AttemptOutcome::Failed;
    assert_eq!(attempts, [(1, failed), (2, failed), (3, AttemptOutcome::Done)], "{history:?}");
    let error = |index: usize| history[index].error.as_deref().unwrap_or_default();
    assert_eq!(error(0), "the warehouse is down");
    assert!(error(1).contains("its lease expired"), "{history:?}");
    let worker = |index: usize| history[index].worker.as_deref().unwrap_or_default();
    assert!(worker(0).starts_with("web-1-"), "{history:?}");
    assert_eq!(history[1].worker, running.worker, "the worker that crashed");
    assert!(worker(2).starts_with("web-3-"), "{history:?}");
    let durations: Vec<_> = history.iter().map(|attempt| attempt.duration).collect();
    assert_eq!(durations, [Some(Duration::ZERO), Some(MINUTE), Some(Duration::ZERO)]);
}
