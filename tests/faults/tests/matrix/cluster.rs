//! A cluster of three NATS servers: while one is away the others go on; while more are, Stripe is told to come again.

use router_core::testing::Payload;
use tokio::task::JoinHandle;

use crate::{
    nats::cluster::Cluster,
    outages::{PATIENT, at_work, recovers, refused},
    process::Process,
    rounds,
    shop::Shop,
    soon,
};

/// What comes meanwhile is acknowledged and handled, by the same process, before it is back.
#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_killed() {
    let Some(mut cluster) = Cluster::start() else { return };
    let shop = Shop::at(&cluster.url()).await;
    let mut process = at_work(&shop, &PATIENT).await;
    for _ in 0..2 * rounds() {
        cluster.ready();
        let leader = cluster.leader_of(shop.stream());
        let delivered = deliver(&shop, &mut process).await;
        cluster.kill(leader);
        soon("that all are acknowledged", delivered).await.expect("it does not panic");
        shop.all_ended().await;
        shop.check().await;
        cluster.restart(leader);
    }
    cluster.ready();
    recovers(&shop, &mut process, Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_stands_still() {
    stands_still(Cluster::leader_of).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_stands_still() {
    stands_still(|cluster, stream| (cluster.leader_of(stream) + 1) % 3).await;
}

/// The endpoint and the worker have their connections there, where nobody answers.
async fn stands_still(which: impl Fn(&Cluster, &str) -> usize) {
    let Some(mut cluster) = Cluster::start() else { return };
    let shop = Shop::at(&cluster.url()).await;
    cluster.ready();
    let node = which(&cluster, shop.stream());
    let url = format!("{}/{}", cluster.urls()[node], shop.stream());
    let front = [&PATIENT[..], &["--no-worker"]].concat();
    let front = shop.listening(shop.start_at(&url, &front)).await;
    let mut front = front.expect("it serves");
    let mut worker = shop.start_at(&url, &["--no-serve"]);
    shop.stripe.deliver_all(shop.stripe.events("invoice.paid", 8)).await;
    let delivered = deliver(&shop, &mut worker).await;
    cluster.suspend(node);
    soon("that all are acknowledged", delivered).await.expect("it does not panic");
    shop.all_ended().await;
    shop.check().await;
    // It believes for a moment that all is as it was.
    let delivered = deliver(&shop, &mut worker).await;
    cluster.resume(node);
    soon("that all are acknowledged", delivered).await.expect("it does not panic");
    cluster.ready();
    recovers(&shop, &mut front, Vec::new()).await;
    assert!(worker.is_alive());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_killed_at_once() {
    let Some(mut cluster) = Cluster::start() else { return };
    let shop = Shop::at(&cluster.url()).await;
    let mut process = at_work(&shop, &PATIENT).await;
    cluster.ready();
    let delivered = deliver(&shop, &mut process).await;
    cluster.kill_all();
    let refused: Vec<Payload> = refused(&shop).await;
    cluster.restart_all();
    soon("that all are acknowledged", delivered).await.expect("it does not panic");
    recovers(&shop, &mut process, refused).await;
}

/// Events that come one after the other, of which the first is being handled by this process.
async fn deliver(shop: &Shop, process: &mut Process) -> JoinHandle<()> {
    process.said();
    let (stripe, events) = (shop.stripe.clone(), shop.stripe.events("invoice.paid", 40));
    let delivered = tokio::spawn(async move { stripe.deliver_all(events).await });
    process.says("began shop.ledger").await.expect("it lives");
    delivered
}
