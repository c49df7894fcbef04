//! Wake-ups of the answers that wait, and their reads of the store.

use std::sync::{Arc, atomic::Ordering};

use router_core::{Event, Router, event::StoredEvent, testing::SyntheticEvent};
use router_inbox::{
    Store as _,
    store::{
        ClaimRequest, DeliveryOutcome,
        DeliveryState::{Discarded, Done, Running},
        HandlerSlots, NewDelivery, NewEvent, Stored,
    },
};
use router_tests::logged::{log, logged};
use tokio::sync::Semaphore;
use tracing_subscriber::filter::LevelFilter;

use super::{MILLISECOND, SECOND, Warehouse, answered, order, router, send};
use crate::shop::{Shop, event, settle};

/// Claims the next delivery of this handler as another process does, completes it, and lets the
/// answers poll the store.
async fn finish_next(shop: &Shop, handler: &str) {
    let request = ClaimRequest::new(vec![HandlerSlots::new(handler, 1)], 1, SECOND * 60);
    let mut claims = shop.store().claim(&request).await.expect("store is available");
    let outcome = (claims.remove(0).lease, DeliveryOutcome::Done);
    shop.store().complete(&[outcome]).await.expect("store is available");
    shop.clock.advance(SECOND);
    settle().await;
}

/// The run of a handler with a transaction records the outcome itself. The worker's loop cannot
/// wake the answer, because it is waiting for a claim.
#[tokio::test]
async fn recorded_transaction_wakes_the_answer() {
    let finish_permits = Arc::new(Semaphore::new(0));
    let router = Router::builder().only::<order>().state(Warehouse::new(9));
    let shop = Shop::with_store(router, |store| {
        store.claim_permits = Semaphore::new(0);
        store.finish_permits = Some(finish_permits.clone());
    });
    let _worker = shop.start_worker();
    let call = send(&shop, "evt_1").await;
    shop.store().claim_permits.add_permits(1);
    settle().await;
    assert_eq!(shop.state("evt_1").await, (Done, 1));
    assert!(!call.is_finished(), "answered without a wake-up");
    finish_permits.add_permits(1);
    assert_eq!(answered(call).await.finished("shop.order"), Some(Done));
}

/// A worker of this process runs the delivery of an event with the same id at another endpoint,
/// which wakes the answer too.
#[tokio::test]
async fn same_id_at_another_endpoint_does_not_end_the_wait() {
    let shop = Shop::new(Router::builder().only::<order>().state(Warehouse::new(1)));
    let elsewhere =
        StoredEvent { endpoint: "partner".into(), ..StoredEvent::from_event(&event("evt_1")) };
    let elsewhere = Event::from_store(elsewhere).unwrap();
    let new = NewEvent::new(elsewhere, vec![NewDelivery::new("shop.order")]);
    shop.store().store(&[new]).await.unwrap();
    let call = send(&shop, "evt_1").await;
    let _worker = shop.start_worker();
    settle().await;
    let states: Vec<_> =
        shop.deliveries("evt_1").await.into_iter().map(|delivery| delivery.state).collect();
    assert_eq!(states, [Running, Done], "in the order of the endpoints");
    assert!(!call.is_finished(), "answered for another event");
}

/// The worker is in another process, so nothing wakes the answer.
#[tokio::test]
async fn delivery_finished_by_another_process_is_polled() {
    let shop = Shop::new(Router::builder().only::<order>().state(Warehouse::new(9)));
    let (call, discarded) = (send(&shop, "evt_1").await, send(&shop, "evt_2").await);
    let request = ClaimRequest::new(vec![HandlerSlots::new("shop.order", 1)], 1, SECOND * 60);
    let claims = shop.store().claim(&request).await.unwrap();
    shop.store().complete(&[(claims[0].lease.clone(), DeliveryOutcome::Done)]).await.unwrap();
    shop.store().operations().unwrap().discard("evt_2", None).await.unwrap();
    settle().await;
    assert!(!call.is_finished());
    shop.clock.advance(MILLISECOND * 100);
    assert_eq!(answered(call).await.finished("shop.order"), Some(Done));
    assert_eq!(answered(discarded).await.finished("shop.order"), Some(Discarded));
}

/// Polls become rarer, so that a handler that hangs does not load the store.
#[tokio::test]
async fn store_is_polled_about_ten_times_in_eight_seconds() {
    let shop = Shop::new(router(&Warehouse::new(9)));
    let call = send(&shop, "evt_1").await;
    for _ in 0..80 {
        assert!(!call.is_finished());
        shop.clock.advance(MILLISECOND * 100);
        settle().await;
    }
    assert_eq!(answered(call).await.finished("shop.order"), None);
    assert_eq!(shop.store().deliveries_calls.load(Ordering::SeqCst), 11);
}

/// The first read fails when the answer begins to wait, and the second one after the wake-up.
#[tokio::test]
async fn failed_read_is_repeated() {
    let warehouse = Warehouse::new(0);
    let shop = Shop::new(Router::builder().only::<order>().state(warehouse.clone()));
    let _worker = shop.start_worker();
    shop.store().deliveries_fail.store(true, Ordering::SeqCst);
    let call = send(&shop, "evt_1").await;
    warehouse.permits.add_permits(1);
    settle().await;
    assert_eq!(shop.store().deliveries_calls.load(Ordering::SeqCst), 2);
    assert!(!call.is_finished());
    shop.store().deliveries_fail.store(false, Ordering::SeqCst);
    shop.clock.advance(MILLISECOND * 100);
    assert_eq!(answered(call).await.finished("shop.order"), Some(Done));
}

#[tokio::test]
async fn answer_is_sent_in_time_if_the_delivery_cannot_be_read() {
    log(LevelFilter::WARN);
    let shop = Shop::new(router(&Warehouse::new(9)));
    shop.store().deliveries_fail.store(true, Ordering::SeqCst);
    let call = send(&shop, "evt_1").await;
    assert!(!call.is_finished());
    shop.clock.advance(SECOND * 8);
    let receipt = answered(call).await;
    assert_eq!((receipt.outcome(), receipt.finished("shop.order")), ("stored", None));
    let lines = logged();
    assert!(lines.contains("failed to read the deliveries for which an answer waits"), "{lines}");
}

/// Events with the same id at another endpoint or of another account do not count, and neither do
/// earlier generations. A delivery under the handler's former name does.
#[tokio::test]
async fn answer_waits_for_the_latest_delivery_of_its_own_event() {
    let shop = Shop::new(Router::builder().only::<order>().state(Warehouse::new(0)));
    let of_account = SyntheticEvent::new("invoice.paid").id("evt_1").account("acct_1");
    let of_account = of_account.build().unwrap().event().clone();
    let at_endpoint =
        StoredEvent { endpoint: "partner".into(), ..StoredEvent::from_event(&event("evt_1")) };
    let at_endpoint = Event::from_store(at_endpoint).unwrap();
    for (event, handler) in
        [(of_account, "shop.order"), (at_endpoint, "shop.order"), (event("evt_1"), "shop.fulfil")]
    {
        let new = NewEvent::new(event, vec![NewDelivery::new(handler)]);
        assert_eq!(shop.store().store(&[new]).await.unwrap(), [Stored::New]);
    }
    let call = send(&shop, "evt_1").await;
    for _ in 0..2 {
        finish_next(&shop, "shop.order").await;
        assert!(!call.is_finished(), "answered for another event");
    }
    finish_next(&shop, "shop.fulfil").await;
    assert_eq!(answered(call).await.finished("shop.order"), Some(Done));
    // An operator replays the event, and it is received again before the replay has run.
    let operations = shop.store().operations().unwrap();
    let events = operations.select(&Default::default()).await.unwrap();
    operations.replay(&events, &["shop.order".into()]).await.unwrap();
    let call = send(&shop, "evt_1").await;
    assert!(!call.is_finished());
    for _ in 0..events.len() {
        finish_next(&shop, "shop.order").await;
    }
    assert_eq!(answered(call).await.finished("shop.order"), Some(Done));
}
