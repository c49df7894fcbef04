//! Thin events over a socket, with a stub of Stripe's API.

use std::{future::pending, net::SocketAddr};

use router_core::{
    SigningSecret,
    server::Server,
    testing::{Payload, SyntheticEvent},
};
use router_stripe::testing::{Fault, StubStripe};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::endpoint;

fn secret(text: &str) -> SigningSecret {
    SigningSecret::new(text).expect("secret is valid")
}

async fn start(stripe: &StubStripe) -> SocketAddr {
    let client = stripe.client_builder().max_attempts(1).build().expect("settings are valid");
    let endpoint = endpoint(secret("whsec_a").into(), client).expect("router is valid");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("listener is bound");
    tokio::spawn(Server::new(endpoint).serve(listener, pending()));
    address
}

/// Signs an event with this secret, sends it, and returns the answer.
async fn send(server: SocketAddr, event: &Payload, secret: &SigningSecret) -> String {
    let (signature, body) = (event.sign(secret), event.body());
    let head = format!(
        "POST /webhook HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nstripe-signature: \
         {signature}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(server).await.expect("server listens");
    stream.write_all(&[head.as_bytes(), body].concat()).await.expect("server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("server answers");
    answer
}

fn paid(id: &str) -> Payload {
    SyntheticEvent::new("v1.invoice.paid").id(id).build().expect("type is known")
}

#[tokio::test]
async fn handler_gets_the_fetched_object() {
    let stripe = StubStripe::start().await.unwrap();
    let (server, event) = (start(&stripe).await, paid("evt_1"));
    stripe.set_object_of_event(event.event());
    let path = event.event().related_object().unwrap().url().unwrap().to_owned();

    let forged = send(server, &event, &secret("whsec_b")).await;
    assert!(forged.starts_with("HTTP/1.1 400 "), "{forged}");
    assert_eq!(stripe.requests().len(), 0);

    let answer = send(server, &event, &secret("whsec_a")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains(r#"{"name":"orders.fulfil","outcome":"done"}"#), "{answer}");
    let requests: Vec<String> = stripe.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(requests, [path]);
}

#[tokio::test]
async fn event_about_a_deleted_object_is_ignored() {
    let stripe = StubStripe::start().await.unwrap();
    let (server, event) = (start(&stripe).await, paid("evt_1"));
    let answer = send(server, &event, &secret("whsec_a")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains(r#"{"name":"orders.fulfil","outcome":"ignored"}"#), "{answer}");
}

#[tokio::test]
async fn event_is_sent_again_if_the_api_is_unavailable() {
    let stripe = StubStripe::start().await.unwrap();
    let (server, event) = (start(&stripe).await, paid("evt_1"));
    stripe.set_object_of_event(event.event());
    stripe.fault(Fault::status(503));
    let answer = send(server, &event, &secret("whsec_a")).await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    let answer = send(server, &event, &secret("whsec_a")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
