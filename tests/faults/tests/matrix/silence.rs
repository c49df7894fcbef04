//! Connections that go silent: they transfer nothing any more, but are not closed. New connections
//! work. This happens in a failover behind a proxy, or if a firewall forgets its
//! connections.

use std::{net::SocketAddr, time::Duration};

use http::StatusCode;
use router_core::{
    clock::{Clock as _, SystemClock},
    testing::Payload,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::{outages::check_recovery, shop::Shop, with_timeout};

#[tokio::test(flavor = "multi_thread")]
async fn postgres_recovers_from_silent_connections() {
    let Some(shop) = Shop::on_postgres().await else { return };
    recovers_from_silent_connections(shop, Duration::from_secs(15)).await;
}

#[cfg(feature = "long")]
#[tokio::test(flavor = "multi_thread")]
async fn jetstream_recovers_from_silent_connections() {
    let Some(shop) = Shop::on_jetstream().await else { return };
    recovers_from_silent_connections(shop, Duration::from_secs(12)).await;
}

/// `limit` is the longest time for which events may be refused: the documented time, and some more
/// because the machine may be busy.
async fn recovers_from_silent_connections(shop: Shop, limit: Duration) {
    let (credentials, rest) = shop.database.url.split_once('@').expect("URL has a password");
    let (address, name) = rest.split_once('/').expect("URL has a path");
    let proxy = Proxy::start(address.to_owned()).await;
    let url = format!("{credentials}@{}/{name}", proxy.address);
    let process = shop.wait_until_serving(shop.start_at(&url, &["--concurrency", "8"])).await;
    let mut process = process.expect("process serves");
    shop.stripe.deliver_all(shop.stripe.events("invoice.paid", 8)).await;
    // Handlers that have written in their transactions, if the store has any.
    shop.stripe.deliver_all(shop.stripe.events("invoice.updated", 3)).await;
    for _ in 0..3 {
        process.wait_for_line("began shop.held").await.expect("process is alive");
    }

    let (stripe, events) = (shop.stripe.clone(), shop.stripe.events("invoice.paid", 400));
    let load = tokio::spawn(async move { stripe.deliver_all(events).await });
    for _ in 0..20 {
        process.wait_for_line("began shop.ledger").await.expect("process is alive");
    }
    proxy.silence();
    let began = SystemClock.monotonic();
    let refused = send_until_accepted(&shop).await;
    let took = SystemClock.monotonic() - began;
    println!("{} events refused in {took:?}", refused.len());
    assert!(took < limit, "{took:?}");
    load.await.expect("all events are acknowledged in time");
    shop.open_gate();
    check_recovery(&shop, &mut process, refused).await;

    proxy.silence();
    let began = SystemClock.monotonic();
    process.signal("TERM").await;
    let status = with_timeout("shutdown", process.wait()).await;
    println!("shut down in {:?}", SystemClock.monotonic() - began);
    assert!(status.success(), "{status}");
}

/// Sends one event after the other until one is acknowledged. Returns those that were refused.
async fn send_until_accepted(shop: &Shop) -> Vec<Payload> {
    let sending = async {
        let mut refused = Vec::new();
        loop {
            let event = shop.stripe.events("invoice.paid", 1).remove(0);
            if shop.stripe.send(&event).await == Some(StatusCode::OK) {
                return refused;
            }
            refused.push(event);
            SystemClock.sleep(Duration::from_millis(100)).await;
        }
    };
    with_timeout("an accepted event", sending).await
}

/// A TCP proxy whose connections can be silenced.
struct Proxy {
    address: SocketAddr,
    silenced: watch::Sender<()>,
    /// Aborted on drop.
    _task: JoinSet<()>,
}

impl Proxy {
    async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is available");
        let address = listener.local_addr().expect("socket is bound");
        let (silenced, receiver) = watch::channel(());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("listener is open");
                connections.spawn(forward(client, server.clone(), receiver.clone()));
            }
        });
        Self { address, silenced, _task: task }
    }

    /// Silences all open connections.
    fn silence(&self) {
        self.silenced.send_replace(());
    }
}

/// Forwards until the connection is closed, or forever nothing once it is silenced.
async fn forward(mut client: TcpStream, server: String, mut silenced: watch::Receiver<()>) {
    silenced.mark_unchanged();
    let mut server = TcpStream::connect(server).await.expect("server is running");
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = silenced.changed() => std::future::pending().await,
    }
}
