//! Dead letters that a worker discards because of their age.

use std::time::Duration;

use router_core::{Event, Failure, Router, handler::HandlerResult, on_event};
use router_inbox::{
    operations::MIN_RETENTION,
    store::DeliveryState::{Dead, Discarded},
};
use router_tests::logged::{log, logged};
use tracing_subscriber::filter::LevelFilter;

use crate::shop::{Shop, settle, wait_until};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[on_event("invoice.paid", name = "shop.never")]
async fn never(_: Event) -> HandlerResult {
    Err(Failure::permanent("no such order"))
}

fn shop() -> Shop {
    Shop::new(Router::builder().without_linked().add::<never>())
}

/// The event is purged once the discarded delivery is past the retention.
#[tokio::test]
async fn dead_letter_past_max_age_is_discarded_and_purged() {
    log(LevelFilter::WARN);
    let shop = shop();
    let worker = shop
        .start_worker_with(|worker| worker.max_dead_letter_age(DAY * 10).retention(MIN_RETENTION));
    for id in ["evt_1", "evt_2"] {
        shop.receive(id).await.unwrap();
        shop.wait_for(id, Dead, 1).await;
    }
    for _ in 0..9 {
        shop.advance_and_poll(DAY).await;
    }
    settle().await;
    shop.receive("evt_3").await.unwrap();
    shop.wait_for("evt_3", Dead, 1).await;
    assert_eq!(shop.state("evt_1").await, (Dead, 1));
    logged();
    shop.advance_and_poll(DAY * 2).await;
    for id in ["evt_1", "evt_2"] {
        shop.wait_for(id, Discarded, 1).await;
    }
    shop.advance_and_poll(Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(shop.state("evt_3").await, (Dead, 1));
    let log = logged();
    let line = log.lines().find(|line| line.contains("worker::retention")).unwrap_or(&log);
    insta::assert_snapshot!(line, @r#" WARN router_inbox::worker::retention: discarded dead letters that died longer ago than `max_dead_letter_age`; they can be retried until their events are purged discarded=2 handlers="shop.never: 2""#);
    for _ in 0..5 {
        shop.advance_and_poll(DAY).await;
    }
    wait_until(async || shop.deliveries("evt_1").await.is_empty()).await;
    assert_eq!(shop.state("evt_3").await, (Dead, 1));
    worker.stop().await;
}

/// A large number is discarded in batches. What has been discarded is logged in any case.
#[tokio::test]
async fn discarded_dead_letters_are_logged_if_the_worker_stops_before_the_rest() {
    log(LevelFilter::WARN);
    let shop = shop();
    let worker = shop.start_worker_with(|worker| worker.max_dead_letter_age(DAY * 10));
    let ids: Vec<_> = (0..150).map(|number| format!("evt_{number}")).collect();
    for id in &ids {
        shop.receive(id).await.unwrap();
        shop.wait_for(id, Dead, 1).await;
    }
    shop.advance_and_poll(DAY * 11).await;
    shop.wait_for("evt_0", Discarded, 1).await;
    settle().await;
    logged();
    worker.stop().await;
    assert_eq!(shop.state("evt_149").await, (Dead, 1));
    let log = logged();
    assert!(log.contains("discarded=100"), "{log}");
}

#[tokio::test]
#[should_panic(expected = "the age 345599s given to `Worker::max_dead_letter_age` is shorter")]
async fn max_age_below_minimum_is_refused_at_start() {
    let shop = shop();
    let worker = || shop.inbox.worker(shop.inbox.router().clone());
    drop(worker().max_dead_letter_age(MIN_RETENTION));
    drop(worker().max_dead_letter_age(MIN_RETENTION - Duration::from_secs(1)));
}
