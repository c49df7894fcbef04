//! A store with a client that the application has made, and the store's settings.

use async_nats::{Client, ConnectOptions};
use router_inbox::{
    JetStreamStore, Store as _,
    store::{StoreErrorKind, Stored},
};
use router_test_servers::{
    nats::{self, PASSWORD, Server, USER},
    unused_port,
};

use super::outages::retry_until_available;
use crate::support::{error_chain, paid, wanted};

async fn connect(options: ConnectOptions, server: &Server) -> Client {
    let options = options.user_and_password(USER.into(), PASSWORD.into());
    options.connect(server.address()).await.expect("the server runs")
}

#[tokio::test]
async fn inbox_of_client_is_that_of_url() {
    let Some(server) = Server::start() else { return };
    let client = connect(JetStreamStore::connect_options(), &server).await;
    let store = JetStreamStore::from_client(client.clone()).await.unwrap();
    assert_eq!(store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    let other = JetStreamStore::connect(&server.url()).await.unwrap();
    assert_eq!(other.claim(&wanted(9)).await.unwrap().len(), 1);
    // Another name is another inbox, also by the URL, whose name takes precedence.
    let options = JetStreamStore::options().name("shop");
    let shop = options.clone().connect_with(client).await.unwrap();
    assert_eq!(shop.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    let by_name = options.clone().connect(&server.url()).await.unwrap();
    assert_eq!(by_name.deliveries("evt_1").await.unwrap().len(), 1);
    let by_url = options.connect(&server.url_of("other")).await.unwrap();
    assert!(by_url.deliveries("evt_1").await.unwrap().is_empty());
    for name in ["", "a.b", &"a".repeat(65)] {
        let options = JetStreamStore::options().name(name);
        assert_eq!(
            error_chain(&options.connect(&server.url()).await.unwrap_err()),
            "invalid setting of the inbox: the inbox's name must have 1 to 64 characters: letters, \
             digits, _ and -"
        );
    }
}

/// The store detects the loss of the connection without the client's events.
#[tokio::test]
async fn client_without_callback_recovers_from_outage() {
    let Some(mut server) = Server::start() else { return };
    let client = connect(ConnectOptions::new(), &server).await;
    let store = JetStreamStore::from_client(client).await.unwrap();
    store.store(&[paid("evt_1")]).await.unwrap();
    store.notified().await;
    server.suspend();
    // The event is sent, and the server is killed before it answers.
    let event = [paid("evt_2")];
    let (error, ()) = tokio::join!(store.store(&event), async { server.kill() });
    let message = error_chain(&error.unwrap_err());
    assert!(message.contains("not connected to the NATS server 127.0.0.1:"), "{message}");
    server.restart();
    let stored = retry_until_available(async || store.store(&[paid("evt_3")]).await).await;
    assert_eq!(stored, [Stored::New]);
    // The local view follows the stream again.
    let mut claimed = 0;
    while claimed < 2 {
        claimed += retry_until_available(async || store.claim(&wanted(9)).await).await.len();
    }
}

#[tokio::test]
async fn client_that_is_not_connected_is_refused() {
    if nats::missing().is_some() {
        return;
    }
    let options = ConnectOptions::new().retry_on_initial_connect();
    let client = options.connect(format!("127.0.0.1:{}", unused_port())).await.unwrap();
    let error = JetStreamStore::from_client(client).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error_chain(&error).starts_with("not connected to the NATS server"), "{error:?}");
}

/// The values are those that the documentation of `JetStreamOptions::connect_with` demands.
#[test]
fn connect_options_have_documented_timeouts() {
    let options = format!("{:?}", JetStreamStore::connect_options());
    for field in ["\"connection_timeout\": 3s", "\"ping_interval\": 3s"] {
        assert!(options.contains(field), "{options}");
    }
}
