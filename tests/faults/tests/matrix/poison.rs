//! Events whose handlers are never done: they end as dead letters, and all others are done.

use router_core::testing::SyntheticEvent;

use crate::{on_each_store, shop::Shop};

on_each_store!(
    poison_is_dead_and_all_else_is_done,
    a_thread_that_blocks_for_ever_is_dead_in_the_end
);

/// Panics, ends its process, hangs, cannot be decoded; and what is only large.
async fn poison_is_dead_and_all_else_is_done(shop: Shop) {
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
    let all_ended = async {
        delivered.await.expect("all are acknowledged");
        shop.all_ended().await;
    };
    let mut lives = 0;
    let restarted = async {
        loop {
            if let Some(mut process) = shop.serve(&[]).await {
                process.ended().await;
            }
            lives += 1;
        }
    };
    tokio::select! {
        () = all_ended => {}
        () = restarted => {}
    }
    assert!(lives >= 3, "each attempt ends a process, and two may end one");
    for event in aborts {
        let kept = shop.deliveries(event.id()).await;
        let error = kept[0].error.as_deref().unwrap_or_default();
        assert!(error.starts_with("attempt 3 of 3 failed"), "{error}");
        assert!(error.contains("the process crashed"), "{error}");
    }
    shop.check().await;
}

/// Nobody can stop a thread: it is only over with its process.
async fn a_thread_that_blocks_for_ever_is_dead_in_the_end(shop: Shop) {
    let stripe = &shop.stripe;
    for attempt in 1..=3 {
        let mut process = shop.serve(&[]).await.expect("it serves");
        if attempt == 1 {
            stripe.deliver_all(stripe.events("charge.updated", 1)).await;
        }
        process.says("began poison.blocks").await.expect("it is tried again");
        let done = shop.ledger().len();
        stripe.deliver_all(stripe.events("invoice.paid", 5)).await;
        crate::until("the others", async || shop.ledger().len() >= done + 5).await;
        process.kill().await;
    }
    let _process = shop.serve(&[]).await.expect("it serves");
    shop.all_ended().await;
    shop.check().await;
}
