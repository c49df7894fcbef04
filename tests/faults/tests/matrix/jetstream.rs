//! A NATS server that is unavailable for a while: events are answered with 503 meanwhile, and the
//! same process handles all of them once the server is available again.

use std::time::Duration;

use router_core::clock::{Clock as _, SystemClock};

use crate::{
    outages::{LONG_TIMEOUT, SHORT_TIMEOUT, check_recovery, send_refused, start_working},
    rounds, seeded_rng,
    shop::Shop,
};

#[tokio::test(flavor = "multi_thread")]
async fn nats_recovers_from_a_shutdown() {
    let Some(mut server) = Shop::start_nats() else { return };
    let shop = Shop::on_nats(&server.url()).await;
    let mut process = start_working(&shop, &SHORT_TIMEOUT).await;
    server.stop();
    let refused = send_refused(&shop).await;
    server.restart();
    check_recovery(&shop, &mut process, refused).await;
}

/// A suspended server keeps its connections. When it resumes, it processes the requests that it was
/// sent meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn nats_recovers_from_a_suspended_server() {
    let Some(mut server) = Shop::start_nats() else { return };
    let shop = Shop::on_nats(&server.url()).await;
    let mut process = start_working(&shop, &SHORT_TIMEOUT).await;
    server.suspend();
    let refused = send_refused(&shop).await;
    server.resume();
    check_recovery(&shop, &mut process, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_recovers_from_kills_under_load() {
    let Some(mut server) = Shop::start_nats() else { return };
    let shop = Shop::on_nats(&server.url()).await;
    let mut process = start_working(&shop, &LONG_TIMEOUT).await;
    let mut rng = seeded_rng();
    for _ in 0..3 * rounds() {
        let (stripe, events) = (shop.stripe.clone(), shop.stripe.events("invoice.paid", 100));
        let delivered = tokio::spawn(async move { stripe.deliver_all(events).await });
        process.wait_for_line("began shop.ledger").await.expect("process is alive");
        SystemClock.sleep(Duration::from_millis(rng.u64(0..50))).await;
        server.kill();
        server.restart();
        delivered.await.expect("task does not panic");
    }
    check_recovery(&shop, &mut process, Vec::new()).await;
}
