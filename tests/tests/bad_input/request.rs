//! Method, address and size.

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::Full;
use router_tests::payload;
use tracing::Level;

use crate::{
    endpoints::{of_tenants, overloaded},
    exchange::post,
    row::{Group, Row, row},
};

const MIB: usize = 1024 * 1024;

pub(crate) fn group() -> Group {
    Group {
        title: "Method, address and size",
        file: "tests/tests/bad_input/request.rs",
        intro: "Decided before the signature is looked at.",
        rows: [methods(), addresses(), sizes(), ours()].into_iter().flatten().collect(),
    }
}

fn paid() -> String {
    payload("invoice.paid")
}

fn with_method(method: &str) -> Request<Full<Bytes>> {
    let mut request = post(paid());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("it can be a method");
    request
}

fn at(uri: &'static str) -> Request<Full<Bytes>> {
    let mut request = post(paid());
    *request.uri_mut() = Uri::from_static(uri);
    request
}

fn with(name: &'static str, value: &'static str) -> Request<Full<Bytes>> {
    let mut request = post(paid());
    request.headers_mut().insert(name, value.parse().expect("it can be a header"));
    request
}

/// The event, and spaces up to this size.
fn of_size(size: usize) -> Request<Full<Bytes>> {
    let mut body = paid().into_bytes();
    body.resize(size, b' ');
    post(body)
}

fn methods() -> Vec<Row> {
    let refused = |row: Row| {
        row.answer(405, "method not allowed").log(Level::WARN).reason("MethodNotAllowed")
    };
    vec![
        refused(row("get", "`GET`: the address opened in a browser", with_method("GET")))
            .note("`Allow: POST` says what is; nothing is wrong"),
        refused(row("head", "`HEAD`: an uptime probe", with_method("HEAD")))
            .note("let the probe ask for something else than the webhook"),
        refused(row("options", "`OPTIONS`: a browser's preflight", with_method("OPTIONS")))
            .note("Stripe is no browser: no CORS is needed"),
        refused(row("put", "`PUT`, signed", with_method("PUT"))),
        refused(row("post_in_lower_case", "`post` in lower case", with_method("post")))
            .note("methods are case-sensitive (RFC 9110)"),
    ]
}

fn addresses() -> Vec<Row> {
    vec![
        row("another_path", "another path than `/webhook`", at("/stripe/events"))
            .accepted("done")
            .note("which path it is for the server to say: mount the endpoint at one"),
        row("query", "a query string: `/webhook?source=stripe`", at("/webhook?source=stripe"))
            .accepted("done"),
        row("unknown_tenant", "a path for which the `SecretProvider` knows no endpoint", at("/x"))
            .to(of_tenants)
            .answer(404, "not found")
            .log(Level::WARN)
            .reason("NoEndpoint"),
    ]
}

fn sizes() -> Vec<Row> {
    let refused = |row: Row| row.answer(413, "body too large").log(Level::WARN).reason("TooLarge");
    vec![
        row("one_mib", "a body of exactly 1 MiB", of_size(MIB)).accepted("done"),
        refused(row("one_mib_and_a_byte", "a body of 1 MiB and one byte", of_size(MIB + 1)))
            .note("Stripe's events are far smaller; `Endpoint::body_limit` raises it"),
        refused(row(
            "length_too_large",
            "a small body whose `Content-Length` says 5 MiB",
            with("content-length", "5242880"),
        ))
        .note("refused before the body is read"),
        row(
            "content_type",
            "`Content-Type: application/x-www-form-urlencoded` over JSON",
            with("content-type", "application/x-www-form-urlencoded"),
        )
        .accepted("done")
        .note("only the bytes count"),
    ]
}

/// The sender did nothing wrong.
fn ours() -> Vec<Row> {
    vec![
        row("secrets_out_of_reach", "a good event while the `SecretProvider` fails", at("/broken"))
            .to(of_tenants)
            .answer(503, "try again later")
            .log(Level::ERROR)
            .reason("NoSecrets")
            .note("our fault: see the log; `Retry-After` is set"),
        row("overloaded", "a good event while the service behind the endpoint fails", post(paid()))
            .to(overloaded)
            .answer(503, "try again later")
            .log(Level::ERROR)
            .reason("Unavailable")
            .note("our fault: see the log; `Retry-After` is set"),
    ]
}
