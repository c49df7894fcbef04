//! Bodies that were changed after they were signed.

use bytes::Bytes;
use router_core::signature::SignatureError;
use router_tests::{payload, signature};
use serde_json::Value;

use super::row::{Group, Row, post_with_header, row, variant_name};

/// Returns the likely changes, the most common first.
pub(crate) fn group() -> Group {
    Group {
        title: "Body changed in transit",
        file: "tests/tests/documents/bad_input/body.rs",
        intro: "The header is valid for the body that Stripe sent. The signature covers the body \
                byte for byte, so no proxy, gateway or framework layer may rewrite or parse it.",
        rows: vec![
            changed("pretty", "pretty-printed", |body| {
                serde_json::to_string_pretty(&parsed(body)).expect("a JSON value serializes")
            })
            .note("a layer parses the body before the endpoint does"),
            changed("keys_sorted", "serialized again with sorted keys", |body| {
                parsed(body).to_string()
            })
            .note("a layer parses the body before the endpoint does"),
            changed("byte_order_mark", "a byte order mark added in front", |body| {
                format!("\u{feff}{body}")
            }),
            changed("line_break", "a line break added at the end", |body| format!("{body}\n")),
            changed("crlf", "line breaks changed to CRLF", |body| body.replace('\n', "\r\n")),
            changed("latin_1", "converted from UTF-8 to Latin-1", |body| {
                body.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect::<Vec<_>>()
            }),
            changed("escaped", "`é` escaped as `\\u00e9`", |body| body.replace('é', "\\u00e9")),
            changed("gzip", "compressed with gzip", |body| gzip(body.as_bytes()))
                .note("configure the proxy to pass the body unchanged"),
            changed("form", "wrapped in a form: `payload=…`", |body| format!("payload={body}")),
            changed("base64", "encoded in Base64", |_| "eyJpZCI6ImV2dF8xIn0=")
                .note("an API gateway passes bodies in Base64; decode them first"),
            changed("consumed", "empty, because a layer has already read it", |_| "")
                .note("a layer parses the body before the endpoint does"),
            changed("cut", "truncated in the middle", |body| body[..body.len() / 2].to_owned()),
            changed("amount", "a different amount", |body| body.replace("2000", "1"))
                .note("forged"),
        ],
    }
}

fn changed<B: Into<Bytes>>(
    name: &'static str,
    description: &'static str,
    change: impl Fn(&str) -> B,
) -> Row {
    // Like Stripe's own bodies, this one has line breaks.
    let signed = payload("invoice.paid").replace("usd", "é").replace(r#","data""#, ",\n\"data\"");
    let body = change(&signed).into();
    assert_ne!(body, signed, "{name} changes nothing");
    let mismatch = SignatureError::NoMatch {
        secrets: 1,
        signatures: 1,
        body_bytes: body.len(),
        content_encoding: None,
    };
    let request = post_with_header(signature(signed.as_bytes()), body);
    row(name, description, request).unverified(&variant_name(mismatch))
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).expect("the payload is JSON")
}

/// Returns a gzip stream of one stored block. The checksum is zero, because nothing unpacks it.
fn gzip(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("the payload fits into one block");
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    stream.extend(length.to_le_bytes());
    stream.extend((!length).to_le_bytes());
    stream.extend(body);
    stream.extend([0; 8]);
    stream
}
