//! The program with its inbox in NATS JetStream.

use std::time::Duration;

use router_core::{
    SigningSecret,
    clock::{Clock as _, SystemClock},
    testing::SyntheticEvent,
};
use router_inbox::{DeliveryState, JetStreamStore, NewDelivery, NewEvent, Store as _};

use self::nats::{PASSWORD, Server};
use crate::{
    inbox::SECRET,
    running::{Running, payment, program_with, refused, send},
};

#[allow(dead_code, reason = "not every program needs all of it")]
#[path = "../../../../router-inbox/tests/support/nats.rs"]
mod nats;

fn start(server: &Server) -> Running {
    Running::start(program_with(&server.url_of("shop")).env("STRIPE_WEBHOOK_SECRET", SECRET))
}

/// A stop leaves what has not begun to the next start.
async fn until_done(nats: &Server, id: &str) {
    let store = JetStreamStore::connect_existing(&nats.url_of("shop")).await.expect("it is there");
    for waited in 0.. {
        match store.deliveries(id).await.expect("it is there")[0].state {
            DeliveryState::Done => break,
            state => assert!(waited < 1_500, "half a minute, and it is {state:?}"),
        }
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_event_is_stored_in_jetstream_and_handled_once_even_if_it_comes_again_after_a_restart() {
    let Some(mut nats) = Server::start() else { return };
    let request = payment(&SigningSecret::new(SECRET).unwrap());
    let server = start(&nats);
    let told = "\nevents are stored in NATS JetStream, and then handled\n";
    assert!(server.printed.contains(told), "{}", server.printed);
    let answer = send(server.address(), &request);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains(r#"{"event":"evt_1","outcome":"stored""#), "{answer}");
    until_done(&nats, "evt_1").await;
    let (status, log) = server.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.matches("payment succeeded").count(), 1, "{log}");
    assert!(!log.contains(PASSWORD), "{log}");

    // The NATS server has been away meanwhile, too.
    nats.kill();
    nats.restart();
    let server = start(&nats);
    let answer = send(server.address(), &request);
    assert!(answer.contains(r#""outcome":"duplicate""#), "{answer}");
    let (_, log) = server.terminate();
    assert_eq!(log.matches("payment succeeded").count(), 0, "{log}");
}

#[tokio::test]
async fn what_was_stored_while_nobody_handled_is_handled_once_the_program_runs_again() {
    let Some(nats) = Server::start() else { return };
    drop(start(&nats));
    let store = JetStreamStore::connect_existing(&nats.url_of("shop")).await.unwrap();
    let event = SyntheticEvent::new("payment_intent.succeeded").id("evt_2").build().unwrap();
    let delivery = NewDelivery { handler: "payments.succeeded".into(), ordered: false };
    let new = NewEvent { event: event.event().clone(), deliveries: vec![delivery] };
    store.store(&[new]).await.unwrap();
    let server = start(&nats);
    until_done(&nats, "evt_2").await;
    let (_, log) = server.terminate();
    assert_eq!(log.matches("payment succeeded").count(), 1, "{log}");
}

#[test]
fn what_cannot_be_stored_is_answered_with_503_and_the_log_says_why() {
    let Some(mut nats) = Server::start() else { return };
    let server = start(&nats);
    nats.kill();
    let answer = send(server.address(), &payment(&SigningSecret::new(SECRET).unwrap()));
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable"), "{answer}");
    assert!(answer.ends_with(r#"{"error":"try again later"}"#), "{answer}");
    let (_, log) = server.terminate();
    let told = log.lines().find(|line| line.contains("request refused")).unwrap();
    assert!(told.contains("the event could not be stored in the inbox: "), "{told}");
    assert!(told.contains(&nats.address()) && !told.contains(PASSWORD), "{told}");
}

#[test]
fn a_nats_server_that_is_not_there_is_named_without_its_password() {
    let (code, said) = refused(&mut program_with("nats://shop:geheim@127.0.0.1:1/shop"));
    assert_eq!(code, Some(1), "{said}");
    let told = "error: the NATS server 127.0.0.1:1 cannot be used as an inbox: the server cannot be reached";
    assert!(said.contains(told), "{said}");
    assert!(!said.contains("geheim"), "{said}");
}
