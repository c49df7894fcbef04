//! What goes over the wire to a server, byte by byte.

use router_tests::{payload, signature};
use tracing::Level;

use crate::{
    row::{Group, Row, row},
    wire::{Then, Wire},
};

pub(crate) fn group() -> Group {
    Group {
        title: "Connection and HTTP",
        file: "tests/tests/bad_input/connection.rs",
        intro: "Sent to `router_core::server` byte by byte; another server may answer in its own \
                way. What is no HTTP never gets as far as the endpoint.",
        rows: [no_http(), heads(), lengths(), chunks(), slow()].into_iter().flatten().collect(),
    }
}

/// The head of a signed event, with these lines in it.
fn head(lines: &str) -> String {
    let signature = signature(payload("invoice.paid").as_bytes());
    format!(
        "POST /webhook HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\
         Stripe-Signature: {signature}\r\n{lines}\r\n"
    )
}

/// A signed event, with these lines in its head.
fn event(lines: &str) -> String {
    head(lines) + &payload("invoice.paid")
}

fn length() -> usize {
    payload("invoice.paid").len()
}

fn wire(name: &'static str, input: &'static str, bytes: impl Into<Vec<u8>>, then: Then) -> Row {
    row(name, input, Wire { bytes: bytes.into(), then })
}

fn sent(name: &'static str, input: &'static str, bytes: impl Into<Vec<u8>>) -> Row {
    wire(name, input, bytes, Then::Listen)
}

fn no_http() -> Vec<Row> {
    let hello = b"\x16\x03\x01\x00\x2e\x01\x00\x00\x2a\x03\x03 a client hello, cut short \r\n\r\n";
    vec![
        sent("tls", "a TLS handshake", hello)
            .answer(400, "")
            .note("the server speaks no TLS: put a proxy in front of it"),
        sent("ssh", "`SSH-2.0-…`", "SSH-2.0-Go\r\n").answer(400, "").note("a scanner"),
        sent("redis", "a command for Redis", "*1\r\n$4\r\nPING\r\n")
            .answer(400, "")
            .note("a scanner"),
        sent(
            "proxy_protocol",
            "`PROXY TCP4 …` before the request",
            format!("PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n{}", event("")),
        )
        .answer(400, "")
        .note("switch the load balancer's PROXY protocol off"),
        sent("http_0_9", "`GET /` without a version", "GET /\r\n\r\n")
            .answer(400, "")
            .note("HTTP/0.9 is not served"),
        sent("http_9_9", "HTTP/9.9", "POST /webhook HTTP/9.9\r\n\r\n")
            .answer(400, "")
            .note("HTTP/1.0, HTTP/1.1 and HTTP/2 are served"),
    ]
}

fn heads() -> Vec<Row> {
    let length = format!("Content-Length: {}\r\n", length());
    let many = |count: usize| "X-Filler: x\r\n".repeat(count);
    vec![
        sent("http_1_0", "HTTP/1.0", event(&length).replace("HTTP/1.1", "HTTP/1.0"))
            .accepted("done"),
        sent("no_host", "no `Host`", event(&length).replace("Host: shop\r\n", "")).accepted("done"),
        sent(
            "header_without_colon",
            "a header line without a colon",
            event(&format!("X-Broken\r\n{length}")),
        )
        .answer(400, ""),
        sent("head_too_many", "200 header lines", event(&(many(200) + &length))).answer(431, ""),
        sent(
            "head_too_large",
            "a header of 1 MiB",
            event(&format!("Cookie: {}\r\n{length}", "x".repeat(1 << 20))),
        )
        .answer(431, ""),
        sent(
            "uri_too_long",
            "an address of 100 KB",
            format!("POST /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)),
        )
        .answer(414, ""),
    ]
}

fn lengths() -> Vec<Row> {
    let of = |length: &str| format!("Content-Length: {length}\r\n");
    let (exact, more) = (length().to_string(), (length() + 1).to_string());
    vec![
        sent("no_length", "a body without `Content-Length`", event(""))
            .unsigned_on_the_wire()
            .note("HTTP takes it for an empty body"),
        sent("length_too_small", "`Content-Length` too small", event(&of("10")))
            .unsigned_on_the_wire(),
        wire(
            "length_too_large_for_the_body",
            "`Content-Length` a byte too large, and then the end",
            event(&of(&more)),
            Then::StopSending,
        )
        .answer(400, "body could not be read")
        .log(Level::WARN)
        .note("what came is signed and an event, and yet not the whole"),
        sent("length_not_a_number", "`Content-Length: many`", event(&of("many"))).answer(400, ""),
        sent("length_negative", "`Content-Length: -1`", event(&of("-1"))).answer(400, ""),
        sent(
            "lengths_that_differ",
            "two `Content-Length` that differ",
            event(&(of(&exact) + &of("10"))),
        )
        .answer(400, "")
        .note("request smuggling"),
        sent(
            "length_and_chunked",
            "`Content-Length` and `Transfer-Encoding: chunked`, over a body that is not chunked",
            event(&(of(&exact) + "Transfer-Encoding: chunked\r\n")),
        )
        .answer(400, "body could not be read")
        .log(Level::WARN)
        .note("request smuggling; the length is then not looked at"),
        wire(
            "expect_too_large",
            "`Expect: 100-continue` for 5 MiB",
            head(&(of("5242880") + "Expect: 100-continue\r\n")),
            Then::StopSending,
        )
        .answer(413, "body too large")
        .log(Level::WARN)
        .note("refused before it is sent"),
    ]
}

fn chunks() -> Vec<Row> {
    let chunked = |chunks: &str| head("Transfer-Encoding: chunked\r\n") + chunks;
    let body = payload("invoice.paid");
    let whole = format!("{:x}\r\n{body}\r\n", body.len());
    let refused = |row: Row| row.answer(400, "body could not be read").log(Level::WARN);
    vec![
        sent("chunked", "a chunked body", chunked(&format!("{whole}0\r\n\r\n"))).accepted("done"),
        refused(sent(
            "chunk_size",
            "a chunk whose size is no number",
            chunked("many\r\n{}\r\n0\r\n\r\n"),
        )),
        refused(sent(
            "chunk_too_long",
            "a chunk longer than its size",
            chunked("1\r\n{}\r\n0\r\n\r\n"),
        )),
        wire(
            "chunks_without_an_end",
            "every chunk but the last, empty one, and then the end",
            chunked(&whole),
            Then::StopSending,
        )
        .answer(400, "body could not be read")
        .log(Level::WARN)
        .note("what came is signed and an event, and yet not the whole"),
        sent("chunked_gzip", "`Transfer-Encoding: gzip`", event("Transfer-Encoding: gzip\r\n"))
            .answer(400, ""),
    ]
}

fn slow() -> Vec<Row> {
    let half = |lines: &str| head(lines) + "{";
    vec![
        wire(
            "stalled_body",
            "a body that stops in the middle",
            half("Content-Length: 100\r\n"),
            Then::WaitForTheBody,
        )
        .answer(408, "body read timeout")
        .log(Level::WARN)
        .note("after 10 s; `Endpoint::body_timeout` sets the limit"),
        wire(
            "stalled_head",
            "a head that stops in the middle",
            "POST /webhook HTTP/1.1\r\nHo",
            Then::WaitForTheHead,
        )
        .note("after 75 s; `Server::header_timeout` sets the limit"),
        wire("silent", "a connection, and not a word", "", Then::WaitForTheHead)
            .note("after 75 s; a load balancer's health check, or a scanner"),
        wire(
            "hung_up",
            "a client that hangs up in its body",
            half("Content-Length: 100\r\n"),
            Then::HangUp,
        )
        .log(Level::WARN)
        .note("no handler has begun"),
        wire("hung_up_at_once", "a client that connects and hangs up", "", Then::HangUp)
            .note("a load balancer's health check over TCP"),
    ]
}

impl Row {
    fn unsigned_on_the_wire(self) -> Self {
        self.answer(400, "signature verification failed").log(Level::WARN)
    }
}
