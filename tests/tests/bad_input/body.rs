//! A good signature over what is no longer the body.

use bytes::Bytes;
use router_core::signature::SignatureError;
use router_tests::{payload, signature};
use serde_json::Value;

use crate::row::{Group, Row, name_of, post_with, row};

/// The likely causes, from the commonest on.
pub(crate) fn group() -> Group {
    Group {
        title: "Body changed on its way",
        file: "tests/tests/bad_input/body.rs",
        intro: "The header is the good one of the body that Stripe sent. The signature is over the \
                body byte for byte: let no proxy, gateway or framework layer rewrite or parse it.",
        rows: vec![
            changed("pretty", "written anew with line breaks", |body| {
                serde_json::to_string_pretty(&parsed(body)).expect("it is JSON")
            })
            .note("a layer parses the body before the endpoint does"),
            changed("keys_sorted", "written anew with its keys sorted", |body| {
                parsed(body).to_string()
            })
            .note("a layer parses the body before the endpoint does"),
            changed("byte_order_mark", "a byte order mark before it", |body| {
                format!("\u{feff}{body}")
            }),
            changed("line_break", "a line break after it", |body| format!("{body}\n")),
            changed("crlf", "its line breaks made CRLF", |body| body.replace('\n', "\r\n")),
            changed("latin_1", "its UTF-8 made Latin-1", |body| {
                body.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect::<Vec<_>>()
            }),
            changed("escaped", "its `é` written as `\\u00e9`", |body| {
                body.replace('é', "\\u00e9")
            }),
            changed("gzip", "compressed with gzip", |body| gzip(body.as_bytes()))
                .note("let the proxy pass it on as it came"),
            changed("form", "put into a form: `payload=…`", |body| format!("payload={body}")),
            changed("base64", "in Base64", |_| "eyJpZCI6ImV2dF8xIn0=")
                .note("an API gateway that hands bodies over in Base64: decode it first"),
            changed("consumed", "empty: somebody has read it already", |_| "")
                .note("a layer parses the body before the endpoint does"),
            changed("cut", "cut in the middle", |body| body[..body.len() / 2].to_owned()),
            changed("amount", "another amount", |body| body.replace("2000", "1")).note("forged"),
        ],
    }
}

fn changed<B: Into<Bytes>>(
    name: &'static str,
    input: &'static str,
    change: impl Fn(&str) -> B,
) -> Row {
    // Stripe's own bodies have line breaks.
    let sent = payload("invoice.paid").replace("usd", "é").replace(r#","data""#, ",\n\"data\"");
    let body = change(&sent).into();
    assert_ne!(body, sent, "{name} changes nothing");
    let mismatch = SignatureError::NoMatch { secrets: 1, signatures: 1, body_bytes: body.len() };
    row(name, input, post_with(signature(sent.as_bytes()), body)).unsigned(&name_of(mismatch))
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).expect("it is JSON")
}

/// A gzip stream of one block that is stored as it is. Nobody unpacks it, so its checksum is none.
fn gzip(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("it is short");
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    stream.extend(length.to_le_bytes());
    stream.extend((!length).to_le_bytes());
    stream.extend(body);
    stream.extend([0; 8]);
    stream
}
