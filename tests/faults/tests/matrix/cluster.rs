//! A cluster of three NATS servers: it tolerates the loss of one server. While two are unavailable,
//! events are answered with 503.

use router_core::testing::Payload;
use router_test_servers::nats::Cluster;
use tokio::task::JoinHandle;

use crate::{
    outages::{LONG_TIMEOUT, check_recovery, send_refused, start_working},
    process::Process,
    rounds,
    shop::Shop,
    with_timeout,
};

/// Events are acknowledged and handled by the same process before the leader is restarted.
#[tokio::test(flavor = "multi_thread")]
async fn cluster_survives_killed_leader() {
    let Some(mut cluster) = Cluster::start() else { return };
    let shop = Shop::on_nats(&cluster.url()).await;
    let mut process = start_working(&shop, &LONG_TIMEOUT).await;
    for _ in 0..rounds() {
        cluster.ready();
        let leader = cluster.leader_of(shop.stream_name());
        let delivered = spawn_deliveries(&shop, &mut process).await;
        cluster.kill(leader);
        with_timeout("acknowledgement of all events", delivered)
            .await
            .expect("task does not panic");
        shop.wait_until_idle().await;
        shop.check_guarantees().await;
        cluster.restart(leader);
    }
    cluster.ready();
    check_recovery(&shop, &mut process, Vec::new()).await;
}

#[cfg(feature = "long")]
#[tokio::test(flavor = "multi_thread")]
async fn cluster_survives_suspended_leader() {
    check_suspended_server(Cluster::leader_of).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_survives_suspended_follower() {
    check_suspended_server(|cluster, stream| (cluster.leader_of(stream) + 1) % 3).await;
}

/// Suspends the server to which the endpoint and the worker are connected.
async fn check_suspended_server(choose_node: impl Fn(&Cluster, &str) -> usize) {
    let Some(mut cluster) = Cluster::start() else { return };
    let shop = Shop::on_nats(&cluster.url()).await;
    cluster.ready();
    let node = choose_node(&cluster, shop.stream_name());
    let url = format!("{}/{}", cluster.urls()[node], shop.stream_name());
    let options = [&LONG_TIMEOUT[..], &["--no-worker"]].concat();
    let endpoint = shop.wait_until_serving(shop.start_at(&url, &options)).await;
    let mut endpoint = endpoint.expect("process serves");
    let mut worker = shop.start_at(&url, &["--no-serve"]);
    shop.stripe.deliver_all(shop.stripe.events("invoice.paid", 8)).await;
    let delivered = spawn_deliveries(&shop, &mut worker).await;
    cluster.suspend(node);
    with_timeout("acknowledgement of all events", delivered).await.expect("task does not panic");
    shop.wait_until_idle().await;
    shop.check_guarantees().await;
    // The resumed server has not replicated the events of the meantime yet.
    let delivered = spawn_deliveries(&shop, &mut worker).await;
    cluster.resume(node);
    with_timeout("acknowledgement of all events", delivered).await.expect("task does not panic");
    cluster.ready();
    check_recovery(&shop, &mut endpoint, Vec::new()).await;
    assert!(worker.is_alive());
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_recovers_after_all_servers_are_killed() {
    let Some(mut cluster) = Cluster::start() else { return };
    let shop = Shop::on_nats(&cluster.url()).await;
    let mut process = start_working(&shop, &LONG_TIMEOUT).await;
    cluster.ready();
    let delivered = spawn_deliveries(&shop, &mut process).await;
    cluster.kill_all();
    let refused: Vec<Payload> = send_refused(&shop).await;
    cluster.restart_all();
    with_timeout("acknowledgement of all events", delivered).await.expect("task does not panic");
    check_recovery(&shop, &mut process, refused).await;
}

/// Spawns a task that sends events, and waits until this process handles the first.
async fn spawn_deliveries(shop: &Shop, process: &mut Process) -> JoinHandle<()> {
    process.unread_lines();
    let (stripe, events) = (shop.stripe.clone(), shop.stripe.events("invoice.paid", 40));
    let delivered = tokio::spawn(async move { stripe.deliver_all(events).await });
    process.wait_for_line("began shop.ledger").await.expect("process is alive");
    delivered
}
