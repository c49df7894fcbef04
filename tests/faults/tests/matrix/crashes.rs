//! Processes that are killed: at each point of an event's walk, and at any moment.

use std::time::Duration;

use router_core::{
    clock::{Clock as _, SystemClock},
    testing::Payload,
};

use crate::{dice, on_each_store, process::Process, rounds, shop::Shop, soon};

on_each_store!(
    killed_after_it_has_verified,
    killed_after_it_has_stored,
    killed_after_it_has_claimed,
    killed_in_the_midst_of_a_handler,
    killed_after_a_handler,
    killed_after_it_has_completed,
    killed_at_any_moment,
);

async fn killed_after_it_has_verified(shop: Shop) {
    killed_at("after-verify", shop).await;
}

async fn killed_after_it_has_stored(shop: Shop) {
    killed_at("after-store", shop).await;
}

async fn killed_after_it_has_claimed(shop: Shop) {
    killed_at("after-claim", shop).await;
}

async fn killed_in_the_midst_of_a_handler(shop: Shop) {
    killed_at("mid-handler", shop).await;
}

async fn killed_after_a_handler(shop: Shop) {
    killed_at("after-effect", shop).await;
}

async fn killed_after_it_has_completed(shop: Shop) {
    killed_at("after-complete", shop).await;
}

/// Twice, and the third process has peace.
async fn killed_at(point: &str, shop: Shop) {
    let mut dice = dice();
    for _ in 0..rounds() {
        let events = shop.stripe.events("invoice.paid", 24);
        let stripe = shop.stripe.clone();
        let delivered = tokio::spawn(async move { stripe.deliver_all(events).await });
        for _ in 0..2 {
            let on = dice.u8(1..=3).to_string();
            let died = async {
                let options = ["--crash-at", point, "--crash-on", &on];
                if let Some(mut process) = shop.serve(&options).await {
                    killed(&mut process).await;
                }
                shop.stripe.at(None);
            };
            soon("that it dies", died).await;
        }
        let _process = shop.serve(&[]).await.expect("it serves");
        delivered.await.expect("all are acknowledged");
        shop.all_ended().await;
        shop.check().await;
    }
}

async fn killed_at_any_moment(shop: Shop) {
    let mut dice = dice();
    let kills = 4 * rounds();
    let events: Vec<Payload> = shop.stripe.events("invoice.paid", 40 * rounds() as usize);
    let stripe = shop.stripe.clone();
    let delivered = tokio::spawn(async move { stripe.deliver_all(events).await });
    for _ in 0..kills {
        let mut process = shop.serve(&[]).await.expect("it serves");
        SystemClock.sleep(Duration::from_millis(dice.u64(0..300))).await;
        process.kill().await;
        shop.stripe.at(None);
    }
    let _process = shop.serve(&[]).await.expect("it serves");
    delivered.await.expect("all are acknowledged");
    shop.all_ended().await;
    shop.check().await;
}

/// Waits until it was killed, and did not end in another way.
async fn killed(process: &mut Process) {
    use std::os::unix::process::ExitStatusExt as _;

    let status = process.ended().await;
    assert_eq!(status.signal(), Some(9), "{status}");
}
