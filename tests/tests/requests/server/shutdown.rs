//! Graceful shutdown of the server, with requests in flight and idle connections.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use hyper::client::conn;
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioIo},
};
use router_core::{Event, handler::IntoHandler};
use router_tests::{payload, payload_with_id};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
};

use super::{DONE, Running, SHUTDOWN_GRACE, client, counting, held, read, signed};

type ResponseResult = Result<http::Response<hyper::body::Incoming>, legacy::Error>;

/// Sends a request in a new task, and returns once the handler has started.
async fn send_in_flight(
    server: &Running,
    starts: &mut mpsc::UnboundedReceiver<()>,
    http2: bool,
) -> JoinHandle<ResponseResult> {
    let request = server.post(payload("invoice.paid"));
    let response = tokio::spawn(async move { client(http2).request(request).await });
    starts.recv().await.expect("the handler starts");
    response
}

#[tokio::test]
async fn shutdown_answers_requests_in_flight() {
    for http2 in [false, true] {
        let (mut starts, permits, handler) = held();
        let server = Running::start(handler).await;
        let response = send_in_flight(&server, &mut starts, http2).await;
        // A client that sends nothing must not delay the shutdown.
        let mut silent = TcpStream::connect(server.address).await.unwrap();
        server.clock.wait_for_sleepers(2).await;

        server.stop.send(()).unwrap();
        // The server closes the idle connection, which shows that the shutdown has begun.
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
        let refused = TcpStream::connect(server.address).await;
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        assert!(!server.served.is_finished(), "a request is still in flight");

        permits.add_permits(1);
        let response = response.await.unwrap().unwrap();
        assert_eq!(read(response).await, (StatusCode::OK, DONE.into()), "HTTP/2: {http2}");
        server.served.await.unwrap();
    }
}

#[tokio::test]
async fn shutdown_does_not_wait_for_idle_connections() {
    let (_, handler) = counting();
    let server = Running::start(handler).await;
    let clients = [client(false), client(true)];
    for client in &clients {
        let response = client.request(server.post(payload("invoice.paid"))).await.unwrap();
        assert_eq!(read(response).await.0, StatusCode::OK);
    }
    // The clients keep their connections open, and no clock advances.
    server.stop().await;
    drop(clients);
}

#[tokio::test]
async fn half_sent_head_does_not_delay_shutdown() {
    for sent in ["POST /webhook HTTP/1.1\r\nHo", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI * "] {
        let (_, handler) = counting();
        let server = Running::start(handler).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        server.clock.wait_for_sleeper().await;
        // No clock advances.
        server.stop().await;
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        assert!(!answer.starts_with(b"HTTP/1.1 "), "{sent:?}");
    }
}

#[tokio::test]
async fn client_that_does_not_take_its_answer_does_not_delay_shutdown() {
    let (_, handler) = counting();
    let server = Running::start(handler).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    // The client allows no byte of an answer's body.
    let mut client = conn::http2::Builder::new(TokioExecutor::new());
    client.initial_stream_window_size(0);
    let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(server.post(payload("invoice.paid"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    server.stop.send(()).unwrap();
    // The timers of the connection and of the grace period.
    server.clock.wait_for_sleepers(2).await;
    while TcpStream::connect(server.address).await.is_ok() {}
    server.clock.wait_for_sleepers(2).await;
    server.clock.advance(Duration::from_secs(1));
    server.served.await.unwrap();
}

#[tokio::test]
async fn request_beyond_grace_is_cut_but_handler_finishes() {
    for http2 in [false, true] {
        let (mut starts, permits, handler) = held();
        let server = Running::start(handler).await;
        let response = send_in_flight(&server, &mut starts, http2).await;
        server.stop.send(()).unwrap();
        // The grace period begins when the listener is closed.
        while TcpStream::connect(server.address).await.is_ok() {}
        assert!(!server.served.is_finished(), "the server stopped before the grace period ended");
        server.clock.advance(SHUTDOWN_GRACE);
        server.served.await.unwrap();

        // The handler continues, as after a disconnect of the client.
        permits.add_permits(1);
        server.router.close();
        server.router.drained().await;
        assert!(
            response.await.unwrap().is_err(),
            "the request was answered after the grace period"
        );
    }
}

/// The number of starts and ends of the handler, for each event.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<HashMap<String, (u32, u32)>>>);

impl Ledger {
    /// Returns how often the handler started and ended with the event.
    fn counts(&self, id: &str) -> (u32, u32) {
        self.0.lock().expect("the lock is not poisoned").get(id).copied().unwrap_or_default()
    }

    fn handler(&self) -> impl IntoHandler<(Event,)> + use<> {
        let ledger = self.clone();
        move |event: Event| {
            let ledger = ledger.clone();
            async move {
                let update = |change: fn(&mut (u32, u32))| {
                    let mut events = ledger.0.lock().expect("the lock is not poisoned");
                    change(events.entry(event.id().to_owned()).or_default());
                };
                update(|(started, _)| *started += 1);
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                update(|(_, ended)| *ended += 1);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_under_load_finishes_accepted_events() {
    let ledger = Ledger::default();
    let server = Running::start(ledger.handler()).await;
    let (answer, mut answers) = mpsc::unbounded_channel();
    // Each sender continues until it cannot connect any more, so that requests arrive during the
    // shutdown.
    let senders: Vec<_> = (0..16)
        .map(|sender| {
            let bodies =
                (0..).map(move |number| (format!("evt_{sender}_{number}"), "invoice.paid"));
            let (url, answer) = (server.url(), answer.clone());
            tokio::spawn(async move {
                let client = client(sender % 4 == 0);
                for (id, event_type) in bodies {
                    let request = signed(&url, payload_with_id(&id, event_type));
                    let Ok(response) = client.request(request).await else { return id };
                    answer.send((id, response.status())).expect("the test receives answers");
                }
                unreachable!("the range is endless")
            })
        })
        .collect();
    drop(answer);
    let mut statuses = Vec::new();
    for _ in 0..200 {
        statuses.push(answers.recv().await.expect("the senders are still running"));
    }
    server.stop().await;
    let mut cut_off = Vec::new();
    for sender in senders {
        cut_off.push(sender.await.unwrap());
    }
    while let Some(answer) = answers.recv().await {
        statuses.push(answer);
    }
    for (id, status) in &statuses {
        let expected = if *status == StatusCode::OK { (1, 1) } else { (0, 0) };
        assert_eq!(ledger.counts(id), expected, "{id} was answered with {status}");
        assert!(status.is_success() || status.is_server_error(), "{id}: {status}");
    }
    // An event without an answer was either not started or finished.
    for id in &cut_off {
        let (started, ended) = ledger.counts(id);
        assert_eq!(started, ended, "{id}");
    }
    let known = ledger.0.lock().unwrap().len();
    assert!(known <= statuses.len() + cut_off.len());
}
