//! A NATS server that is away for a while: Stripe is told to come again, and once it is back, all is done by the same
//! process.

use std::time::Duration;

use router_core::clock::{Clock as _, SystemClock};

use crate::{
    dice,
    outages::{IMPATIENT, PATIENT, at_work, recovers, refused},
    rounds,
    shop::Shop,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_stopped() {
    let Some(mut server) = Shop::jetstream() else { return };
    let shop = Shop::at(&server.url()).await;
    let mut process = at_work(&shop, &IMPATIENT).await;
    server.stop();
    let refused = refused(&shop).await;
    server.restart();
    recovers(&shop, &mut process, refused).await;
}

/// Its connections stay, and nobody answers there. What it was asked meanwhile it does once it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_stands_still() {
    let Some(mut server) = Shop::jetstream() else { return };
    let shop = Shop::at(&server.url()).await;
    let mut process = at_work(&shop, &IMPATIENT).await;
    server.suspend();
    let refused = refused(&shop).await;
    server.resume();
    recovers(&shop, &mut process, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_killed_in_the_midst_of_work() {
    let Some(mut server) = Shop::jetstream() else { return };
    let shop = Shop::at(&server.url()).await;
    let mut process = at_work(&shop, &PATIENT).await;
    let mut dice = dice();
    for _ in 0..8 * rounds() {
        let (stripe, events) = (shop.stripe.clone(), shop.stripe.events("invoice.paid", 100));
        let delivered = tokio::spawn(async move { stripe.deliver_all(events).await });
        process.says("began shop.ledger").await.expect("it lives");
        SystemClock.sleep(Duration::from_millis(dice.u64(0..50))).await;
        server.kill();
        server.restart();
        delivered.await.expect("all are acknowledged");
    }
    recovers(&shop, &mut process, Vec::new()).await;
}
