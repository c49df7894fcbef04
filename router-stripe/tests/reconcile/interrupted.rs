//! Passes that end early, and webhooks that arrive in the middle of a pass.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use router_core::clock::{Clock as _, SystemClock};

use crate::{
    events::{V1, advance, ago, delivered, missed, until_held},
    shop::{CHECKPOINT, HOUR, Shop},
};

/// Polls the future this many times. Returns `None` if it is not ready then.
///
/// Nothing but its own wakers polls the future again, so each number stops it at another `await`.
async fn poll_times<T>(
    shop: &Shop,
    mut future: Pin<&mut impl Future<Output = T>>,
    polls: usize,
) -> Option<T> {
    let clock = shop.clock.clone();
    let time = tokio::spawn(async move {
        loop {
            SystemClock.sleep(Duration::from_millis(1)).await;
            clock.advance(Duration::from_millis(100));
        }
    });
    let mut count = 0;
    let output = poll_fn(|context| {
        if count == polls {
            return Poll::Ready(None);
        }
        count += 1;
        let output = future.as_mut().poll(context).map(Some);
        if output.is_pending() && count == polls {
            return Poll::Ready(None);
        }
        output
    });
    let output = output.await;
    time.abort();
    output
}

async fn shop_with_missed_events(count: u64) -> Shop {
    let shop = Shop::of(&["invoice.paid"], |router| router).await;
    for number in 0..count {
        shop.stripe.add_item(V1, missed(&format!("evt_{number}"), ago(HOUR) + number));
    }
    shop
}

#[tokio::test]
async fn killed_passes_lose_and_repeat_nothing() {
    let shop = Shop::open().await;
    let start = ago(20 * HOUR);
    for number in 0..300 {
        shop.stripe.add_item(V1, missed(&format!("evt_{number}"), start + 200 * number));
    }
    for requests in 1..=10 {
        let limit = shop.stripe.requests().len() + requests;
        advance(&shop.clock, async {
            tokio::select! {
                biased;
                _ = shop.reconcile.pass() => {}
                () = async {
                    while shop.stripe.requests().len() < limit {
                        tokio::task::yield_now().await;
                    }
                } => {}
            }
        })
        .await;
    }
    shop.pass().await.expect("stub answers");
    assert_eq!(shop.pass().await.expect("stub answers").listed, 0);
    shop.assert_each_handled_once(300).await;
}

#[tokio::test]
async fn pass_stopped_at_any_await_loses_and_repeats_nothing() {
    let mut stops_after_an_event = 0;
    for polls in 1.. {
        let shop = shop_with_missed_events(6).await;
        let is_complete = {
            let pass = pin!(shop.reconcile.pass());
            poll_times(&shop, pass, polls).await.is_some()
        };
        let stored = shop.operations().show("evt_0").await.expect("store is available");
        stops_after_an_event += usize::from(!is_complete && !stored.is_empty());
        shop.pass().await.expect("stub answers");
        shop.assert_each_handled_once(6).await;
        if is_complete {
            break;
        }
    }
    // At least one await for each of the other events.
    assert!(stops_after_an_event >= 3, "{stops_after_an_event}");
}

#[tokio::test]
async fn webhooks_at_any_await_of_a_pass_are_duplicates() {
    let mut duplicates = 0;
    for polls in 1.. {
        let shop = shop_with_missed_events(2).await;
        let mut pass = pin!(shop.reconcile.pass());
        let early = poll_times(&shop, pass.as_mut(), polls).await;
        let is_complete = early.is_some();
        let webhooks = async {
            let mut new = 0;
            for number in 0..2 {
                let event = missed(&format!("evt_{number}"), ago(HOUR) + number);
                new += u64::from(!shop.webhook(&event).await);
            }
            new
        };
        // Not one after the other: a pass that is not polled may hold the inbox's commit.
        let (new, result) = match early {
            Some(result) => (webhooks.await, result),
            None => tokio::join!(biased; webhooks, advance(&shop.clock, pass)),
        };
        let summary = result.expect("stub answers");
        duplicates += summary.already_stored;
        assert_eq!((summary.missed + new, summary.missed + summary.already_stored), (2, 2));
        shop.assert_each_handled_once(2).await;
        if is_complete {
            break;
        }
    }
    assert!(duplicates > 5, "{duplicates}");
}

#[tokio::test]
async fn list_that_moves_during_a_pass_loses_and_repeats_nothing() {
    let shop = Shop::of(&["invoice.paid"], |router| router).await;
    let start = ago(3 * HOUR);
    let event = |number| missed(&format!("evt_{number}"), start + number);
    for number in 0..250 {
        shop.stripe.add_item(V1, event(number));
    }
    // The pass goes on from here, so that the events are in one window.
    let checkpoint = humantime::format_rfc3339_seconds(SystemClock.wall() - 3 * HOUR - HOUR / 60);
    let operations = shop.operations();
    operations.set_checkpoint(CHECKPOINT, &checkpoint.to_string()).await.expect("it is valid");
    let mut pass = Box::pin(shop.reconcile.pass());
    let mut request = shop.stripe.hold_at(V1);
    until_held(&shop.clock, &mut pass, &request).await;
    // The first request asks for Stripe's time, the second for the first page, which is then read.
    for _ in 0..2 {
        request = shop.stripe.hold_at(V1);
        until_held(&shop.clock, &mut pass, &request).await;
    }
    // Both sides of the cursor, and the cursor itself, leave the list.
    for number in 145..155 {
        shop.webhook(&event(number)).await;
        shop.stripe.add_item(V1, delivered(event(number)));
    }
    shop.stripe.add_item(V1, missed("evt_new", ago(Duration::ZERO)));
    request.release();
    advance(&shop.clock, pass).await.expect("stub answers");
    shop.assert_each_handled_once(250).await;
}
