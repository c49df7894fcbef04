//! A server, and a client that is not bound to HTTP.

use std::{sync::atomic::Ordering, time::Duration};

use router_core::{server::Server, testing::ManualClock};
use router_tests::now;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::{
    endpoints::{CALLS, shop},
    log,
    row::{Answer, Sent, says},
};

const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct Wire {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
}

/// What the client does once it has sent everything.
pub(crate) enum Then {
    Listen,
    /// Closes its half, and listens.
    StopSending,
    /// Sends nothing more, until the time for a body is over.
    WaitForTheBody,
    /// Sends nothing more, until the time for a head is over.
    WaitForTheHead,
    HangUp,
}

impl From<Wire> for Sent {
    fn from(wire: Wire) -> Self {
        Self::Wire(wire)
    }
}

impl Wire {
    pub(crate) async fn answer(self) -> Answer {
        let body_clock = ManualClock::at(now());
        let clock = ManualClock::at(now());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel();
        let server = Server::new(shop().clock(body_clock.clone()))
            .header_timeout(HEADER_TIMEOUT)
            .clock(clock.clone());
        let served = tokio::spawn(server.serve(listener, async {
            stopped.await.expect("the test says when");
        }));
        log::forget();
        let calls = CALLS.load(Ordering::Relaxed);

        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let (mut reader, mut writer) = stream.split();
        let mut answer = Vec::new();
        let send = async {
            // A server that has refused a request need not read the rest of it.
            drop(writer.write_all(&self.bytes).await);
            match self.then {
                Then::Listen | Then::HangUp => {}
                Then::StopSending => drop(writer.shutdown().await),
                Then::WaitForTheBody => {
                    body_clock.wait_for_sleeper().await;
                    body_clock.advance(BODY_TIMEOUT);
                }
                Then::WaitForTheHead => {
                    clock.wait_for_sleeper().await;
                    clock.advance(HEADER_TIMEOUT);
                }
            }
        };
        if let Then::HangUp = self.then {
            send.await;
            // The server has taken the connection.
            clock.wait_for_sleeper().await;
            drop(stream);
        } else {
            // Until the server closes the connection; a reset is an end too.
            let (_, read) = tokio::join!(send, reader.read_to_end(&mut answer));
            drop(read);
        }
        // It waits until the connection is done with.
        stop.send(()).expect("it runs");
        served.await.expect("it does not panic");

        let answer = parse(&answer);
        let calls = CALLS.load(Ordering::Relaxed) - calls;
        assert_eq!(calls, usize::from(answer.says == "done"), "{answer:?}");
        answer
    }
}

/// The first response.
fn parse(answer: &[u8]) -> Answer {
    let answer = std::str::from_utf8(answer).expect("an answer is text");
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().expect("it is a length"));
    let body = &rest[..length];
    Answer {
        status: status.map(|status| status.parse().expect("it is a status")),
        says: if body.is_empty() { String::new() } else { says(body) },
        log: log::worst(),
        reason: String::new(),
    }
}
