//! A stream that is full: it takes neither what is new, nor how far that is which it has.

use async_nats::{
    ConnectOptions,
    jetstream::{self, stream::Info},
};
use http::StatusCode;

use crate::{
    dice,
    nats::{PASSWORD, USER, cluster::Cluster},
    outages::{IMPATIENT, REFUSED, at_work, recovers, refused},
    rounds,
    shop::Shop,
    until,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_is_done_once_there_is_room() {
    let Some(shop) = Shop::on_jetstream().await else { return };
    let disk = Disk::of(&shop).await;
    let mut process = at_work(&shop, &[&IMPATIENT[..], &["--concurrency", "2"]].concat()).await;
    shop.all_ended().await;
    let held = shop.stripe.events("invoice.updated", 4);
    shop.stripe.deliver_all(held).await;
    for _ in 0..2 {
        process.says("began shop.held").await.expect("it lives");
    }
    disk.is_full().await;
    let refused = refused(&shop).await;
    // Those that run are done, and wait to be recorded; while they do, no others are begun.
    shop.open_gate();
    until("what runs", async || shop.ledger().len() == 8 + 2).await;
    until("that it is said", async || {
        shop.log().contains("failed to record the outcome of deliveries; retrying")
    })
    .await;
    assert_eq!(shop.ledger().len(), 8 + 2);
    disk.has_room().await;
    recovers(&shop, &mut process, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_an_event_is_never_there() {
    let Some(shop) = Shop::on_jetstream().await else { return };
    all_or_nothing(shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_an_event_is_never_there_in_a_cluster() {
    let Some(cluster) = Cluster::start() else { return };
    all_or_nothing(Shop::at(&cluster.url()).await).await;
}

/// Wherever the end of the room is: an event is there with what is to be done, or not at all.
async fn all_or_nothing(shop: Shop) {
    let disk = Disk::of(&shop).await;
    let mut process = at_work(&shop, &IMPATIENT).await;
    let (mut dice, mut taken) = (dice(), 0);
    let sent = 48 * rounds();
    for _ in 0..sent / 4 {
        shop.all_ended().await;
        // Several come at once, as one is being written, and there is room for some and a half.
        let events = shop.stripe.events("invoice.paid", 4);
        let size = i64::try_from(events[0].body().len()).expect("it is small");
        disk.has_only(size + dice.i64(0..2 * size)).await;
        let send = |at: usize| shop.stripe.send(&events[at]);
        let (a, b, c, d) = tokio::join!(send(0), send(1), send(2), send(3));
        for status in [a, b, c, d] {
            match status {
                Some(StatusCode::OK) => taken += 1,
                status => assert_eq!(status, REFUSED, "{}", shop.log()),
            }
        }
        disk.has_room().await;
        // It is asked again, and says that it has an event only if it has all of it.
        shop.stripe.deliver_all(events).await;
    }
    println!("{taken} of {sent} were taken at first");
    recovers(&shop, &mut process, Vec::new()).await;
}

/// What a stream may take of it.
struct Disk {
    jetstream: jetstream::Context,
    stream: String,
}

impl Disk {
    async fn of(shop: &Shop) -> Self {
        let options = ConnectOptions::with_user_and_password(USER.into(), PASSWORD.into());
        let client = options.connect(shop.server()).await.expect("it runs");
        Self { jetstream: jetstream::new(client), stream: shop.stream().to_owned() }
    }

    async fn is_full(&self) {
        self.has_only(0).await;
    }

    /// So many bytes more than there are.
    async fn has_only(&self, bytes: i64) {
        let there = i64::try_from(self.info().await.state.bytes).expect("it is small");
        self.limit(there + bytes).await;
    }

    async fn has_room(&self) {
        self.limit(-1).await;
    }

    async fn limit(&self, max_bytes: i64) {
        let config = jetstream::stream::Config { max_bytes, ..self.info().await.config };
        self.jetstream.update_stream(config).await.expect("it may be changed");
    }

    async fn info(&self) -> Info {
        let stream = self.jetstream.get_stream(&self.stream).await.expect("it is there");
        stream.cached_info().clone()
    }
}
