//! Tests of the servers and the cluster that the other tests use.

use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions,
    jetstream::{self, Context, stream::Config},
};
use router_test_servers::nats::{Cluster, PASSWORD, Server, USER};

#[tokio::test]
async fn acknowledged_messages_survive_killed_server() {
    let Some(mut server) = Server::start() else { return };
    let context = connected(&[server.url()]).await;
    context.create_stream(events(1)).await.expect("the stream can be created");
    publish(&context, "evt_1").await;
    server.kill();
    let error = connect(&[server.url()]).await.expect_err("the server is not running");
    assert_eq!(error.kind(), ConnectErrorKind::Io, "{error}");
    server.restart();
    let context = connected(&[server.url()]).await;
    assert_eq!(published(&context).await, ["evt_1"]);
}

#[tokio::test]
async fn two_of_three_servers_elect_a_new_leader() {
    let Some(mut cluster) = Cluster::start() else { return };
    let context = connected(&cluster.urls()).await;
    context.create_stream(events(3)).await.expect("all three nodes run");
    publish(&context, "evt_1").await;
    let killed = cluster.leader_of("events");
    cluster.kill(killed);
    let leader = cluster.leader_of("events");
    let mut remaining = cluster.urls();
    remaining.remove(killed);
    let context = connected(&remaining).await;
    publish(&context, "evt_2").await;
    let stream = context.get_stream("events").await.expect("the stream has a leader");
    let stream_leader =
        stream.cached_info().cluster.as_ref().and_then(|cluster| cluster.leader.clone());
    assert_eq!(stream_leader, Some(format!("node_{leader}")));
    cluster.restart(killed);
    cluster.ready();
    assert_eq!(published(&context).await, ["evt_1", "evt_2"]);
}

async fn connected(urls: &[String]) -> Context {
    jetstream::new(connect(urls).await.expect("the servers run"))
}

/// Sets the credentials explicitly, because the client ignores those in a URL.
async fn connect(urls: &[String]) -> Result<Client, ConnectError> {
    ConnectOptions::with_user_and_password(USER.into(), PASSWORD.into()).connect(urls).await
}

fn events(num_replicas: usize) -> Config {
    Config { name: "events".into(), num_replicas, ..Config::default() }
}

/// Publishes a message and waits for the acknowledgment.
async fn publish(context: &Context, id: &str) {
    let published =
        context.publish("events", id.to_owned().into()).await.expect("the message is sent");
    published.await.expect("the message is acknowledged");
}

async fn published(context: &Context) -> Vec<String> {
    let stream = context.get_stream("events").await.expect("the stream exists");
    let mut payloads = Vec::new();
    for sequence in 1..=stream.cached_info().state.last_sequence {
        let message = stream.get_raw_message(sequence).await.expect("the message is stored");
        payloads.push(String::from_utf8(message.payload.into()).expect("the payload is an id"));
    }
    payloads
}
