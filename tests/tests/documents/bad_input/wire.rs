//! A server, and a client that sends arbitrary bytes to it.

use std::{sync::atomic::Ordering, time::Duration};

use router_core::{Endpoint, Router, server::Server, testing::ManualClock};
use router_tests::now;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use super::{
    endpoints::CALLS,
    row::{Answer, Input, message, record_level, worst_level},
};

const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct Wire {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
    pub(crate) endpoint: fn() -> Endpoint<Router>,
}

/// The client's next step after it has sent all bytes.
pub(crate) enum Then {
    ReadAnswer,
    /// Shuts down the client's write half and reads the answer.
    CloseWriteHalf,
    /// Sends nothing more until the body timeout has expired.
    WaitForBodyTimeout,
    /// Sends nothing more until the timeout of the first head has expired.
    WaitForHeadTimeout,
    Disconnect,
}

impl From<Wire> for Input {
    fn from(wire: Wire) -> Self {
        Self::Wire(wire)
    }
}

impl Wire {
    pub(crate) async fn send(self) -> Answer {
        let body_clock = ManualClock::at(now());
        let clock = ManualClock::at(now());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let (stop, stopped) = oneshot::channel();
        let server = Server::new((self.endpoint)().clock(body_clock.clone())).clock(clock.clone());
        let serving = tokio::spawn(server.serve(listener, async {
            stopped.await.expect("the test stops the server");
        }));
        record_level();
        let calls_before = CALLS.load(Ordering::Relaxed);

        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        let (mut reader, mut writer) = stream.split();
        let mut received = Vec::new();
        let send = async {
            // This may fail: a server that refuses a request need not read the rest of it.
            drop(writer.write_all(&self.bytes).await);
            match self.then {
                Then::ReadAnswer | Then::Disconnect => {}
                Then::CloseWriteHalf => drop(writer.shutdown().await),
                Then::WaitForBodyTimeout => {
                    body_clock.wait_for_sleeper().await;
                    body_clock.advance(BODY_TIMEOUT);
                }
                Then::WaitForHeadTimeout => {
                    clock.wait_for_sleeper().await;
                    clock.advance(HEAD_TIMEOUT);
                }
            }
        };
        if let Then::Disconnect = self.then {
            send.await;
            // The timeout of the head starts once the server has accepted the connection.
            clock.wait_for_sleeper().await;
            drop(stream);
        } else {
            // Reads until the server closes or resets the connection.
            let (_, read) = tokio::join!(send, reader.read_to_end(&mut received));
            drop(read);
        }
        // The graceful shutdown waits for the connection to end.
        stop.send(()).expect("the server is running");
        serving.await.expect("the server does not panic");

        let answer = parse(&received);
        let calls = CALLS.load(Ordering::Relaxed) - calls_before;
        assert_eq!(calls, usize::from(answer.message == "done"), "{answer:?}");
        answer
    }
}

/// Parses the first response.
fn parse(received: &[u8]) -> Answer {
    let received = std::str::from_utf8(received).expect("responses are UTF-8");
    let (head, rest) = received.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize =
        length.map_or(0, |length| length.parse().expect("`content-length` is a number"));
    let body = &rest[..length];
    Answer {
        status: status.map(|status| status.parse().expect("a status is a number")),
        message: if body.is_empty() { String::new() } else { message(body) },
        log_level: worst_level(),
        reason: String::new(),
    }
}
