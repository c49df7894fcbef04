//! The metrics and log lines of a pass.

use std::{cell::RefCell, io, mem};

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use router_stripe::testing::Fault;

use crate::{
    events::{V1, V2, ago, missed, thin},
    shop::{HOUR, Shop},
};

thread_local! {
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes to the log of the thread. The subscriber is that of the program: with one for this thread
/// only, a log line that another thread reaches first could be disabled for both.
struct LogWriter;

impl io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Removes and returns the lines of the search.
fn take_log() -> String {
    let text = String::from_utf8(LOG.with_borrow_mut(mem::take)).expect("log is UTF-8");
    let lines = text.lines().filter(|line| line.contains("router_stripe::reconcile"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the counters, as in `passes success 1`, and their rows in the table of the docs.
fn counters(recorder: &DebuggingRecorder) -> (Vec<String>, Vec<String>) {
    let metrics = recorder.snapshotter().snapshot().into_vec();
    let mut counters = Vec::new();
    let mut rows = Vec::new();
    for (key, _, help, value) in metrics {
        let Some(name) = key.key().name().strip_prefix("stripe_webhook_reconcile_") else {
            continue;
        };
        let DebugValue::Counter(value) = value else { panic!("{key:?} is no counter") };
        let label = key.key().labels().next().expect("there is a label");
        let name = name.trim_end_matches("_total");
        counters.push(format!("{name} {} {value}", label.value()));
        let help = help.expect("metric is described");
        rows.push(format!("| `{}` | counter | `{}` | {help} |", key.key().name(), label.key()));
    }
    counters.sort();
    rows.sort();
    rows.dedup();
    (counters, rows)
}

#[tokio::test]
async fn passes_and_listed_events_are_counted_and_logged() {
    let recorder = DebuggingRecorder::new();
    let _metrics = metrics::set_default_local_recorder(&recorder);
    tracing_subscriber::fmt().with_ansi(false).with_writer(|| LogWriter).init();
    let mut shop = Shop::open().await;
    let (initial, rows) = counters(&recorder);
    assert_eq!(
        initial,
        [
            "events ignored 0",
            "events missed 0",
            "events other_endpoint 0",
            "events stored 0",
            "events unreadable 0",
            "passes failure 0",
            "passes success 0",
        ]
    );
    let table = include_str!("../../src/docs/metrics.md");
    assert_eq!(rows, table.lines().filter(|line| line.contains('`')).collect::<Vec<_>>());

    shop.pass().await.expect("stub answers");
    assert_eq!(take_log(), "");

    let created = ago(HOUR);
    shop.webhook(&missed("evt_stored", created)).await;
    for id in ["evt_stored", "evt_1", "evt_2"] {
        shop.stripe.add_item(V1, missed(id, created));
    }
    let mut unreadable = missed("evt_unreadable", created);
    unreadable["type"] = serde_json::Value::Null;
    shop.stripe.add_item(V1, unreadable);
    let mut unnamed = thin("evt_thin", created);
    unnamed["type"] = "v1.invoice.voided".into();
    shop.stripe.add_item(V2, unnamed);
    let (operations, old) = (shop.operations(), "2026-01-01T00:00:00Z");
    operations.set_checkpoint(crate::shop::CHECKPOINT, old).await.expect("it is valid");
    operations
        .set_checkpoint("stripe-events/test/v2/default/self", old)
        .await
        .expect("it is valid");
    shop.reconcile = shop.reconcile.since(HOUR * 24);
    shop.pass().await.expect("stub answers");
    let lines = take_log();
    assert!(
        lines.contains("2 events that Stripe could not deliver are now in the inbox"),
        "{lines}"
    );
    assert!(lines.contains("an event in Stripe's list cannot be read"), "{lines}");
    assert!(lines.contains("events of this time are too old to be searched"), "{lines}");

    shop.stripe.fault_at(V1, Fault::status(403));
    shop.pass().await.expect_err("one list was refused");
    let lines = take_log();
    assert!(lines.contains("a list of events was not read"), "{lines}");
    let (changes, _) = counters(&recorder);
    assert_eq!(
        changes,
        [
            "events ignored 1",
            "events missed 2",
            "events other_endpoint 0",
            "events stored 1",
            "events unreadable 1",
            "passes failure 1",
            "passes success 2",
        ]
    );
}
