//! A proxy that delays a request of a store.

use std::sync::Arc;

use router_inbox::JetStreamStore;
use router_test_servers::nats;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::Notify,
};

use super::TestInbox;

/// A proxy to a server. It holds back what the client sends from the first chunk that contains a
/// given text, until it is resumed.
pub(super) struct HoldingProxy {
    address: String,
    /// Notified when the text has been sent.
    pub(super) held: Arc<Notify>,
    pub(super) resume: Arc<Notify>,
}

impl HoldingProxy {
    /// Opens the inbox through a proxy.
    pub(super) async fn connect(inbox: &TestInbox, text: &'static str) -> (JetStreamStore, Self) {
        let server = nats::shared().expect("the server runs").address();
        let proxy = Self::new(server.clone(), text).await;
        let url = inbox.url.replace(&server, &proxy.address);
        let store = JetStreamStore::options().clock(inbox.clock.clone()).connect(&url).await;
        (store.expect("the server runs"), proxy)
    }

    async fn new(server: String, text: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound").to_string();
        let (held, resume) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let proxy = Self { address, held: held.clone(), resume: resume.clone() };
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.expect("the client connects");
            let server = TcpStream::connect(server).await.expect("the server runs");
            let ((from_client, mut to_client), (mut from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
            forward(from_client, to_server, text, &held, &resume).await;
        });
        proxy
    }
}

/// Forwards data, and once holds back the chunk that contains the text.
async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    text: &str,
    held: &Notify,
    resume: &Notify,
) {
    let (mut chunk, mut has_held) = (vec![0; 1 << 16], false);
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        let contains_text = chunk[..length].windows(text.len()).any(|part| part == text.as_bytes());
        if contains_text && !has_held {
            has_held = true;
            held.notify_one();
            resume.notified().await;
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}
