//! The servers that the other tests rely on.

use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions,
    jetstream::{self, Context, stream::Config},
};

use crate::support::nats::{PASSWORD, Server, USER, cluster::Cluster};

#[tokio::test]
async fn what_was_acknowledged_outlives_a_server_that_is_killed() {
    let Some(mut server) = Server::start() else { return };
    let context = connected(&[server.url()]).await;
    context.create_stream(events(1)).await.expect("there is room");
    publish(&context, "evt_1").await;
    server.kill();
    let error = connect(&[server.url()]).await.expect_err("nobody listens there");
    assert_eq!(error.kind(), ConnectErrorKind::Io, "{error}");
    server.restart();
    let context = connected(&[server.url()]).await;
    assert_eq!(published(&context).await, ["evt_1"]);
}

#[tokio::test]
async fn two_of_three_servers_elect_another_leader_and_go_on() {
    let Some(mut cluster) = Cluster::start() else { return };
    let context = connected(&cluster.urls()).await;
    context.create_stream(events(3)).await.expect("all three are there");
    publish(&context, "evt_1").await;
    let killed = cluster.leader_of("events");
    cluster.kill(killed);
    let leader = cluster.leader_of("events");
    let mut left = cluster.urls();
    left.remove(killed);
    let context = connected(&left).await;
    publish(&context, "evt_2").await;
    let stream = context.get_stream("events").await.expect("it is led");
    let led = stream.cached_info().cluster.as_ref().and_then(|cluster| cluster.leader.clone());
    assert_eq!(led, Some(format!("node_{leader}")));
    cluster.restart(killed);
    cluster.ready();
    assert_eq!(published(&context).await, ["evt_1", "evt_2"]);
}

async fn connected(urls: &[String]) -> Context {
    jetstream::new(connect(urls).await.expect("they are there"))
}

/// The client does not heed who a URL says that it is.
async fn connect(urls: &[String]) -> Result<Client, ConnectError> {
    ConnectOptions::with_user_and_password(USER.into(), PASSWORD.into()).connect(urls).await
}

fn events(num_replicas: usize) -> Config {
    Config { name: "events".into(), num_replicas, ..Config::default() }
}

/// And has it acknowledged.
async fn publish(context: &Context, id: &str) {
    let published = context.publish("events", id.to_owned().into()).await.expect("it is sent");
    published.await.expect("it is kept");
}

async fn published(context: &Context) -> Vec<String> {
    let stream = context.get_stream("events").await.expect("it was kept");
    let mut payloads = Vec::new();
    for sequence in 1..=stream.cached_info().state.last_sequence {
        let message = stream.get_raw_message(sequence).await.expect("it was kept");
        payloads.push(String::from_utf8(message.payload.into()).expect("it is an id"));
    }
    payloads
}
