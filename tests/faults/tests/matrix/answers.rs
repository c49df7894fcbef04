//! Answers that wait for a handler (`answer_after = "8s"`).

use std::sync::Arc;

use http::StatusCode;
use router_core::testing::Payload;
use router_inbox::store::DeliveryState::Done;
use tokio::task::{JoinHandle, JoinSet};

use crate::{on_each_store, shop::Shop, with_timeout};

on_each_store!(
    orders_are_there_before_the_answers,
    checkout_of_killed_process_is_done_by_another_worker,
);

async fn orders_are_there_before_the_answers(shop: Shop) {
    let shop = Arc::new(shop);
    let _process = shop.serve(&[]).await.expect("process serves");
    let mut checkouts = JoinSet::new();
    for event in shop.stripe.events("checkout.session.completed", 100) {
        let shop = shop.clone();
        checkouts.spawn(async move {
            assert_eq!(shop.stripe.send(&event).await, Some(StatusCode::OK));
            shop.has_order(&event).await
        });
    }
    let orders = with_timeout("the answers", checkouts.join_all()).await;
    let there = orders.into_iter().filter(|is_there| *is_there).count();
    assert_eq!(there, 100);
    shop.wait_until_idle().await;
    shop.check_guarantees().await;
}

async fn checkout_of_killed_process_is_done_by_another_worker(shop: Shop) {
    let [event] = &shop.stripe.events("checkout.session.async_payment_succeeded", 1)[..] else {
        panic!("one event was asked for")
    };
    let mut process = shop.serve(&[]).await.expect("process serves");
    let answer = send(&shop, event);
    process.wait_for_line("began shop.checkout").await.expect("process lives");
    assert!(!answer.is_finished());
    process.kill().await;
    // Stripe gets no answer, so it sends the event again, although it is stored.
    assert_eq!(answer.await.expect("task does not panic"), None);
    let mut other = shop.serve(&[]).await.expect("process serves");
    other.wait_for_line("began shop.checkout").await.expect("process lives");
    let answer = send(&shop, event);
    assert!(!shop.has_order(event).await && !answer.is_finished());
    shop.open_gate();
    assert_eq!(answer.await.expect("task does not panic"), Some(StatusCode::OK));
    assert!(shop.has_order(event).await);
    // The attempt of the killed process counts.
    assert_eq!(shop.state(event).await, (Done, 2));
    shop.check_guarantees().await;
}

/// Sends an event once.
fn send(shop: &Shop, event: &Payload) -> JoinHandle<Option<StatusCode>> {
    let (stripe, event) = (shop.stripe.clone(), event.clone());
    tokio::spawn(async move { stripe.send(&event).await })
}
