//! The limits of connections: their number, idle ones, and clients that do not read.

#![expect(clippy::unwrap_used, reason = "a test panics if its setup fails")]

use std::{
    convert::Infallible,
    io::ErrorKind,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::{
    body::{Body, Frame},
    client::conn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use router_tests::payload_with_id;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};

use super::{IDLE_TIMEOUT, Running, WRITE_TIMEOUT, counting, held, read};

/// One connection of a client.
enum Client {
    Http1(conn::http1::SendRequest<Full<Bytes>>),
    Http2(conn::http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// Connects, and returns the task that runs until the connection is closed.
    async fn connect(server: &Running, http2: bool) -> (Self, JoinHandle<()>) {
        let stream = TokioIo::new(TcpStream::connect(server.address).await.unwrap());
        if http2 {
            let handshake = conn::http2::handshake(TokioExecutor::new(), stream);
            let (sender, connection) = handshake.await.unwrap();
            (Self::Http2(sender), tokio::spawn(async { drop(connection.await) }))
        } else {
            let (sender, connection) = conn::http1::handshake(stream).await.unwrap();
            (Self::Http1(sender), tokio::spawn(async { drop(connection.await) }))
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> StatusCode {
        let response = match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        };
        read(response.expect("the server answers")).await.0
    }
}

impl Running {
    fn event(&self, id: usize) -> Request<Full<Bytes>> {
        let mut request = self.post(payload_with_id(&format!("evt_{id}"), "invoice.paid"));
        request.headers_mut().insert("host", "shop".parse().unwrap());
        request
    }
}

#[tokio::test]
async fn new_connection_closes_the_longest_idle_one() {
    for http2 in [false, true] {
        let (_, handler) = counting();
        let server = Running::start_with(handler, |server| server.max_connections(3)).await;
        let mut clients = Vec::new();
        for id in 0..3 {
            let mut client = Client::connect(&server, http2).await;
            assert_eq!(client.0.send(server.event(id)).await, 200);
            server.clock.advance(Duration::from_secs(1));
            clients.push(client);
        }
        // The first connection is used again, so the second one is idle for longest.
        assert_eq!(clients[0].0.send(server.event(3)).await, 200);
        let (mut new, _) = Client::connect(&server, http2).await;
        assert_eq!(new.send(server.event(4)).await, 200);
        let (_, closed) = clients.remove(1);
        closed.await.unwrap();
        for (id, (client, _)) in clients.iter_mut().enumerate() {
            assert_eq!(client.send(server.event(5 + id)).await, 200, "HTTP/2: {http2}");
        }
        drop((clients, new));
        server.stop().await;
    }
}

#[tokio::test]
async fn new_connection_waits_for_requests_in_flight() {
    for http2 in [false, true] {
        let (mut starts, permits, handler) = held();
        let server = Running::start_with(handler, |server| server.max_connections(1)).await;
        let (mut first, closed) = Client::connect(&server, http2).await;
        let request = server.event(1);
        let first = tokio::spawn(async move { first.send(request).await });
        starts.recv().await.unwrap();
        let (mut second, _) = Client::connect(&server, http2).await;
        let request = server.event(2);
        let second = tokio::spawn(async move { second.send(request).await });
        // The second connection is not served, although its client has sent a request.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(starts.try_recv().is_err());

        permits.add_permits(2);
        assert_eq!(first.await.unwrap(), 200);
        assert_eq!(second.await.unwrap(), 200, "HTTP/2: {http2}");
        closed.await.unwrap();
        server.stop().await;
    }
}

/// A body of which nothing arrives.
struct StalledBody;

impl Body for StalledBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn new_connection_closes_a_busy_one_without_events() {
    new_connection_spares_sender_of(|server| server.event(2), 200).await;
}

/// During an outage, Stripe's connections must not look like an attacker's.
#[tokio::test]
async fn new_connection_spares_sender_of_a_refused_authentic_request() {
    new_connection_spares_sender_of(|server| server.post("[]"), 400).await;
}

/// Opens a connection beyond the maximum. Checks that it closes the connection of an attacker, and
/// not the one on which this request was answered with this status.
async fn new_connection_spares_sender_of(
    authentic: impl FnOnce(&Running) -> Request<Full<Bytes>>,
    status: u16,
) {
    let (mut starts, permits, handler) = held();
    let server = Running::start_with(handler, |server| server.max_connections(2)).await;
    // A proxy opens its connection first, so only its events make it more recent than the attacker.
    let (mut proxy, _) = Client::connect(&server, true).await;
    permits.add_permits(1);
    assert_eq!(proxy.send(server.event(1)).await, 200);
    starts.recv().await.unwrap();
    server.clock.advance(Duration::from_secs(1));
    let stream = TokioIo::new(TcpStream::connect(server.address).await.unwrap());
    let handshake = conn::http2::handshake(TokioExecutor::new(), stream).await;
    let (mut attacker, connection) = handshake.unwrap();
    let attack_ended = tokio::spawn(connection);
    // The attacker always has a request in flight, which ends at the body timeout.
    let stall = |attacker: &mut conn::http2::SendRequest<StalledBody>| {
        tokio::spawn(attacker.send_request(server.event(0).map(|_| StalledBody)))
    };
    let mut stalled = vec![stall(&mut attacker)];
    server.body_clock.wait_for_sleeper().await;
    server.clock.advance(Duration::from_secs(1));
    if status == 200 {
        permits.add_permits(1);
    }
    assert_eq!(proxy.send(authentic(&server)).await, status);
    if status == 200 {
        starts.recv().await.unwrap();
    }
    let request = server.event(3);
    let proxy = tokio::spawn(async move { (proxy.send(request).await, proxy) });
    starts.recv().await.unwrap();

    let (mut new, _) = Client::connect(&server, false).await;
    let request = server.event(4);
    let new = tokio::spawn(async move { new.send(request).await });
    let refused = loop {
        assert!(stalled.len() < 32, "the attacker's connection is not being closed");
        let next = stall(&mut attacker);
        for _ in 0..500 {
            tokio::task::yield_now().await;
        }
        if next.is_finished() {
            break next;
        }
        stalled.push(next);
    };
    assert!(refused.await.unwrap().is_err());
    assert!(starts.try_recv().is_err(), "the request in flight is not aborted");
    server.body_clock.advance(Duration::from_secs(10));
    for request in stalled {
        assert_eq!(request.await.unwrap().unwrap().status(), 408);
    }
    drop(attack_ended.await.unwrap());

    starts.recv().await.unwrap();
    permits.add_permits(3);
    assert_eq!(new.await.unwrap(), 200);
    let (status, mut proxy) = proxy.await.unwrap();
    assert_eq!(status, 200);
    assert_eq!(proxy.send(server.event(5)).await, 200, "the proxy's connection stays open");
    server.stop().await;
}

#[tokio::test]
async fn idle_connection_is_closed() {
    for http2 in [false, true] {
        let (_, handler) = counting();
        let server = Running::start(handler).await;
        // The HTTP/2 client answers pings.
        let (mut client, closed) = Client::connect(&server, http2).await;
        for id in 0..3 {
            assert_eq!(client.send(server.event(id)).await, 200);
            server.clock.advance(IDLE_TIMEOUT - Duration::from_secs(1));
            assert!(!closed.is_finished());
        }
        server.clock.wait_for_sleeper().await;
        server.clock.advance(Duration::from_secs(1));
        closed.await.unwrap();
        server.stop().await;
    }
}

/// Connects with a small receive buffer. The server is thus blocked soon if the client does not read.
async fn connect_without_reading(server: &Running) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(server.address).await.unwrap()
}

/// Returns an HTTP/2 frame with `HEAD /` on this stream.
fn head_request(stream_id: u32) -> Vec<u8> {
    // Literal `:method`, then `:scheme: http` and `:path: /` of the static table.
    let headers = b"\x02\x04HEAD\x86\x84";
    let mut frame = vec![0, 0, headers.len() as u8, 1, 0b101];
    frame.extend(stream_id.to_be_bytes());
    frame.extend(headers);
    frame
}

#[tokio::test]
async fn client_that_does_not_read_is_disconnected() {
    let pipelined = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n".repeat(100);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for http2 in [false, true] {
        let (_, handler) = counting();
        // The connection must not end for being idle.
        let endless = Duration::from_secs(1_000_000);
        let server = Running::start_with(handler, |server| server.idle_timeout(endless)).await;
        let stream = connect_without_reading(&server).await;
        let mut stream_ids = (1..).step_by(2);
        let mut unsent = if http2 { preface.clone() } else { Vec::new() };
        let error = loop {
            if unsent.is_empty() {
                unsent = match http2 {
                    true => stream_ids.by_ref().take(30).flat_map(head_request).collect(),
                    false => pipelined.clone(),
                };
            }
            match stream.try_write(&unsent) {
                Ok(written) => drop(unsent.drain(..written)),
                // The server does not read any more, because it cannot write.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    server.clock.advance(WRITE_TIMEOUT);
                }
                Err(error) => break error.kind(),
            }
            // Ends the time in which the server discards what a client sends after an error.
            server.clock.advance(Duration::from_millis(1));
            tokio::task::yield_now().await;
        };
        let disconnected = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(disconnected.contains(&error), "{error}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusal_reaches_a_client_that_is_still_sending() {
    let (_, handler) = counting();
    let server = Running::start(handler).await;
    let head = "POST /webhook HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n";
    let request = head.to_owned() + &" ".repeat(1_000_000);
    for round in 0..50 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.expect("the server reads or discards the body");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("the server answers");
        assert!(answer.starts_with("HTTP/1.1 400 "), "round {round}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn client_that_sends_on_after_a_refusal_is_disconnected() {
    let (_, handler) = counting();
    let server = Running::start(handler).await;
    let head = "POST /webhook HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n";
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    server.clock.wait_for_sleeper().await;
    server.clock.advance(Duration::from_secs(2));
    while stream.write_all(b" ").await.is_ok() {
        tokio::task::yield_now().await;
    }
    server.stop().await;
}
