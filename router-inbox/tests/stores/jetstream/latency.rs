//! A connection whose answers take long.

use std::time::Duration;

use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{
    JetStreamStore, Store as _,
    operations::{EventSelector, ListFilter},
    store::Operations as _,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
};

use super::TestInbox;
use crate::support::updated;

/// Longer than the time after which a reader asks the server whether messages are left.
const LATENCY: Duration = Duration::from_millis(250);

/// A reader must not give up on messages that the server has sent. A replay would otherwise not
/// know that its handler is ordered.
#[tokio::test]
async fn reads_over_slow_connection_are_complete() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.store(&[updated("evt_1", 1), updated("evt_2", 1)]).await.unwrap();
    let (_, rest) = inbox.url.split_once('@').expect("the URL has a password");
    let (server, _) = rest.split_once('/').expect("the URL names the inbox");
    let url = inbox.url.replace(server, &slow_proxy(server.to_owned()).await);
    let slow = JetStreamStore::options().clock(inbox.clock.clone()).connect(&url).await.unwrap();
    let events = slow.select(&EventSelector::default()).await.unwrap();
    assert_eq!(events.len(), 2);
    slow.replay(&events, &[]).await.unwrap();
    let all = ListFilter { limit: 9, ..ListFilter::default() };
    let listed = inbox.store.list(&all).await.unwrap().into_iter();
    let blocked: Vec<_> = listed.map(|entry| entry.delivery.unwrap().is_blocked).collect();
    assert_eq!(blocked, [true, true, true, false], "newest first");
}

/// Starts a proxy that delays all data from the server, and returns its address.
async fn slow_proxy(server: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("the listener is bound").to_string();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.expect("the client connects");
        let server = TcpStream::connect(server).await.expect("the server runs");
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
        let mut chunk = vec![0; 1 << 20];
        while let Ok(length @ 1..) = from_server.read(&mut chunk).await {
            SystemClock.sleep(LATENCY).await;
            if to_client.write_all(&chunk[..length]).await.is_err() {
                return;
            }
        }
    });
    address
}
