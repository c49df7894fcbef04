//! Processes that are killed: at each crash point, and at random moments.

use std::time::Duration;

use router_core::{
    clock::{Clock as _, SystemClock},
    testing::Payload,
};

use crate::{on_each_store, process::Process, rounds, seeded_rng, shop::Shop, with_timeout};

on_each_store!(
    recovers_from_crash_after_verifying,
    recovers_from_crash_after_storing,
    recovers_from_crash_after_claiming,
    recovers_from_crash_within_a_handler,
    recovers_from_crash_after_a_handler,
    recovers_from_crash_after_completing,
    recovers_from_crashes_at_random_moments,
);

async fn recovers_from_crash_after_verifying(shop: Shop) {
    check_crash_point("after-verify", shop).await;
}

async fn recovers_from_crash_after_storing(shop: Shop) {
    check_crash_point("after-store", shop).await;
}

async fn recovers_from_crash_after_claiming(shop: Shop) {
    check_crash_point("after-claim", shop).await;
}

async fn recovers_from_crash_within_a_handler(shop: Shop) {
    check_crash_point("mid-handler", shop).await;
}

async fn recovers_from_crash_after_a_handler(shop: Shop) {
    check_crash_point("after-effect", shop).await;
}

async fn recovers_from_crash_after_completing(shop: Shop) {
    check_crash_point("after-complete", shop).await;
}

/// Lets two processes crash at a point, and checks that a third handles the events.
async fn check_crash_point(point: &str, shop: Shop) {
    let mut rng = seeded_rng();
    for _ in 0..rounds() {
        let events = shop.stripe.events("invoice.paid", 24);
        let stripe = shop.stripe.clone();
        let delivered = tokio::spawn(async move { stripe.deliver_all(events).await });
        for _ in 0..2 {
            let on = rng.u8(1..=3).to_string();
            let crashed = async {
                let options = ["--crash-at", point, "--crash-on", &on];
                if let Some(mut process) = shop.serve(&options).await {
                    wait_until_killed(&mut process).await;
                }
                shop.stripe.set_endpoint(None);
            };
            with_timeout("the crash", crashed).await;
        }
        let _process = shop.serve(&[]).await.expect("process serves");
        delivered.await.expect("task does not panic");
        shop.wait_until_idle().await;
        shop.check_guarantees().await;
    }
}

async fn recovers_from_crashes_at_random_moments(shop: Shop) {
    let mut rng = seeded_rng();
    let kills = 4 * rounds();
    let events: Vec<Payload> = shop.stripe.events("invoice.paid", 40 * rounds() as usize);
    let stripe = shop.stripe.clone();
    let delivered = tokio::spawn(async move { stripe.deliver_all(events).await });
    for _ in 0..kills {
        let mut process = shop.serve(&[]).await.expect("process serves");
        SystemClock.sleep(Duration::from_millis(rng.u64(0..300))).await;
        process.kill().await;
        shop.stripe.set_endpoint(None);
    }
    let _process = shop.serve(&[]).await.expect("process serves");
    delivered.await.expect("task does not panic");
    shop.wait_until_idle().await;
    shop.check_guarantees().await;
}

/// Waits for the process to exit, and checks that it was killed.
async fn wait_until_killed(process: &mut Process) {
    use std::os::unix::process::ExitStatusExt as _;

    let status = process.wait().await;
    assert_eq!(status.signal(), Some(9), "{status}");
}
