//! Authentic bodies that are not JSON, or not a JSON object.

use bytes::Bytes;
use router_tests::{exchange::post, payload};

use super::row::{Group, Row, row};

pub(crate) fn group() -> Group {
    Group {
        title: "JSON",
        file: "tests/tests/documents/bad_input/json.rs",
        intro: "Correctly signed, but not by Stripe: by a sender of your own, or with a leaked \
                secret. The rows answered with 200 are valid JSON.",
        rows: [other_formats(), syntax(), depths()].into_iter().flatten().collect(),
    }
}

fn paid() -> String {
    payload("invoice.paid")
}

/// Returns an event with this value in its object, which only a handler reads.
fn with_extra(extra: &str) -> String {
    paid().replace(r#""amount":2000"#, &format!(r#""amount":2000,"extra":{extra}"#))
}

fn refused(
    name: &'static str,
    description: &'static str,
    body: impl Into<Bytes>,
    problem: &str,
) -> Row {
    row(name, description, post(body)).not_an_event(problem)
}

/// Returns bodies in another format, or with another JSON value than an object.
fn other_formats() -> Vec<Row> {
    let no_value = "it is not JSON: expected a JSON value (line 1, column 1)";
    let utf_16: Vec<u8> = paid().encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        refused("empty", "an empty body", "", no_value),
        refused("html", "an HTML page", "<!doctype html>", no_value),
        refused("form_body", "a form", "id=evt_1&object=event", no_value),
        refused(
            "bom",
            "a byte order mark before the event",
            format!("\u{feff}{}", paid()),
            no_value,
        ),
        refused(
            "utf_16",
            "the event in UTF-16",
            utf_16,
            "it is not JSON: expected a key in double quotes (line 1, column 2)",
        ),
        refused(
            "array",
            "`[]`",
            "[]",
            "it should be an object, but is an array (line 1, column 1)",
        ),
        refused("null", "`null`", "null", "it should be an object, but is null (line 1, column 1)"),
        refused(
            "number",
            "`42`",
            "42",
            "it should be an object, but is a number (line 1, column 1)",
        ),
        refused(
            "batch",
            "an array of events",
            format!("[{}]", paid()),
            "it should be an object, but is an array (line 1, column 1)",
        )
        .note("send one event per request"),
        refused(
            "encoded_twice",
            "the event as a JSON string",
            serde_json::Value::from(paid()).to_string(),
            "it should be an object, but is a string (line 1, column 1)",
        )
        .note("encoded twice"),
    ]
}

/// Returns events with one syntax error or an unusual detail.
fn syntax() -> Vec<Row> {
    let mut not_utf8 = with_extra("\"?\"").into_bytes();
    for byte in &mut not_utf8 {
        if *byte == b'?' {
            *byte = 0xff;
        }
    }
    let truncated = |missing: usize| paid()[..paid().len() - missing].to_owned();
    vec![
        refused(
            "truncated",
            "the last bracket missing",
            truncated(1),
            "it is not JSON: expected `,` or the closing bracket (line 1, column 172)",
        ),
        refused(
            "truncated_in_string",
            "truncated inside a string",
            truncated(4),
            "it is not JSON: the string has no closing quote (line 1, column 169)",
        ),
        refused(
            "trailing",
            "trailing data",
            paid() + "x",
            "unexpected data after the end of the JSON (line 1, column 173)",
        ),
        refused(
            "two_events",
            "two events, one after the other",
            paid() + &paid(),
            "unexpected data after the end of the JSON (line 1, column 173)",
        ),
        refused(
            "nul_after",
            "a trailing NUL byte",
            paid() + "\0",
            "unexpected data after the end of the JSON (line 1, column 173)",
        )
        .note("the terminator of a C string was sent"),
        refused(
            "nul_in_string",
            "a NUL byte in a string",
            with_extra("\"\0\""),
            "it is not JSON: a control character in a string must be escaped (line 1, column 163)",
        ),
        refused(
            "tab_in_string",
            "an unescaped tab in a string",
            with_extra("\"\t\""),
            "it is not JSON: a control character in a string must be escaped (line 1, column 163)",
        ),
        refused(
            "not_utf8",
            "invalid UTF-8 in an unused field",
            not_utf8,
            "it is not UTF-8 (line 1, column 163)",
        ),
        refused(
            "single_quotes",
            "single quotes",
            paid().replace('"', "'"),
            "it is not JSON: expected a key in double quotes (line 1, column 2)",
        ),
        refused(
            "trailing_comma",
            "a trailing comma",
            with_extra("[1,]"),
            "it is not JSON: expected a JSON value (line 1, column 165)",
        ),
        refused(
            "comment",
            "a comment",
            format!("/* test */{}", paid()),
            "it is not JSON: expected a JSON value (line 1, column 1)",
        ),
        refused(
            "not_a_number",
            "`NaN`",
            with_extra("NaN"),
            "it is not JSON: expected a JSON value (line 1, column 162)",
        ),
        refused(
            "leading_zero",
            "`007`",
            with_extra("007"),
            "it is not JSON: expected `,` or the closing bracket (line 1, column 163)",
        ),
        row("spaces_around", "surrounding white space", post(format!(" \r\n\t{}\n", paid())))
            .accepted("done"),
        row(
            "number_out_of_range",
            "a number beyond an `f64` in an unused field: `1e400`",
            post(with_extra("1e400")),
        )
        .accepted("done"),
    ]
}

fn depths() -> Vec<Row> {
    // The event, `data` and `data.object` are the first three levels.
    let deep = |depth: usize| with_extra(&("[".repeat(depth - 3) + &"]".repeat(depth - 3)));
    vec![
        row("depth_128", "nested 128 levels deep", post(deep(128))).accepted("done"),
        refused(
            "depth_129",
            "nested 129 levels deep",
            deep(129),
            "it is nested deeper than 128 levels (line 1, column 287)",
        ),
        refused(
            "depth_100_000",
            "nested 100,000 levels deep",
            "[".repeat(100_000),
            "it is nested deeper than 128 levels (line 1, column 129)",
        )
        .note("an attempt to overflow the parser's stack"),
    ]
}
