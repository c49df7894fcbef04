//! Storing events: answers, the store's failures and timeouts, group commit.

use std::{sync::atomic::Ordering, time::Duration};

use http::Response;
use router_core::{Endpoint, Event, Failure, Router};
use router_inbox::{
    Receipt,
    store::{DeliveryState, Stored},
};
use router_tests::{
    exchange::{post, send},
    payload_with_id, secret,
};
use tokio::task::JoinSet;
use tower::Service as _;

use crate::shop::{INBOX_SLEEPERS, Shop, event, wait_until};

fn shop() -> Shop {
    let handle = |_: Event| async {};
    Shop::new(Router::builder().without_linked().handler("shop", ["invoice.paid"], handle))
}

async fn deliver(shop: &Shop, id: &str, event_type: &str) -> Response<String> {
    let endpoint = Endpoint::new(secret(), shop.inbox.clone()).clock(shop.clock.clone());
    send(endpoint, post(payload_with_id(id, event_type))).await
}

#[tokio::test]
async fn answer_follows_storing_and_precedes_handlers() {
    let shop = shop();
    let cases = [
        ("evt_1", "invoice.paid", "stored"),
        ("evt_1", "invoice.paid", "duplicate"),
        ("evt_2", "invoice.paid", "stored"),
        // An unhandled event is stored too, so that it can be replayed.
        ("evt_3", "charge.refunded", "unhandled"),
        ("evt_3", "charge.refunded", "unhandled"),
    ];
    for (id, event_type, outcome) in cases {
        let answer = deliver(&shop, id, event_type).await;
        assert_eq!(answer.status(), 200);
        let handlers = match event_type {
            "invoice.paid" => format!(r#"{{"name":"shop","outcome":"{outcome}"}}"#),
            _ => String::new(),
        };
        let body = format!(r#"{{"event":"{id}","outcome":"{outcome}","handlers":[{handlers}]}}"#);
        assert_eq!(*answer.body(), body);
        let receipt = answer.extensions().get::<Receipt>().expect("layers get the receipt");
        assert_eq!(receipt.outcome(), outcome);
    }
    assert_eq!(shop.state("evt_1").await, (DeliveryState::Waiting, 0));
    assert_eq!(shop.deliveries("evt_3").await, []);
}

#[tokio::test]
async fn unavailable_store_is_answered_with_503_until_back() {
    let shop = shop();
    shop.store().is_down.store(true, Ordering::SeqCst);
    let answer = deliver(&shop, "evt_1", "invoice.paid").await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(!answer.body().contains("disk"), "the answer reveals the cause: {}", answer.body());
    shop.store().is_down.store(false, Ordering::SeqCst);
    assert_eq!(deliver(&shop, "evt_1", "invoice.paid").await.status(), 200);
    assert_eq!(shop.state("evt_1").await, (DeliveryState::Waiting, 0));
}

#[tokio::test]
async fn slow_store_times_out_after_five_seconds() {
    let shop = shop();
    shop.store().store_permits.forget_permits(usize::MAX);
    let time_passes = async {
        shop.clock.wait_for_sleepers(INBOX_SLEEPERS + 1).await;
        shop.clock.advance(Duration::from_millis(4_999));
        tokio::task::yield_now().await;
        shop.clock.advance(Duration::from_millis(1));
    };
    let (result, ()) = tokio::join!(shop.receive("evt_1"), time_passes);
    insta::assert_snapshot!(Failure::retry(result.unwrap_err()), @r"the event could not be stored in the inbox: the store did not store the event within 5s: it is overloaded, or blocked by a long-running write transaction");
    // The write goes on after the timeout, so the event is stored after all.
    shop.store().store_permits.add_permits(1_000);
    wait_until(async || !shop.deliveries("evt_1").await.is_empty()).await;
    assert!(shop.receive("evt_1").await.unwrap().stored().is_some_and(Stored::is_duplicate));
}

#[tokio::test]
async fn events_received_during_a_commit_share_the_next() {
    let shop = shop();
    shop.store().store_permits.forget_permits(usize::MAX);
    let ids: Vec<String> = (0..600).map(|number| format!("evt_{number}")).collect();
    let mut requests: JoinSet<_> =
        ids.iter().map(|id| shop.inbox.clone().call(event(id))).collect();
    shop.clock.wait_for_sleepers(INBOX_SLEEPERS + 600).await;
    shop.store().store_permits.add_permits(1_000);
    while let Some(result) = requests.join_next().await {
        assert_eq!(result.unwrap().unwrap().stored(), Some(&Stored::New));
    }
    let batch_sizes = shop.store().batch_sizes.lock().unwrap().clone();
    assert_eq!(batch_sizes.iter().sum::<usize>(), 600);
    assert_eq!(batch_sizes.len(), 3, "a batch has at most 256 events: {batch_sizes:?}");
}

#[tokio::test]
async fn rejected_event_does_not_fail_its_batch() {
    let shop = shop();
    *shop.store().rejected_event.lock().unwrap() = Some("evt_1".into());
    let (first, rejected, last) =
        tokio::join!(shop.receive("evt_0"), shop.receive("evt_1"), shop.receive("evt_2"));
    assert!(first.is_ok() && last.is_ok());
    let error = Failure::retry(rejected.unwrap_err());
    assert!(error.to_string().ends_with(": the engine rejects the event"), "{error}");
}

#[tokio::test]
async fn client_disconnect_does_not_affect_other_events() {
    let shop = shop();
    shop.store().store_permits.forget_permits(usize::MAX);
    let first = tokio::spawn({
        let inbox = shop.inbox.clone();
        async move { inbox.clone().call(event("evt_0")).await }
    });
    shop.clock.wait_for_sleepers(INBOX_SLEEPERS + 1).await;
    let next = tokio::spawn(shop.inbox.clone().call(event("evt_1")));
    shop.clock.wait_for_sleepers(INBOX_SLEEPERS + 2).await;
    for request in [first, next] {
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
    }
    shop.store().store_permits.add_permits(1_000);
    assert_eq!(shop.receive("evt_2").await.unwrap().stored(), Some(&Stored::New));
    assert_eq!(
        shop.deliveries("evt_1").await,
        [],
        "its batch had not begun, and Stripe will redeliver it"
    );
}
