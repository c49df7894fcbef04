//! Stored, then answered.

use std::{sync::atomic::Ordering, time::Duration};

use http::Response;
use router_core::{Endpoint, Event, Failure, Router};
use router_inbox::{DeliveryState, Stored};
use router_tests::{payload_with_id, secret};
use tokio::task::JoinSet;
use tower::Service as _;

use crate::{
    exchange::{post, send},
    shop::{Shop, event, until},
};

fn shop() -> Shop {
    let handle = |_: Event| async {};
    Shop::new(Router::builder().without_linked().handler("shop", ["invoice.paid"], handle))
}

async fn deliver(shop: &Shop, id: &str, event_type: &str) -> Response<String> {
    let endpoint = Endpoint::new(secret(), shop.inbox.clone()).clock(shop.clock.clone());
    send(endpoint, post(payload_with_id(id, event_type))).await
}

#[tokio::test]
async fn an_event_is_answered_once_it_is_stored_and_before_any_handler_runs() {
    let shop = shop();
    let cases = [
        ("evt_1", "invoice.paid", "stored"),
        ("evt_1", "invoice.paid", "duplicate"),
        ("evt_2", "invoice.paid", "stored"),
        // Kept, so that it can be replayed.
        ("evt_3", "charge.refunded", "unhandled"),
        ("evt_3", "charge.refunded", "duplicate"),
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
    }
    assert_eq!(shop.state("evt_1").await, (DeliveryState::Waiting, 0));
    assert_eq!(shop.deliveries("evt_3").await, []);
}

#[tokio::test]
async fn while_the_store_is_down_stripe_is_told_to_come_again_and_once_it_is_back_events_are_stored()
 {
    let shop = shop();
    shop.store().is_down.store(true, Ordering::SeqCst);
    let answer = deliver(&shop, "evt_1", "invoice.paid").await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(
        !answer.body().contains("disk"),
        "what is wrong is not Stripe's business: {}",
        answer.body()
    );
    shop.store().is_down.store(false, Ordering::SeqCst);
    assert_eq!(deliver(&shop, "evt_1", "invoice.paid").await.status(), 200);
    assert_eq!(shop.state("evt_1").await, (DeliveryState::Waiting, 0));
}

#[tokio::test]
async fn a_store_that_takes_too_long_is_waited_for_five_seconds() {
    let shop = shop();
    shop.store().stores.forget_permits(usize::MAX);
    let waits = async {
        shop.clock.wait_for_sleeper().await;
        shop.clock.advance(Duration::from_millis(4_999));
        tokio::task::yield_now().await;
        shop.clock.advance(Duration::from_millis(1));
    };
    let (told, ()) = tokio::join!(shop.receive("evt_1"), waits);
    insta::assert_snapshot!(Failure::retry(told.unwrap_err()), @r"the event could not be stored in the inbox: the store did not store the event within 5s: it is overloaded, or blocked by a long-running write transaction");
    // It was about to be stored, and is yet.
    shop.store().stores.add_permits(1_000);
    until(async || !shop.deliveries("evt_1").await.is_empty()).await;
    assert_eq!(shop.receive("evt_1").await.unwrap().stored(), Stored::Duplicate);
}

#[tokio::test]
async fn what_comes_while_something_is_written_shares_a_commit() {
    let shop = shop();
    shop.store().stores.forget_permits(usize::MAX);
    let ids: Vec<String> = (0..600).map(|number| format!("evt_{number}")).collect();
    let mut received: JoinSet<_> =
        ids.iter().map(|id| shop.inbox.clone().call(event(id))).collect();
    shop.clock.wait_for_sleepers(600).await;
    shop.store().stores.add_permits(1_000);
    while let Some(told) = received.join_next().await {
        assert_eq!(told.unwrap().unwrap().stored(), Stored::New);
    }
    let groups = shop.store().groups.lock().unwrap().clone();
    assert_eq!(groups.iter().sum::<usize>(), 600);
    assert_eq!(groups.len(), 3, "at most 256 together: {groups:?}");
}

#[tokio::test]
async fn an_event_that_the_engine_does_not_take_keeps_nobody_else_out() {
    let shop = shop();
    *shop.store().refused.lock().unwrap() = Some("evt_1".into());
    let (one, two, three) =
        tokio::join!(shop.receive("evt_0"), shop.receive("evt_1"), shop.receive("evt_2"));
    assert!(one.is_ok() && three.is_ok());
    let refused = Failure::retry(two.unwrap_err());
    assert!(refused.to_string().ends_with(": the engine does not take it"), "{refused}");
}

#[tokio::test]
async fn who_hangs_up_costs_the_others_nothing() {
    let shop = shop();
    shop.store().stores.forget_permits(usize::MAX);
    let first = tokio::spawn({
        let inbox = shop.inbox.clone();
        async move { inbox.clone().call(event("evt_0")).await }
    });
    shop.clock.wait_for_sleeper().await;
    let next = tokio::spawn(shop.inbox.clone().call(event("evt_1")));
    shop.clock.wait_for_sleepers(2).await;
    for hangs_up in [first, next] {
        hangs_up.abort();
        assert!(hangs_up.await.unwrap_err().is_cancelled());
    }
    shop.store().stores.add_permits(1_000);
    assert_eq!(shop.receive("evt_2").await.unwrap().stored(), Stored::New);
    assert_eq!(shop.deliveries("evt_1").await, [], "it was not begun, and will come again");
}
