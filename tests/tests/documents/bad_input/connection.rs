//! Bytes that a client sends to a server over TCP.

use router_tests::{payload, signature};
use tracing::Level;

use super::{
    endpoints::{shop, without_body_budget},
    row::{Group, Row, row},
    wire::{Then, Wire},
};

pub(crate) fn group() -> Group {
    Group {
        title: "Connection and HTTP",
        file: "tests/tests/documents/bad_input/connection.rs",
        intro: "Sent as raw bytes to `router_core::server`; another server may answer differently. \
                Bytes that are not HTTP never reach the endpoint.",
        rows: [not_http(), heads(), lengths(), chunks(), slow()].into_iter().flatten().collect(),
    }
}

/// Returns the head of a request with a signed event, including the given header lines.
fn head(lines: &str) -> String {
    let signature = signature(payload("invoice.paid").as_bytes());
    format!(
        "POST /webhook HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\
         Stripe-Signature: {signature}\r\n{lines}\r\n"
    )
}

/// Returns a request with a signed event, including the given header lines.
fn event(lines: &str) -> String {
    head(lines) + &payload("invoice.paid")
}

fn body_length() -> usize {
    payload("invoice.paid").len()
}

fn wire(
    name: &'static str,
    description: &'static str,
    bytes: impl Into<Vec<u8>>,
    then: Then,
) -> Row {
    row(name, description, Wire { bytes: bytes.into(), then, endpoint: shop })
}

fn sent(name: &'static str, description: &'static str, bytes: impl Into<Vec<u8>>) -> Row {
    wire(name, description, bytes, Then::ReadAnswer)
}

fn not_http() -> Vec<Row> {
    let hello = b"\x16\x03\x01\x00\x2e\x01\x00\x00\x2a\x03\x03 a client hello, cut short \r\n\r\n";
    vec![
        sent("tls", "a TLS handshake", hello)
            .answer(400, "")
            .note("the server does not terminate TLS; put a proxy in front of it"),
        sent("ssh", "`SSH-2.0-…`", "SSH-2.0-Go\r\n").answer(400, "").note("a scanner"),
        sent("redis", "a Redis command", "*1\r\n$4\r\nPING\r\n").answer(400, "").note("a scanner"),
        sent(
            "proxy_protocol",
            "`PROXY TCP4 …` before the request",
            format!("PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n{}", event("")),
        )
        .answer(400, "")
        .note("switch off the load balancer's PROXY protocol"),
        sent("http_0_9", "`GET /` without a version", "GET /\r\n\r\n")
            .answer(400, "")
            .note("HTTP/0.9 is not supported"),
        sent("http_9_9", "HTTP/9.9", "POST /webhook HTTP/9.9\r\n\r\n")
            .answer(400, "")
            .note("HTTP/1.0, HTTP/1.1 and HTTP/2 are supported"),
    ]
}

fn heads() -> Vec<Row> {
    let length = format!("Content-Length: {}\r\n", body_length());
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
            "a URI of 100 KB",
            format!("POST /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)),
        )
        .answer(431, ""),
    ]
}

fn lengths() -> Vec<Row> {
    let content_length = |length: &str| format!("Content-Length: {length}\r\n");
    let (exact, more) = (body_length().to_string(), (body_length() + 1).to_string());
    vec![
        sent("no_length", "a body without `Content-Length`", event(""))
            .unverified_on_the_wire()
            .note("without the header, HTTP defines the body as empty"),
        sent("length_too_small", "`Content-Length` too small", event(&content_length("10")))
            .unverified_on_the_wire(),
        wire(
            "length_too_large_for_body",
            "`Content-Length` one byte too large, then the end of the stream",
            event(&content_length(&more)),
            Then::CloseWriteHalf,
        )
        .answer(400, "body could not be read")
        .log(Level::WARN)
        .note("the bytes received are a signed event, but the body is incomplete"),
        sent("length_not_a_number", "`Content-Length: many`", event(&content_length("many")))
            .answer(400, ""),
        sent("length_negative", "`Content-Length: -1`", event(&content_length("-1")))
            .answer(400, ""),
        sent(
            "lengths_that_differ",
            "two `Content-Length` headers that differ",
            event(&(content_length(&exact) + &content_length("10"))),
        )
        .answer(400, "")
        .note("request smuggling"),
        sent(
            "length_and_chunked",
            "`Content-Length` and `Transfer-Encoding: chunked` with a body that is not chunked",
            event(&(content_length(&exact) + "Transfer-Encoding: chunked\r\n")),
        )
        .answer(400, "body could not be read")
        .log(Level::WARN)
        .note("request smuggling; `Content-Length` is then ignored"),
        wire(
            "expect_too_large",
            "`Expect: 100-continue` for 5 MiB",
            head(&(content_length("5242880") + "Expect: 100-continue\r\n")),
            Then::CloseWriteHalf,
        )
        .answer(413, "body too large")
        .log(Level::WARN)
        .note("refused before the client sends the body"),
    ]
}

fn chunks() -> Vec<Row> {
    let chunked = |chunks: &str| head("Transfer-Encoding: chunked\r\n") + chunks;
    let body = payload("invoice.paid");
    let chunk = format!("{:x}\r\n{body}\r\n", body.len());
    let refused = |row: Row| row.answer(400, "body could not be read").log(Level::WARN);
    vec![
        sent("chunked", "a chunked body", chunked(&format!("{chunk}0\r\n\r\n"))).accepted("done"),
        refused(sent(
            "chunk_size",
            "a chunk whose size is not a number",
            chunked("many\r\n{}\r\n0\r\n\r\n"),
        )),
        refused(sent(
            "chunk_too_long",
            "a chunk longer than its size",
            chunked("1\r\n{}\r\n0\r\n\r\n"),
        )),
        wire(
            "chunks_without_end",
            "no terminating empty chunk, then the end of the stream",
            chunked(&chunk),
            Then::CloseWriteHalf,
        )
        .answer(400, "body could not be read")
        .log(Level::WARN)
        .note("the bytes received are a signed event, but the body is incomplete"),
        sent("chunked_gzip", "`Transfer-Encoding: gzip`", event("Transfer-Encoding: gzip\r\n"))
            .answer(400, ""),
    ]
}

fn slow() -> Vec<Row> {
    let with_partial_body = |lines: &str| head(lines) + "{";
    vec![
        wire(
            "stalled_body",
            "a body that stalls in the middle",
            with_partial_body("Content-Length: 100\r\n"),
            Then::WaitForBodyTimeout,
        )
        .answer(408, "body read timeout")
        .log(Level::WARN)
        .note("after 10 s; `Endpoint::body_timeout` sets the limit"),
        row(
            "body_budget",
            "a body that is the oldest when unfinished bodies exceed the budget",
            Wire {
                bytes: with_partial_body("Content-Length: 100\r\n").into_bytes(),
                then: Then::ReadAnswer,
                endpoint: without_body_budget,
            },
        )
        .answer(503, "try again later")
        .log(Level::WARN)
        .note("logged once for many requests; `Endpoint::body_budget` sets the limit"),
        wire(
            "stalled_head",
            "a head that stalls in the middle",
            "POST /webhook HTTP/1.1\r\nHo",
            Then::WaitForHeadTimeout,
        )
        .note("after 10 s; `Server::head_timeout` sets the limit"),
        wire("silent", "a connection without any data", "", Then::WaitForHeadTimeout)
            .note("after 10 s; a load balancer's health check, or a scanner"),
        wire(
            "disconnected_in_body",
            "a client that disconnects in the middle of the body",
            with_partial_body("Content-Length: 100\r\n"),
            Then::Disconnect,
        )
        .log(Level::WARN)
        .note("no handler was called"),
        wire(
            "disconnected_at_once",
            "a client that connects and disconnects",
            "",
            Then::Disconnect,
        )
        .note("a load balancer's health check over TCP"),
    ]
}

impl Row {
    /// Like `unverified`, but without the reason, which is not sent to the client.
    fn unverified_on_the_wire(self) -> Self {
        self.answer(400, "signature verification failed").log(Level::WARN)
    }
}
