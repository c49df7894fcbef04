//! A process that is held up between what it has seen and what it writes.

use std::sync::Arc;

use router_inbox::{JetStreamStore, Store as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::Notify,
};

use crate::{
    InJetStream,
    support::{created, nats, updated, wanted},
};

/// It has seen that it is the first of its object, and an older one is out by the time that it claims it.
#[tokio::test]
async fn who_claims_by_what_it_saw_of_an_object_is_refused_once_that_is_not_so() {
    let Some(inbox) = InJetStream::made().await else { return };
    let server = nats::shared().expect("it was there").address();
    // What only the claim of an ordered delivery says.
    let slow = SlowLine::to(server.clone(), "Nats-Expected-Last-Subject-Sequence-Subject").await;
    let url = inbox.url.replace(&server, &slow.address);
    let other = JetStreamStore::connect(&url).await.unwrap().clock(inbox.clock.clone());
    inbox.store.store(&[updated("evt_2", 1)]).await.unwrap();
    while other.backlog().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let claiming = tokio::spawn(async move { other.claim(&wanted(9)).await.unwrap() });
    slow.holds.notified().await;
    inbox.store.store(&[created("evt_1", 1)]).await.unwrap();
    let out = inbox.store.claim(&wanted(9)).await.unwrap();
    assert_eq!(out[0].event.as_ref().unwrap().id(), "evt_1");
    slow.go_on.notify_one();
    assert!(claiming.await.unwrap().is_empty(), "two of one object would be out");
}

/// A line to a server that holds what is sent, from this text on, until it is to go on.
struct SlowLine {
    address: String,
    holds: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl SlowLine {
    async fn to(server: String, text: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let (holds, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let line = Self { address, holds: holds.clone(), go_on: go_on.clone() };
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.expect("it is asked");
            let server = TcpStream::connect(server).await.expect("it is there");
            let ((from_client, mut to_client), (mut from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
            hand_on(from_client, to_server, text, &holds, &go_on).await;
        });
        line
    }
}

async fn hand_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    text: &str,
    holds: &Notify,
    go_on: &Notify,
) {
    let (mut sent, mut held) = (vec![0; 1 << 16], false);
    while let Ok(length @ 1..) = from.read(&mut sent).await {
        let is_it = sent[..length].windows(text.len()).any(|part| part == text.as_bytes());
        if is_it && !held {
            held = true;
            holds.notify_one();
            go_on.notified().await;
        }
        if to.write_all(&sent[..length]).await.is_err() {
            return;
        }
    }
}
