//! Metrics of the inbox.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use router_core::{Event, Failure, Outcome, Router, on_event, testing::ManualClock};
use router_inbox::{
    Store as _,
    store::{
        ClaimRequest,
        DeliveryState::{Dead, Done, Running, Waiting},
        HandlerSlots, NewDelivery, NewEvent,
    },
};
use router_tests::{event as event_of, now, payload};
use tokio::sync::Semaphore;
use tower::Service as _;

use crate::{
    metrics_table::table,
    shop::{Shop, event, settle},
};

/// Returns the counters and gauges of the inbox by name and labels; a snapshot resets counters.
pub(crate) fn inbox_metrics(snapshotter: &Snapshotter) -> BTreeMap<String, i64> {
    let metrics = snapshotter.snapshot().into_vec().into_iter().filter_map(|(key, _, _, value)| {
        let (_, key) = key.into_parts();
        let labels: Vec<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = key.name().strip_prefix("stripe_webhook_")?;
        let is_selected =
            name.starts_with("inbox_") || name.starts_with("dead_") || name == "unhandled_total";
        let value = match value {
            DebugValue::Counter(count) => i64::try_from(count).ok()?,
            DebugValue::Gauge(number) => number.into_inner() as i64,
            DebugValue::Histogram(_) => return None,
        };
        is_selected.then(|| (format!("{name} {}", labels.join(" ")), value))
    });
    metrics.collect()
}

const LEASE: Duration = Duration::from_secs(60);

/// Advances the clock until the inbox has updated its gauges.
pub(crate) async fn pass_check(shop: &Shop) {
    settle().await;
    shop.clock.advance(Duration::from_secs(15));
    settle().await;
}

#[tokio::test]
async fn received_pending_and_failed_events_are_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let handler = |event: Event| async move {
        match event.id() {
            "evt_1" => Ok(Outcome::Done),
            "evt_2" => Err(Failure::permanent("no such order")),
            _ => Err(Failure::retry("the warehouse is down")),
        }
    };
    let shop =
        Shop::new(Router::builder().without_linked().handler("shop", ["invoice.paid"], handler));
    for id in ["evt_1", "evt_1", "evt_2"] {
        shop.receive(id).await.unwrap();
    }
    let unhandled = event_of(payload("charge.refunded").replace("evt_1", "evt_9")).unwrap();
    shop.inbox.clone().call(unhandled).await.unwrap();
    shop.store().is_down.store(true, Ordering::SeqCst);
    shop.receive("evt_3").await.unwrap_err();
    shop.store().is_down.store(false, Ordering::SeqCst);
    // A worker claims a delivery and crashes.
    let request = ClaimRequest::new(vec![HandlerSlots::new("shop", 1)], 1, LEASE);
    let lost_claim = shop.store().claim(&request).await.unwrap();
    pass_check(&shop).await;
    let worker = shop.start_worker();
    shop.wait_for("evt_2", Dead, 1).await;
    insta::assert_debug_snapshot!(inbox_metrics(&snapshotter), @r#"
    {
        "dead_letters_total handler=shop": 1,
        "inbox_deliveries handler=shop state=running": 1,
        "inbox_deliveries handler=shop state=waiting": 1,
        "inbox_events_total outcome=duplicate": 1,
        "inbox_events_total outcome=store_error": 1,
        "inbox_events_total outcome=stored": 2,
        "inbox_events_total outcome=unhandled": 1,
        "inbox_oldest_due_seconds handler=shop": 15,
        "inbox_oldest_seconds handler=shop": 15,
        "inbox_paused handler=shop": 0,
        "inbox_workers ": 0,
        "unhandled_total event_type=charge.refunded": 1,
    }
    "#);

    shop.clock.advance(LEASE);
    shop.wait_for("evt_1", Waiting, 1).await;
    shop.clock.advance(LEASE);
    shop.wait_for("evt_1", Done, 2).await;
    drop(lost_claim);
    shop.advance_and_poll(LEASE).await;
    pass_check(&shop).await;
    insta::assert_debug_snapshot!(inbox_metrics(&snapshotter), @r#"
    {
        "dead_letters_total handler=shop": 0,
        "inbox_deliveries handler=shop state=running": 0,
        "inbox_deliveries handler=shop state=waiting": 0,
        "inbox_events_total outcome=duplicate": 0,
        "inbox_events_total outcome=store_error": 0,
        "inbox_events_total outcome=stored": 0,
        "inbox_events_total outcome=unhandled": 0,
        "inbox_leases_expired_total handler=shop": 1,
        "inbox_oldest_due_seconds handler=shop": 0,
        "inbox_oldest_seconds handler=shop": 0,
        "inbox_paused handler=shop": 0,
        "inbox_workers ": 1,
        "unhandled_total event_type=charge.refunded": 0,
    }
    "#);
    worker.stop().await;
}

#[tokio::test]
async fn lost_lease_is_counted_once() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let shop = shop_with_hanging_handler();
    lose_lease(&shop).await;
    let metrics = inbox_metrics(&snapshotter);
    assert_eq!(metrics["inbox_leases_lost_total handler=shop"], 1);
}

fn shop_with_hanging_handler() -> Shop {
    let handler = |_: Event| std::future::pending::<()>();
    Shop::new(Router::builder().without_linked().handler("shop", ["invoice.paid"], handler))
}

/// Runs a delivery until another claim, of no worker, takes it over.
async fn lose_lease(shop: &Shop) {
    shop.receive("evt_1").await.expect("event is stored");
    let suspended_clock = ManualClock::at(now());
    let worker = shop.start_worker_with_clock(&suspended_clock);
    shop.wait_for("evt_1", Running, 1).await;
    shop.clock.advance(LEASE);
    let request = ClaimRequest::new(vec![HandlerSlots::new("shop", 1)], 1, LEASE);
    assert_eq!(shop.store().claim(&request).await.expect("store is available").len(), 1);
    suspended_clock.advance(LEASE);
    settle().await;
    worker.stop().await;
}

/// Alerts see an increase of the counter only if it begins at zero.
#[tokio::test]
async fn dead_letter_under_former_name_is_counted_under_the_current_one() {
    #[on_event("invoice.paid", name = "shop.renamed", formerly = "shop.former")]
    async fn renamed(_: Event) -> Result<(), Failure> {
        Err(Failure::permanent("no such order"))
    }
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let shop = Shop::new(Router::builder().only::<renamed>());
    assert_eq!(inbox_metrics(&snapshotter)["dead_letters_total handler=shop.renamed"], 0);
    let new = NewEvent::new(event("evt_1"), vec![NewDelivery::new("shop.former")]);
    shop.store().store(&[new]).await.unwrap();
    let worker = shop.start_worker();
    shop.wait_for("evt_1", Dead, 1).await;
    worker.stop().await;
    let metrics = inbox_metrics(&snapshotter);
    assert_eq!(metrics["dead_letters_total handler=shop.renamed"], 1);
    assert!(!metrics.contains_key("dead_letters_total handler=shop.former"));
}

#[on_event("invoice.paid", name = "shop.order", answer_after = "8s")]
async fn awaited(_: Event) {}

/// Generates docs/metrics.md if `UPDATE_DOCS=1` is set.
#[tokio::test]
async fn docs_table_lists_every_metric() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let shop = shop_with_hanging_handler();
    lose_lease(&shop).await;
    // The lease that took the delivery over expires.
    let worker = shop.start_worker();
    shop.advance_and_poll(LEASE).await;
    pass_check(&shop).await;
    // The retry may be due by now, and its handler never ends, so a shutdown would wait for its
    // grace period.
    drop(worker);
    let shop = Shop::new(Router::builder().only::<awaited>());
    let worker = shop.start_worker();
    shop.receive("evt_1").await.unwrap();
    worker.stop().await;

    let rows = table(&snapshotter);
    let rows: Vec<_> = rows.iter().filter(|row| row.contains("_inbox_")).cloned().collect();
    let header = "| metric | kind | labels | description |\n|---|---|---|---|";
    let docs = format!("{header}\n{}\n", rows.join("\n"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../router-inbox/src/docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &docs).unwrap();
    }
    let advice = "docs/metrics.md is outdated; run this test with UPDATE_DOCS=1";
    assert_eq!(std::fs::read_to_string(path).unwrap(), docs, "{advice}");
    // A metric that this test does not record is in the source.
    let source = include_str!("../../../router-inbox/src/telemetry.rs");
    for name in source.split('"').filter(|text| text.starts_with("stripe_webhook_inbox_")) {
        assert!(docs.contains(&format!("`{name}`")), "the test does not record {name}");
    }
}

#[tokio::test]
async fn renewal_after_completion_counts_no_lost_lease() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let permits = Arc::new(Semaphore::new(0));
    let router =
        Router::builder().without_linked().handler("shop", ["invoice.paid"], |_: Event| async {});
    let shop = Shop::with_store(router, |store| store.finish_permits = Some(permits.clone()));
    shop.receive("evt_1").await.unwrap();
    let lease = Duration::from_secs(12);
    let worker = shop.start_worker_with(|worker| worker.lease(lease));
    shop.wait_for("evt_1", Done, 1).await;
    // The worker renews its leases. The store has ended the lease of the completed delivery.
    shop.advance_and_poll(lease / 2).await;
    settle().await;
    permits.add_permits(1);
    worker.stop().await;
    assert_eq!(inbox_metrics(&snapshotter).get("inbox_leases_lost_total handler=shop"), None);
}

#[tokio::test]
async fn shutdown_waits_for_outcome_being_stored() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let permits = Arc::new(Semaphore::new(0));
    let router =
        Router::builder().without_linked().handler("shop", ["invoice.paid"], |_: Event| async {});
    let shop = Shop::with_store(router, |store| store.finish_permits = Some(permits.clone()));
    shop.receive("evt_1").await.unwrap();
    let grace = Duration::from_secs(3);
    let worker = shop.start_worker_with(|worker| worker.shutdown_grace(grace));
    shop.wait_for("evt_1", Done, 1).await;
    let stopping = worker.begin_shutdown();
    settle().await;
    shop.clock.advance(grace * 2);
    settle().await;
    assert!(!stopping.is_finished());
    permits.add_permits(1);
    stopping.await.unwrap();
    assert_eq!(inbox_metrics(&snapshotter).get("inbox_leases_lost_total handler=shop"), None);
}

#[on_event("invoice.paid", name = "shop.once", retry(max_attempts = 1))]
async fn single_attempt(_: Event) -> Result<(), &'static str> {
    Err("the warehouse is down")
}

#[tokio::test]
async fn failed_last_attempt_is_counted_as_dead_letter() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let shop = Shop::new(Router::builder().without_linked().add::<single_attempt>());
    shop.receive("evt_1").await.unwrap();
    let worker = shop.start_worker();
    shop.wait_for("evt_1", Dead, 1).await;
    worker.stop().await;
    assert_eq!(inbox_metrics(&snapshotter)["dead_letters_total handler=shop.once"], 1);
}
