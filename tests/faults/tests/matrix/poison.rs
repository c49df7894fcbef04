//! Poisoned events, whose handlers never succeed: they end as dead letters, and all others are
//! handled.

use router_core::testing::SyntheticEvent;

use crate::{on_each_store, shop::Shop};

on_each_store!(
    poisoned_events_are_dead_letters_and_others_are_done,
    blocking_handler_that_hangs_is_a_dead_letter
);

/// Sends events whose handlers panic, abort the process, hang or cannot decode them, a large event,
/// and ordinary ones.
async fn poisoned_events_are_dead_letters_and_others_are_done(shop: Shop) {
    let stripe = shop.stripe.clone();
    let large = SyntheticEvent::new("invoice.paid").set("description", "x".repeat(1024 * 1024));
    let mut events = vec![stripe.event(large)];
    assert!(events[0].body().len() > 1024 * 1024);
    let aborts = stripe.events("charge.expired", 2);
    for event_type in ["charge.failed", "charge.pending", "customer.updated"] {
        events.extend(stripe.events(event_type, 2));
    }
    events.extend(aborts.clone());
    events.extend(stripe.events("invoice.paid", 20));
    let delivered = tokio::spawn(async move { stripe.deliver_all(events).await });
    let all_completed = async {
        delivered.await.expect("task does not panic");
        shop.wait_until_idle().await;
    };
    let mut processes = 0;
    let restarted = async {
        loop {
            if let Some(mut process) = shop.serve(&[]).await {
                process.wait().await;
            }
            processes += 1;
        }
    };
    tokio::select! {
        () = all_completed => {}
        () = restarted => {}
    }
    assert!(processes >= 3, "each of the 3 attempts aborts a process; both events may share one");
    for event in aborts {
        let deliveries = shop.deliveries(event.id()).await;
        let error = deliveries[0].error.as_deref().unwrap_or_default();
        assert!(error.starts_with("attempt 3 of 3 failed"), "{error}");
        assert!(error.contains("the process crashed"), "{error}");
    }
    shop.check_guarantees().await;
}

/// A thread cannot be stopped; it ends only with its process.
async fn blocking_handler_that_hangs_is_a_dead_letter(shop: Shop) {
    let stripe = &shop.stripe;
    for attempt in 1..=3 {
        let mut process = shop.serve(&[]).await.expect("process serves");
        if attempt == 1 {
            stripe.deliver_all(stripe.events("charge.updated", 1)).await;
        }
        process.wait_for_line("began poison.blocks").await.expect("delivery is retried");
        let done = shop.ledger().len();
        stripe.deliver_all(stripe.events("invoice.paid", 5)).await;
        crate::wait_until("the other events", async || shop.ledger().len() >= done + 5).await;
        process.kill().await;
    }
    let _process = shop.serve(&[]).await.expect("process serves");
    shop.wait_until_idle().await;
    shop.check_guarantees().await;
}
