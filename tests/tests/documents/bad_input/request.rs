//! Requests with an unusual method, path or size.

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::Full;
use router_tests::{exchange::post, payload};
use tracing::Level;

use super::{
    endpoints::{multi_tenant, overloaded},
    row::{Group, Row, row},
};

const MIB: usize = 1024 * 1024;

pub(crate) fn group() -> Group {
    Group {
        title: "Method, path and size",
        file: "tests/tests/documents/bad_input/request.rs",
        intro: "All refusals but the last happen before the signature is verified.",
        rows: [methods(), paths(), sizes(), unavailable()].into_iter().flatten().collect(),
    }
}

fn paid() -> String {
    payload("invoice.paid")
}

fn with_method(method: &str) -> Request<Full<Bytes>> {
    let mut request = post(paid());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("method is valid in HTTP");
    request
}

fn with_uri(uri: &'static str) -> Request<Full<Bytes>> {
    let mut request = post(paid());
    *request.uri_mut() = Uri::from_static(uri);
    request
}

fn with_header(name: &'static str, value: &'static str) -> Request<Full<Bytes>> {
    let mut request = post(paid());
    request.headers_mut().insert(name, value.parse().expect("header value is valid in HTTP"));
    request
}

/// Returns an event padded with spaces to this size.
fn with_size(size: usize) -> Request<Full<Bytes>> {
    let mut body = paid().into_bytes();
    body.resize(size, b' ');
    post(body)
}

fn methods() -> Vec<Row> {
    let refused = |row: Row| {
        row.answer(405, "method not allowed").log(Level::WARN).reason("MethodNotAllowed")
    };
    vec![
        refused(row("get", "`GET`: the URL opened in a browser", with_method("GET")))
            .note("harmless; the answer has `Allow: POST`"),
        refused(row("head", "`HEAD`: an uptime probe", with_method("HEAD")))
            .note("point the probe at a path other than the webhook's"),
        refused(row("options", "`OPTIONS`: a browser's preflight", with_method("OPTIONS")))
            .note("Stripe is not a browser; CORS is not needed"),
        refused(row("put", "`PUT`, signed", with_method("PUT"))),
        refused(row("post_lower_case", "`post` in lower case", with_method("post")))
            .note("methods are case-sensitive (RFC 9110)"),
    ]
}

fn paths() -> Vec<Row> {
    vec![
        row("another_path", "a path other than `/webhook`", with_uri("/stripe/events"))
            .accepted("done")
            .note("the endpoint ignores the path; the application has to mount it at one"),
        row(
            "query",
            "a query string: `/webhook?source=stripe`",
            with_uri("/webhook?source=stripe"),
        )
        .accepted("done"),
        row(
            "unknown_tenant",
            "a path for which the `SecretProvider` has no secrets",
            with_uri("/x"),
        )
        .to(multi_tenant)
        .answer(404, "not found")
        .log(Level::WARN)
        .reason("UnknownEndpoint"),
    ]
}

fn sizes() -> Vec<Row> {
    let refused = |row: Row| row.answer(413, "body too large").log(Level::WARN).reason("TooLarge");
    vec![
        row("one_mib", "a body of exactly 1 MiB", with_size(MIB)).accepted("done"),
        refused(row("one_mib_plus_one_byte", "a body of 1 MiB plus one byte", with_size(MIB + 1)))
            .note("Stripe's events are far smaller; `Endpoint::body_limit` sets the limit"),
        refused(row(
            "length_too_large",
            "a small body with a `Content-Length` of 5 MiB",
            with_header("content-length", "5242880"),
        ))
        .note("refused before the body is read"),
        row(
            "content_type",
            "`Content-Type: application/x-www-form-urlencoded` with a JSON body",
            with_header("content-type", "application/x-www-form-urlencoded"),
        )
        .accepted("done")
        .note("the content type is ignored"),
    ]
}

/// Returns the rows in which the receiver is at fault, not the sender.
fn unavailable() -> Vec<Row> {
    vec![
        row(
            "secrets_unavailable",
            "a valid event while the `SecretProvider` fails",
            with_uri("/broken"),
        )
        .to(multi_tenant)
        .answer(503, "try again later")
        .log(Level::ERROR)
        .reason("SecretsUnavailable")
        .note("the receiver is at fault, see the log; `Retry-After` is set"),
        row(
            "no_secrets",
            "a valid event while the `SecretProvider` has an empty list of secrets",
            with_uri("/empty"),
        )
        .to(multi_tenant)
        .answer(503, "try again later")
        .log(Level::ERROR)
        .reason("SecretsUnavailable")
        .note("the receiver is at fault, see the log; `Retry-After` is set"),
        row(
            "overloaded",
            "a valid event while the service behind the endpoint fails",
            post(paid()),
        )
        .to(overloaded)
        .answer(503, "try again later")
        .log(Level::ERROR)
        .reason("Unavailable")
        .note("the receiver is at fault, see the log; `Retry-After` is set"),
    ]
}
