//! Log lines of the inbox.

use std::time::Duration;

use router_core::{Event, Failure, Outcome, Router, handler::HandlerResult, on_event};
use router_inbox::store::DeliveryState::{Dead, Done, Ignored, Waiting};
use tracing_subscriber::filter::LevelFilter;

use crate::shop::Shop;
use router_tests::logged::{self, log};

/// Returns the lines that this thread logged since the last call, without the crate's name.
fn logged() -> String {
    logged::logged().replace("router_inbox::", "")
}

fn shop(result: fn() -> HandlerResult) -> Shop {
    log(LevelFilter::INFO);
    let handler = move |_: Event| std::future::ready(result());
    let shop =
        Shop::new(Router::builder().without_linked().handler("shop", ["invoice.paid"], handler));
    logged();
    shop
}

#[tokio::test]
async fn received_event_is_logged() {
    let shop = shop(|| Ok(Outcome::Done));
    shop.receive("evt_1").await.unwrap();
    shop.receive("evt_1").await.unwrap();
    insta::assert_snapshot!(logged(), @r#"
    INFO telemetry: event received event.id="evt_1" event.type="invoice.paid" outcome="stored" duration=0ns
    INFO telemetry: event received event.id="evt_1" event.type="invoice.paid" outcome="duplicate" duration=0ns
    INFO receipt: duplicate event: the handler's delivery of it has not finished yet handler="shop" event.id="evt_1" event.type="invoice.paid"
    "#);
}

/// The operator sees for each event and handler that it ran, not only that it failed.
#[tokio::test]
async fn success_is_logged_with_event_and_duration() {
    for (result, state, message) in [
        (|| Ok(Outcome::Done), Done, "handler done"),
        (|| Ok(Outcome::ignored("not ours")), Ignored, "handler ignored the event"),
    ] as [(fn() -> HandlerResult, _, _); 2]
    {
        let shop = shop(result);
        let worker = shop.start_worker();
        shop.receive("evt_1").await.unwrap();
        logged();
        shop.wait_for("evt_1", state, 1).await;
        let log = logged();
        let fields =
            r#"handler="shop" event.id="evt_1" event.type="invoice.paid" attempt=1 duration="#;
        let line = format!(" INFO worker::outcome: {message} {fields}");
        assert!(log.starts_with(&line) && log.lines().count() == 1, "{log}");
        worker.stop().await;
    }
}

#[tokio::test]
async fn failure_log_states_the_retry_delay() {
    let shop = shop(|| Err(Failure::retry_in("the warehouse is down", Duration::from_secs(90))));
    let worker = shop.start_worker();
    shop.receive("evt_1").await.unwrap();
    logged();
    shop.wait_for("evt_1", Waiting, 1).await;
    insta::assert_snapshot!(logged(), @r#" WARN worker::outcome: handler failed on attempt 1 of 12; retrying in 1m 30s handler="shop" event.id="evt_1" event.type="invoice.paid" event.api_version="2026-10-28.endive" error=the warehouse is down"#);
    worker.stop().await;
}

/// The text may come from a request, a dependency or another service.
#[tokio::test]
async fn error_text_cannot_forge_log_lines() {
    let shop = shop(|| Err(Failure::permanent("no order\n2026-01-31 ERROR forged\u{1b}[2J")));
    let worker = shop.start_worker();
    shop.receive("evt_1").await.unwrap();
    logged();
    shop.wait_for("evt_1", Dead, 1).await;
    let log = logged();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains(r"no order\n2026-01-31 ERROR forged\u{1b}[2J"), "{log}");
    let stored = shop.deliveries("evt_1").await[0].error.clone().unwrap();
    assert_eq!(stored, r"no order\n2026-01-31 ERROR forged\u{1b}[2J");
    worker.stop().await;
}

#[tokio::test]
async fn dead_letter_log_states_how_to_retry() {
    let shop = shop(|| Err(Failure::permanent("no such order")));
    let worker = shop.start_worker();
    shop.receive("evt_1").await.unwrap();
    logged();
    shop.wait_for("evt_1", Dead, 1).await;
    insta::assert_snapshot!(logged(), @r#"ERROR worker::outcome: dead letter stored; retry it with `event-router inbox retry evt_1 --handler shop` handler="shop" event.id="evt_1" event.type="invoice.paid" event.api_version="2026-10-28.endive" error=no such order"#);
    worker.stop().await;
}

#[on_event("invoice.paid", name = "shop.ledger", ordered)]
async fn ledger(_: Event) -> HandlerResult {
    Err(Failure::permanent("no such account"))
}

#[tokio::test]
async fn ordered_dead_letter_log_mentions_later_events() {
    shop(|| Ok(Outcome::Done));
    let shop = Shop::new(Router::builder().without_linked().add::<ledger>());
    let worker = shop.start_worker();
    shop.receive("evt_1").await.unwrap();
    logged();
    shop.wait_for("evt_1", Dead, 1).await;
    let log = logged();
    assert!(log.contains("later events of the same object are delivered in the meantime"), "{log}");
    worker.stop().await;
}
