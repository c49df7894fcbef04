//! A full stream: it accepts neither new events nor outcomes of deliveries.

use async_nats::{
    ConnectOptions,
    jetstream::{self, stream::Info},
};
use http::StatusCode;
use router_test_servers::nats::{Cluster, PASSWORD, USER};

use crate::{
    outages::{SHORT_TIMEOUT, UNAVAILABLE, check_recovery, send_refused, start_working},
    rounds, seeded_rng,
    shop::Shop,
    wait_until,
};

#[tokio::test(flavor = "multi_thread")]
async fn full_stream_completes_deliveries_once_it_has_space() {
    let Some(shop) = Shop::on_jetstream().await else { return };
    let limit = StreamLimit::new(&shop).await;
    // Half of the slots are for handlers that have nothing in flight.
    let mut process =
        start_working(&shop, &[&SHORT_TIMEOUT[..], &["--concurrency", "4"]].concat()).await;
    shop.wait_until_idle().await;
    let held = shop.stripe.events("invoice.updated", 4);
    shop.stripe.deliver_all(held).await;
    for _ in 0..2 {
        process.wait_for_line("began shop.held").await.expect("process is alive");
    }
    limit.fill().await;
    let refused = send_refused(&shop).await;
    // The running deliveries finish, but their outcomes cannot be recorded. Until they are, they
    // take up the worker's slots, and no others start.
    shop.open_gate();
    wait_until("the running deliveries", async || shop.ledger().len() == 8 + 2).await;
    wait_until("the log line", async || {
        shop.log().contains("failed to record the outcome of deliveries; retrying")
    })
    .await;
    assert_eq!(shop.ledger().len(), 8 + 2);
    limit.remove().await;
    check_recovery(&shop, &mut process, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_server_stores_whole_events_or_none() {
    let Some(shop) = Shop::on_jetstream().await else { return };
    stores_all_or_nothing(shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_cluster_stores_whole_events_or_none() {
    let Some(cluster) = Cluster::start() else { return };
    stores_all_or_nothing(Shop::on_nats(&cluster.url()).await).await;
}

/// Fills the stream at random points of a batch, and checks that each event is stored with its
/// record or not at all.
async fn stores_all_or_nothing(shop: Shop) {
    let limit = StreamLimit::new(&shop).await;
    let mut process = start_working(&shop, &SHORT_TIMEOUT).await;
    let (mut rng, mut accepted) = (seeded_rng(), 0);
    let sent = 48 * rounds();
    for _ in 0..sent / 4 {
        shop.wait_until_idle().await;
        // Four events are sent at once, and there is space for some of them and a part of another.
        let events = shop.stripe.events("invoice.paid", 4);
        let size = i64::try_from(events[0].body().len()).expect("size fits in i64");
        limit.leave(size + rng.i64(0..2 * size)).await;
        let send = |index: usize| shop.stripe.send(&events[index]);
        let (a, b, c, d) = tokio::join!(send(0), send(1), send(2), send(3));
        for status in [a, b, c, d] {
            match status {
                Some(StatusCode::OK) => accepted += 1,
                status => assert_eq!(status, UNAVAILABLE, "{}", shop.log()),
            }
        }
        limit.remove().await;
        // A redelivered event is a duplicate only if it was stored completely.
        shop.stripe.deliver_all(events).await;
    }
    println!("{accepted} of {sent} events were accepted at the first attempt");
    check_recovery(&shop, &mut process, Vec::new()).await;
}

/// The size limit of a shop's stream.
struct StreamLimit {
    jetstream: jetstream::Context,
    stream: String,
}

impl StreamLimit {
    async fn new(shop: &Shop) -> Self {
        let options = ConnectOptions::with_user_and_password(USER.into(), PASSWORD.into());
        let client = options.connect(shop.nats_address()).await.expect("server is running");
        Self { jetstream: jetstream::new(client), stream: shop.stream_name().to_owned() }
    }

    async fn fill(&self) {
        self.leave(0).await;
    }

    /// Leaves space for this number of bytes.
    async fn leave(&self, bytes: i64) {
        let used = i64::try_from(self.info().await.state.bytes).expect("size fits in i64");
        self.set(used + bytes).await;
    }

    async fn remove(&self) {
        self.set(-1).await;
    }

    async fn set(&self, max_bytes: i64) {
        let config = jetstream::stream::Config { max_bytes, ..self.info().await.config };
        self.jetstream.update_stream(config).await.expect("stream can be changed");
    }

    async fn info(&self) -> Info {
        let stream = self.jetstream.get_stream(&self.stream).await.expect("stream exists");
        stream.cached_info().clone()
    }
}
