//! The program with an inbox in NATS JetStream.

use std::time::Duration;

use router_core::{
    SigningSecret,
    clock::{Clock as _, SystemClock},
    testing::SyntheticEvent,
};
use router_inbox::{
    JetStreamStore, Store as _,
    store::{DeliveryState, NewDelivery, NewEvent},
};
use router_test_servers::nats::{PASSWORD, Server};

use crate::{
    inbox::SECRET,
    running::{Running, exchange, payment, program_with, refused, send},
};

fn start(server: &Server) -> Running {
    Running::start(program_with(&server.url_of("shop")).env("STRIPE_WEBHOOK_SECRET", SECRET))
}

/// Waits until the delivery of an event is done, because a shutdown leaves deliveries that have not
/// started to the next start.
async fn wait_until_done(nats: &Server, id: &str) {
    let store = JetStreamStore::options()
        .create_if_missing(false)
        .connect(&nats.url_of("shop"))
        .await
        .expect("inbox exists");
    for attempt in 0.. {
        match store.deliveries(id).await.expect("inbox is readable")[0].state {
            DeliveryState::Done => break,
            state => assert!(attempt < 1_500, "the delivery is {state:?} after 30 s"),
        }
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn jetstream_event_is_handled_once_across_a_restart() {
    let Some(mut nats) = Server::start() else { return };
    let request = payment(&SigningSecret::new(SECRET).unwrap());
    let server = start(&nats);
    let line = "\nevents are stored in NATS JetStream before they are handled\n";
    assert!(server.printed.contains(line), "{}", server.printed);
    let answer = send(server.address(), &request);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains(r#"{"event":"evt_1","outcome":"stored""#), "{answer}");
    wait_until_done(&nats, "evt_1").await;
    let (status, log) = server.terminate_after("payment succeeded");
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.matches("payment succeeded").count(), 1, "{log}");
    assert!(!log.contains(PASSWORD), "{log}");

    // The NATS server restarts too.
    nats.kill();
    nats.restart();
    let server = start(&nats);
    let answer = send(server.address(), &request);
    assert!(answer.contains(r#""outcome":"duplicate""#), "{answer}");
    let (_, log) = server.terminate();
    assert_eq!(log.matches("payment succeeded").count(), 0, "{log}");
}

#[tokio::test]
async fn event_stored_without_a_worker_is_handled_after_start() {
    let Some(nats) = Server::start() else { return };
    drop(start(&nats));
    let store = JetStreamStore::options()
        .create_if_missing(false)
        .connect(&nats.url_of("shop"))
        .await
        .unwrap();
    let event = SyntheticEvent::new("payment_intent.succeeded").id("evt_2").build().unwrap();
    let delivery = NewDelivery::new("payments.succeeded");
    let new = NewEvent::new(event.event().clone(), vec![delivery]);
    store.store(&[new]).await.unwrap();
    let server = start(&nats);
    wait_until_done(&nats, "evt_2").await;
    let (_, log) = server.terminate_after("payment succeeded");
    assert_eq!(log.matches("payment succeeded").count(), 1, "{log}");
}

#[test]
fn store_failure_is_answered_with_503_and_logged() {
    let Some(mut nats) = Server::start() else { return };
    let server = start(&nats);
    nats.kill();
    let answer = send(server.address(), &payment(&SigningSecret::new(SECRET).unwrap()));
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable"), "{answer}");
    assert!(answer.ends_with(r#"{"error":"try again later"}"#), "{answer}");
    let (_, log) = server.terminate();
    let line = log.lines().find(|line| line.contains("request refused")).unwrap();
    assert!(line.contains("the event could not be stored in the inbox: "), "{line}");
    assert!(line.contains(&nats.address()) && !line.contains(PASSWORD), "{line}");
}

#[test]
fn unreachable_nats_server_error_hides_password() {
    let (code, stderr) = refused(&mut program_with("nats://shop:geheim@127.0.0.1:1/shop"));
    assert_eq!(code, Some(1), "{stderr}");
    let error = "error: the NATS server 127.0.0.1:1 cannot be used as an inbox: the server cannot be reached";
    assert!(stderr.contains(error), "{stderr}");
    assert!(!stderr.contains("geheim"), "{stderr}");
}

/// Polls `/readyz` until its status is this one.
async fn wait_for_readiness(server: &Running, status: &str) -> String {
    for _ in 0..3_000 {
        let response = exchange(server.address(), "GET /readyz");
        if response.starts_with(&format!("HTTP/1.1 {status}\r\n")) {
            return response;
        }
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
    panic!("/readyz has not answered {status} in a minute");
}

#[tokio::test]
async fn readiness_follows_the_nats_server() {
    let Some(mut nats) = Server::start() else { return };
    let server = start(&nats);
    wait_for_readiness(&server, "200 OK").await;
    nats.kill();
    let response = wait_for_readiness(&server, "503 Service Unavailable").await;
    assert!(response.contains(r#"{"ready":false,"reasons":[{"code":"store_unavailable","#));
    assert!(!response.contains(&nats.address()), "{response}");
    nats.restart();
    wait_for_readiness(&server, "200 OK").await;
    let (status, log) = server.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    for line in ["failed to read the inbox's backlog", "the inbox's backlog can be read again"] {
        assert_eq!(log.matches(line).count(), 1, "{log}");
    }
}
