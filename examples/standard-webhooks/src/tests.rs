//! Requests of a provider over a socket: signed, forged, redelivered, and failing.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, UNIX_EPOCH},
};

use router_core::{
    BoxError, Event, Router,
    clock::{Clock as _, SystemClock},
    server::Server,
};
use standardwebhooks::Webhook;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{PLUGIN, app};

const BODY: &str = r#"{"object": "event", "id": "evt_1", "type": "response.completed", "created_at": 1750287078, "data": {"id": "resp_1"}}"#;

fn webhook() -> Webhook {
    Webhook::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").expect("secret is valid")
}

/// The current time, in seconds since the Unix epoch.
fn now() -> i64 {
    let now = SystemClock.wall().duration_since(UNIX_EPOCH).expect("clock is after 1970");
    now.as_secs().cast_signed()
}

/// Starts the server with the example's handler, and one that fails at its first call if
/// `fails_once` is set. Returns the number of its calls too.
async fn start(fails_once: bool) -> (SocketAddr, Arc<AtomicUsize>) {
    start_with_limit(fails_once, Duration::from_secs(30)).await
}

async fn start_with_limit(fails_once: bool, limit: Duration) -> (SocketAddr, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let handler = move |_: Event| {
        let call = counter.fetch_add(1, SeqCst);
        async move { if fails_once && call == 0 { Err(BoxError::from("not now")) } else { Ok(()) } }
    };
    let builder = Router::builder().plugins([PLUGIN]).handler("count", ["openai.*"], handler);
    let router = builder.build().expect("router is valid");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("listener is bound");
    tokio::spawn(Server::new(app(webhook(), router, limit)).serve(listener, pending()));
    (address, calls)
}

/// Sends a body with this signature, and returns the answer.
async fn send(server: SocketAddr, timestamp: i64, signature: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server).await.expect("server listens");
    let request = format!(
        "POST /webhook/openai HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nwebhook-id: evt_1\r\n\
         webhook-timestamp: {timestamp}\r\nwebhook-signature: {signature}\r\ncontent-length: {}\r\n\r\n\
         {body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("server answers");
    answer
}

/// Signs this body now, sends it, and returns the answer.
async fn send_signed(server: SocketAddr, body: &str) -> String {
    let signature = webhook().sign("evt_1", now(), body.as_bytes()).expect("body is UTF-8");
    send(server, now(), &signature, body).await
}

#[tokio::test]
async fn redelivered_webhook_is_handled_once() {
    let (server, calls) = start(false).await;
    for outcome in ["done", "duplicate"] {
        let answer = send_signed(server, BODY).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let log = format!(r#"{{"name":"responses.log","outcome":"{outcome}"}}"#);
        assert!(answer.contains(&log), "{answer}");
        assert_eq!(calls.load(SeqCst), 1);
    }
}

#[tokio::test]
async fn forged_or_unreadable_webhook_is_refused() {
    let (server, calls) = start(false).await;
    let signature = webhook().sign("evt_1", now(), BODY.as_bytes()).unwrap();
    let other = webhook().sign("evt_2", now(), BODY.as_bytes()).unwrap();
    let changed = BODY.replace("resp_1", "resp_2");
    for (timestamp, signature, body) in [
        (now(), &*signature, &*changed),
        (now(), &other, BODY),
        (now(), "v1,", BODY),
        (now() - 3600, &signature, BODY),
        (i64::MIN, &signature, BODY),
    ] {
        let answer = send(server, timestamp, signature, body).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    for body in ["", "[]", r#"{"created_at": 1, "data": {}}"#, &BODY.replace("response", "a/b")] {
        let answer = send_signed(server, body).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{body}: {answer}");
    }
    assert_eq!(calls.load(SeqCst), 0);
}

/// The limit of zero ends as soon as the server waits for the rest of the body.
#[tokio::test]
async fn body_that_stalls_is_refused() {
    let (server, calls) = start_with_limit(false, Duration::ZERO).await;
    let mut stream = TcpStream::connect(server).await.unwrap();
    let request = "POST /webhook/openai HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                   content-length: 100\r\n\r\n{";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(calls.load(SeqCst), 0);
}

#[tokio::test]
async fn failed_handler_is_answered_with_500_and_runs_again() {
    let (server, calls) = start(true).await;
    let answer = send_signed(server, BODY).await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    let answer = send_signed(server, BODY).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains(r#"{"name":"count","outcome":"done"}"#), "{answer}");
    assert_eq!(calls.load(SeqCst), 2);
}
