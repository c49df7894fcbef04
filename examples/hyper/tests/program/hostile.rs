//! Clients without a signing secret that try to exhaust the server's memory or connections. Each
//! test sends valid events meanwhile.

#![expect(clippy::unwrap_used, reason = "a test panics if its setup fails")]

use std::{
    convert::Infallible,
    io::{BufRead as _, Write as _},
    net::TcpStream,
    pin::Pin,
    sync::mpsc,
    task::{Context, Poll},
    thread,
    time::{Duration, UNIX_EPOCH},
};

use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::{Body, Bytes, Frame},
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use router_core::{
    SigningSecret,
    clock::{Clock as _, SystemClock},
};
use tokio::task::JoinSet;

use crate::running::{Running, payment, program, program_in, send};

const SECRET: &str = "whsec_of_the_shop";
const MIB: usize = 1024 * 1024;

/// Returns a header with a wrong signature, which can be detected only with the body.
fn forged_header() -> String {
    let now = SystemClock.wall().duration_since(UNIX_EPOCH).unwrap().as_secs();
    format!("t={now},v1={}", "0".repeat(64))
}

fn assert_event_is_accepted(server: &Running) {
    let answer = send(server.address(), &payment(&SigningSecret::new(SECRET).unwrap()));
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

async fn connect<B>(address: &str) -> SendRequest<B>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut client = http2::Builder::new(TokioExecutor::new());
    // The server's limit, so that no stream is refused before the client knows it.
    client.initial_max_send_streams(32);
    let (sender, connection) = client.handshake(TokioIo::new(stream)).await.unwrap();
    // The task also answers pings.
    tokio::spawn(connection);
    sender
}

/// A body of 1 MiB whose last byte never comes.
struct EndlessBody {
    chunks: usize,
    chunk: Bytes,
}

impl EndlessBody {
    fn new(chunk: &Bytes) -> Self {
        Self { chunks: (MIB - 1) / chunk.len(), chunk: chunk.clone() }
    }
}

impl Body for EndlessBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.chunks == 0 {
            return Poll::Pending;
        }
        self.chunks -= 1;
        Poll::Ready(Some(Ok(Frame::data(self.chunk.clone()))))
    }
}

/// Sends 500 bodies over as many HTTP/1 connections, and returns them open.
fn occupy_http1(address: &str) -> Vec<TcpStream> {
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: shop\r\nStripe-Signature: {}\r\nContent-Length: {MIB}\r\n\r\n",
        forged_header()
    );
    let body = vec![b' '; MIB - 1];
    let mut streams = Vec::new();
    for _ in 0..500 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        // Fails if the server has refused the request.
        drop(stream.write_all(&body));
        streams.push(stream);
    }
    streams
}

/// Sends 200 bodies over each of 5 HTTP/2 connections, and returns the tasks that send them.
async fn occupy_http2(address: &str) -> (Vec<SendRequest<EndlessBody>>, JoinSet<()>) {
    let chunk = Bytes::from(vec![b' '; 16 * 1024 - 1]);
    let mut requests = JoinSet::new();
    let mut senders = Vec::new();
    for _ in 0..5 {
        let mut sender = connect(address).await;
        for _ in 0..200 {
            let request = Request::post(format!("http://{address}/webhook"))
                .header("stripe-signature", forged_header())
                .body(EndlessBody::new(&chunk))
                .unwrap();
            // The client waits for a free stream.
            let mut sender = sender.clone();
            requests.spawn(async move {
                if sender.ready().await.is_ok() {
                    drop(sender.send_request(request).await);
                }
            });
        }
        sender.ready().await.unwrap();
        senders.push(sender);
    }
    (senders, requests)
}

/// A server under attack.
struct Attacked {
    server: Running,
    memory_before: u64,
    /// Receives the warning that the budget for bodies is exhausted.
    exhausted: mpsc::Receiver<()>,
}

impl Attacked {
    fn start() -> Self {
        let mut server = Running::start(program().env("STRIPE_WEBHOOK_SECRET", SECRET));
        let log = server.take_log();
        let (sender, exhausted) = mpsc::channel();
        thread::spawn(move || {
            let lines = log.lines().map_while(Result::ok);
            for _ in
                lines.filter(|line| line.contains("unfinished bodies take up the whole budget"))
            {
                let _ignored = sender.send(());
            }
        });
        assert_event_is_accepted(&server);
        let memory_before = server.peak_memory_mib();
        Self { server, memory_before, exhausted }
    }

    /// Waits until the attack has exhausted the budget for bodies, and has continued for a while.
    /// Asserts that it took at most twice the budget, plus the buffers of the connections.
    fn assert_memory_is_bounded(&self) {
        self.exhausted.recv_timeout(Duration::from_secs(60)).expect("the attack is strong enough");
        for _ in 0..50 {
            assert_event_is_accepted(&self.server);
        }
        let (before, peak) = (self.memory_before, self.server.peak_memory_mib());
        println!("peak of memory: {peak} MiB, before the attack {before} MiB");
        assert!(peak - before < 200, "{peak} MiB");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unverified_http1_bodies_take_bounded_memory() {
    let attacked = Attacked::start();
    let address = attacked.server.address().to_owned();
    let attack = thread::spawn(move || occupy_http1(&address));
    while !attack.is_finished() {
        assert_event_is_accepted(&attacked.server);
    }
    let streams = attack.join().unwrap();
    attacked.assert_memory_is_bounded();
    drop(streams);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unverified_http2_bodies_take_bounded_memory() {
    let attacked = Attacked::start();
    let attack = occupy_http2(attacked.server.address()).await;
    attacked.assert_memory_is_bounded();
    drop(attack);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_shut_events_out() {
    // For this test's own connections.
    rlimit::increase_nofile_limit(4096).unwrap();
    let mut command = program_in("off", "ulimit -n 1024 && exec \"$@\"");
    let server = Running::start(command.env("STRIPE_WEBHOOK_SECRET", SECRET));
    let address = server.address().to_owned();
    let mut idle = Vec::new();
    for _ in 0..1050 {
        let mut sender = connect::<Empty<Bytes>>(&address).await;
        let request = Request::get(format!("http://{address}/healthz")).body(Empty::new()).unwrap();
        let response = sender.send_request(request).await.expect("a new connection is served");
        assert_eq!(response.status(), 200);
        drop(response.into_body().collect().await);
        idle.push(sender);
    }
    for _ in 0..20 {
        assert_event_is_accepted(&server);
    }
    let open = idle.iter().filter(|sender| !sender.is_closed()).count();
    println!("{open} of 1050 idle connections are still open");
    assert!((1..=512).contains(&open), "{open}");
    let (status, log) = server.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.matches("serving at most 512 connections").count(), 1, "{log}");
    assert_eq!(log.matches("all connections are in use").count(), 1, "{log}");
    drop(idle);
}
