//! Shutdown by signals, with unfinished requests and an inbox.

#![expect(clippy::unwrap_used, reason = "a test panics if its setup fails")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::ChildStderr,
    time::{Duration, UNIX_EPOCH},
};

use router_core::{
    SigningSecret,
    clock::{Clock as _, SystemClock},
    signature::sign,
};

use crate::{
    inbox::{SECRET, url},
    running::{Running, exchange, payment, program, program_with},
};

fn secret() -> SigningSecret {
    SigningSecret::new(SECRET).unwrap()
}

/// Connects and sends the text. Returns once the server has accepted the connection.
fn send_partial(server: &Running, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    // Connections are accepted in order.
    assert!(exchange(server.address(), "GET /healthz").starts_with("HTTP/1.1 200 OK"));
    stream
}

/// Returns a request whose body is one byte short.
fn stalled_request() -> String {
    let now = SystemClock.wall().duration_since(UNIX_EPOCH).unwrap().as_secs();
    format!(
        "POST /webhook HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nStripe-Signature: {}\r\n\
         Content-Length: 2\r\n\r\n{{",
        sign(&secret(), now, b"{}")
    )
}

/// Reads the log until a line contains the text.
fn read_log_until(log: &mut BufReader<ChildStderr>, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "the log ended without {text:?}");
    }
}

fn read_rest(mut log: BufReader<ChildStderr>) -> String {
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    rest
}

#[test]
fn half_sent_head_does_not_delay_shutdown() {
    let server = Running::start(&mut program());
    let _stream = send_partial(&server, "POST /webhook HTTP/1.1\r\nHo");
    let started = SystemClock.monotonic();
    let (status, log) = server.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("no request is in flight any more"), "{log}");
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    // Far less than the grace period.
    assert!(SystemClock.monotonic() - started < Duration::from_secs(10), "{log}");
}

#[test]
fn second_signal_ends_process_at_once() {
    let mut server = Running::start(program().env("STRIPE_WEBHOOK_SECRET", SECRET));
    let _stream = send_partial(&server, &stalled_request());
    let mut log = server.take_log();
    server.send_sigterm();
    read_log_until(&mut log, "shutting down connections=1 requests=1");
    server.send_sigterm();
    let rest = read_rest(log);
    assert!(rest.contains("received SIGTERM during the shutdown; exiting at once"), "{rest}");
    assert_eq!(server.wait().code(), Some(143), "{rest}");
}

#[test]
fn worker_claims_nothing_after_the_signal() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = program_with(&url(folder.path()));
        Running::start(command.env("STRIPE_WEBHOOK_SECRET", SECRET))
    };
    let mut server = start();
    let request = payment(&secret());
    let (begin, end) = request.split_at(request.len() - 1);
    let mut event = send_partial(&server, begin);
    let mut stalled = send_partial(&server, &stalled_request());
    let mut log = server.take_log();
    server.send_sigterm();
    read_log_until(&mut log, "shutting down");

    // The event is stored while the server waits for the other request.
    event.write_all(end.as_bytes()).unwrap();
    let mut answer = String::new();
    event.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    stalled.write_all(b"}").unwrap();
    answer.clear();
    stalled.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let rest = read_rest(log);
    assert_eq!(server.wait().code(), Some(0), "{rest}");
    assert!(!rest.contains("payment succeeded"), "{rest}");

    let mut server = start();
    read_log_until(&mut server.take_log(), "payment succeeded");
}
