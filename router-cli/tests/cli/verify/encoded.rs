//! `verify` with a body that a server, a proxy or a log has wrapped or encoded.

use std::io::Write as _;

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use serde_json::{Value, json};

use super::{diagnose, header, pair, summary, verify};

/// A body with an apostrophe, non-ASCII text, `+`, `&`, `=` and `%`.
fn body() -> String {
    let event = router_core::testing::SyntheticEvent::new("charge.refunded").id("evt_1");
    let event = event.set("description", "It's Käse / 1+1=2 & 100 %");
    event.build().expect("the event is valid").event().payload_text().to_owned()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("a Vec accepts all bytes")
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("a Vec accepts all bytes")
}

fn lambda_event(body: &str, is_encoded: bool) -> String {
    let event = json!({
        "version": "2.0",
        "routeKey": "POST /webhook",
        "headers": {"content-type": "application/json; charset=utf-8", "host": "example.com"},
        "requestContext": {"accountId": "111122223333", "http": {"method": "POST"}},
        "body": body,
        "isBase64Encoded": is_encoded,
    });
    event.to_string()
}

fn escape_javascript(text: &str) -> String {
    let escaped = serde_json::to_string(text).expect("text is valid JSON");
    escaped[1..escaped.len() - 1].replace('\'', r"\'").replace('/', r"\/")
}

fn percent_encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Returns each form of a body, its description, and a line of its remedy.
fn encoded(body: &str) -> Vec<(Vec<u8>, &'static str, &'static str)> {
    const LAMBDA: &str =
        "it was put into the field `body` of a Lambda event (from API Gateway, for example)";
    const BASE64_IN_LAMBDA: &str = "it was encoded in base64, and it was put into the field `body` of a Lambda event (from API Gateway, for example)";
    let bytes = body.as_bytes();
    let base64 = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    let parsed: Value = body.parse().expect("the body is JSON");
    let indexed: serde_json::Map<_, _> =
        (0..).zip(bytes).map(|(index, byte)| (format!("{index}"), json!(byte))).collect();
    let latin1: Vec<u8> = body.chars().map(|c| u8::try_from(c).expect("Latin-1")).collect();
    let html = body.replace('&', "&amp;").replace('"', "&quot;").replace('\'', "&#39;");
    let python = escape_javascript(body).replace(r#"\""#, "\"").replace(r"\/", "/");
    let python = format!("b'{}'", python.replace('ä', r"\xc3\xa4"));
    let template = format!(r#"{{"rawBody": "{}", "stage": "prod"}}"#, escape_javascript(body));
    let multi_line_base64 =
        base64(bytes).as_bytes().chunks(76).collect::<Vec<_>>().join(&b"\r\n"[..]);
    vec![
        (lambda_event(body, false).into(), LAMBDA, "Buffer.from(event.body, event.isBase64Encoded"),
        (
            lambda_event(&base64(bytes), true).into(),
            BASE64_IN_LAMBDA,
            "Buffer.from(event.body, event.isBase64Encoded",
        ),
        (
            lambda_event(&base64(&gzip(bytes)), true).into(),
            "it was compressed with gzip, it was encoded in base64, and it was put into the field `body` of a Lambda event (from API Gateway, for example)",
            "Stripe sends its requests uncompressed",
        ),
        (
            json!({"Records": [{"messageId": "1", "body": body}]}).to_string().into(),
            "it was put into the field `Records[0].body` of another JSON document",
            "Verify only the text of this field",
        ),
        (
            json!({"detail-type": "webhook", "detail": parsed}).to_string().into(),
            "it was parsed and serialized again (Stripe signed it indented by two spaces, with the fields in Stripe's order), and it was put into the field `detail` of another JSON document",
            "Verify only the text of this field",
        ),
        (base64(bytes).into(), "it was encoded in base64", "Decode the base64"),
        (multi_line_base64, "it was encoded in base64", "Decode the base64"),
        (
            BASE64_URL_SAFE_NO_PAD.encode(bytes).into(),
            "it was encoded in base64",
            "Decode the base64",
        ),
        (
            body.replace('\'', r"\'").into(),
            r"a template wrote `\'` for each apostrophe",
            "$input.body without $util.escapeJavaScript",
        ),
        (
            escape_javascript(body).into(),
            r#"its text was escaped, as in `{\"id\":`"#,
            "$input.body without $util.escapeJavaScript",
        ),
        (
            template.into(),
            r"it was put into the field `rawBody` of another JSON document, and a template wrote `\'` for each apostrophe",
            "$input.body without $util.escapeJavaScript",
        ),
        (gzip(bytes), "it was compressed with gzip", "RequestDecompressionLayer"),
        (zlib(bytes), "it was compressed with zlib (`deflate`)", "RequestDecompressionLayer"),
        (
            format!("payload={}", percent_encode(body)).into(),
            "it was encoded as a form",
            "express.raw({type: 'application/json'}) before express.urlencoded()",
        ),
        (percent_encode(body).into(), "it was encoded as a form", "file_get_contents"),
        (
            format!("{}=", percent_encode(body).replace('+', "%20")).into(),
            "it was encoded as a form",
            "file_get_contents",
        ),
        (
            json!({body.split_once('=').expect("contains `=`").0: body.split_once('=').expect("contains `=`").1})
                .to_string()
                .into(),
            "it was parsed as a form",
            "express.raw({type: 'application/json'}) before express.urlencoded()",
        ),
        (
            json!({"type": "Buffer", "data": bytes}).to_string().into(),
            "its bytes were written as a JSON list of numbers",
            "Buffer.from(stored.data)",
        ),
        (
            json!(bytes).to_string().into(),
            "its bytes were written as a JSON list of numbers",
            "before JSON.stringify",
        ),
        (
            Value::from(indexed).to_string().into(),
            "its bytes were written as a JSON list of numbers",
            "before JSON.stringify",
        ),
        (
            python.into(),
            "it was converted to text by Python's `str`, as in `b'{…}'`",
            "request.body (Django)",
        ),
        (html.into(), "it was escaped for HTML", "no escaping of the body"),
        (utf16(&format!("\u{feff}{body}")), "it was converted to UTF-16", "PowerShell"),
        (utf16(body), "it was converted to UTF-16", "PowerShell"),
        (
            bytes.iter().copied().map(char::from).collect::<String>().into(),
            "its UTF-8 text was read as Latin-1",
            "body.toString('utf8')",
        ),
        (latin1, "it was converted from UTF-8 to Latin-1", "body.toString('utf8')"),
        (
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
            "it was encoded in hexadecimal digits",
            "body.toString('utf8')",
        ),
        (
            format!("POST /webhook HTTP/1.1\r\nHost: example.com\r\n\r\n{body}").into(),
            "the head of the HTTP request was left in front of it",
            "Pass only the body",
        ),
        (body.replace('\n', "").into(), "its line breaks were removed", "--data-binary @FILE"),
    ]
}

#[test]
fn altered_body_is_recognized_by_its_signature() {
    let body = body();
    for (altered, alteration, remedy) in encoded(&body) {
        let (text, cause) = diagnose(&header(&body), &altered, &[]);
        assert!(text.contains(remedy), "{remedy}: {text}");
        let expected = format!(
            "The body was altered: {alteration}. Without that, the signature is valid, signed 10 s ago."
        );
        assert_eq!(summary((text, cause)), pair(&expected, "body_touched"));
    }
}

#[test]
fn encoded_body_is_recognized_with_another_secret() {
    let body = body();
    for (altered, alteration, remedy) in encoded(&body) {
        // These two alterations leave an event, so only a signature that matches shows them.
        if ["UTF-8 text was read", "line breaks"].iter().any(|text| alteration.contains(text)) {
            let (_, cause) = diagnose(&header(&body), &altered, &["--secret", "whsec_a1b2c3"]);
            assert_eq!(cause, "mismatch", "{alteration}");
            continue;
        }
        // The signed layout is known only if the signature matches.
        let alteration = alteration.rsplit("order), and ").next().expect("a text has a last part");
        let output = verify(&header(&body), &altered, &["--secret", "whsec_a1b2c3"]);
        let expected = format!(
            "The body was altered: {alteration}. The signature does not match the original body with this secret either.\n"
        );
        assert!(output.stdout.starts_with(&expected), "{output:?}");
        let expected = [remedy, "from test mode", "the secret is of another endpoint"];
        assert!(expected.iter().all(|text| output.stdout.contains(text)), "{output:?}");
    }
}

#[test]
fn altered_body_is_reported_before_an_api_key() {
    let body = body();
    let gzip = gzip(body.as_bytes());
    let (_, cause) = diagnose(&header(&body), &gzip, &["--secret", "sk_test_a1b2c3"]);
    assert_eq!(cause, "body_touched");
}

#[test]
fn lambda_event_explains_body_field() {
    let body = body();
    let event = lambda_event(&body, false);
    insta::assert_snapshot!(diagnose(&header(&body), &event, &[]).0, @r"
    The body was altered: it was put into the field `body` of a Lambda event (from API Gateway, for example). Without that, the signature is valid, signed 10 s ago.
      Verify the text of `body`, not the whole event. If `isBase64Encoded` is true, decode it first:
        Node.js        Buffer.from(event.body, event.isBase64Encoded ? 'base64' : 'utf8')
        Python         base64.b64decode(event['body']) if event['isBase64Encoded'] else event['body']
        Rust           lambda_http decodes it: request.body()
    ");
    let other_secret = diagnose(&header(&body), &event, &["--secret", "whsec_a1b2c3"]).0;
    insta::assert_snapshot!(other_secret, @r"
    The body was altered: it was put into the field `body` of a Lambda event (from API Gateway, for example). The signature does not match the original body with this secret either.
      Verify the text of `body`, not the whole event. If `isBase64Encoded` is true, decode it first:
        Node.js        Buffer.from(event.body, event.isBase64Encoded ? 'base64' : 'utf8')
        Python         base64.b64decode(event['body']) if event['isBase64Encoded'] else event['body']
        Rust           lambda_http decodes it: request.body()
      Other JSON layouts and encodings of the body, and quotation marks, were ruled out. Possible causes:
      - the event is from test mode: is the secret that of the test-mode endpoint?
      - the secret is of another endpoint, or of `stripe listen`: each has its own; compare the first letters
      - the secret was rolled: Stripe signs with the old one for up to a day
      - header and body are from different requests: the timestamp in the header (`t=`) is signed too
      - more than the body's layout was changed: numbers, the encoding, a field
    ");
}

#[test]
fn unreadable_body_is_reported_before_secret() {
    let body = body();
    let gzip = gzip(body.as_bytes());
    let lossy_gzip = String::from_utf8_lossy(&gzip).into_owned();
    let rows: [(&[u8], &str); 17] = [
        (
            &gzip[..gzip.len() / 2],
            "it is compressed with gzip, and it has no event, was cut off or altered, or is too large",
        ),
        (
            lossy_gzip.as_bytes(),
            "it was compressed with gzip and then read as text, which has lost bytes",
        ),
        (b"\x28\xb5\x2f\xfd\x04\x58", "it was compressed with Zstandard"),
        (
            b"\x1b\x0b\x00\xf8\x25\x8a",
            "it is binary, and may be compressed (with Brotli, for example)",
        ),
        (b"[object Object]", "it is the name of a JavaScript object, because the body was parsed"),
        (
            b"<Buffer 7b 0a 20 20 22 69 64 22 3a ... 2881 more bytes>",
            "it is a Buffer as console.log prints it, with only its first bytes",
        ),
        (b"<!DOCTYPE html><html></html>", "it is HTML or XML"),
        (
            b"--x\r\nContent-Disposition: form-data; name=\"payload\"\r\n\r\n{}\r\n--x--",
            "it is a form with several parts (`multipart/form-data`)",
        ),
        (
            b"{'id': 'evt_1', 'livemode': False}",
            "it is a dictionary as Python prints it, because the body was parsed",
        ),
        (b"{\"id\"=>\"evt_1\"}", "it is a hash as Ruby prints it, because the body was parsed"),
        (b"{ id: 'evt_1' }", "it is an object as Node.js prints it, because the body was parsed"),
        (
            b"Array\n(\n    [id] => evt_1\n)",
            "it is an array as PHP prints it, because the body was parsed",
        ),
        (b"map[id:evt_1]", "it is a map as Go prints it, because the body was parsed"),
        (&body.as_bytes()[..1000], "it ends in the middle of the JSON, after 1000 bytes"),
        (b"{\"name\":\"K\xe4\x01\"}", "its text is not UTF-8"),
        (
            b"ewogICJpZCI6ICJldnRfMSIsCiAgIm9iamVjd",
            "it may be encoded in base64, and was then cut off or altered",
        ),
        (b"amount=500, paid", "the JSON is invalid (expected value at line 1 column 1)"),
    ];
    for (altered, text) in rows {
        let expected = format!("The body is not JSON, and Stripe sends JSON: {text}.");
        let diagnosis = diagnose(&header(&body), altered, &["--secret", "sk_test_a1b2c3"]);
        assert_eq!(summary(diagnosis), pair(&expected, "body_unreadable"));
    }
    let cut_off = diagnose(&header(&body), &body[..1000], &["--secret", "whsec_a1b2c3"]).0;
    insta::assert_snapshot!(cut_off, @r"
    The body is not JSON, and Stripe sends JSON: it ends in the middle of the JSON, after 1000 bytes.
      Pass the whole body. Log entries, database columns and proxies have limits that cut it off.
      The secret cannot be checked without the body that Stripe signed.
    ");
}

#[test]
fn gzip_body_above_the_limit_is_not_decompressed() {
    // Otherwise a valid body: JSON may have white space at its end.
    let large = body() + &" ".repeat(5 << 20);
    let (text, cause) = summary(diagnose(&header(&large), &gzip(large.as_bytes()), &[]));
    let expected =
        "it is compressed with gzip, and it has no event, was cut off or altered, or is too large.";
    assert!(cause == "body_unreadable" && text.ends_with(expected), "{text}");
}

#[test]
fn field_name_of_other_document_is_printed_safely() {
    let body = body();
    let document = json!({"\u{9b}31m": {"a".repeat(1000): body}}).to_string();
    let (text, _) = summary(diagnose(&header(&body), &document, &[]));
    assert!(text.contains("field `\u{fffd}31m.aaa") && text.len() < 300, "{text}");
}

#[test]
fn replacement_characters_are_a_possible_cause() {
    let lossy = body().replace('ä', "\u{fffd}");
    let (text, cause) = diagnose(&header(&body()), &lossy, &[]);
    assert_eq!(cause, "mismatch");
    assert!(text.contains("the body contains U+FFFD"), "{text}");
}
