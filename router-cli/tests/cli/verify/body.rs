//! `verify` with a body that was altered.

use std::{
    env,
    io::Write as _,
    process::{Command, Stdio},
};

use super::{body, diagnose, header, pair, summary};

/// Python and Node serialize JSON in other layouts than Stripe does.
#[test]
fn body_reserialized_by_other_programs_is_recognized() {
    let body = body();
    let sorted =
        "import json,sys; o=json.load(sys.stdin); json.dump(o, sys.stdout, sort_keys=True)";
    let spaced =
        "import json,sys; o=json.load(sys.stdin); json.dump(o, sys.stdout, ensure_ascii=False)";
    let pretty = "import json,sys; o=json.load(sys.stdin); json.dump(o, sys.stdout, indent=4)";
    let read = "let t=''; process.stdin.on('data',d=>t+=d).on('end',()=>process.stdout.write";
    let compact = format!("{read}(JSON.stringify(JSON.parse(t))))");
    let tabs = format!("{read}(JSON.stringify(JSON.parse(t),null,'\\t')+'\\n'))");
    for command in [
        ["python3", "-c", sorted],
        ["python3", "-c", spaced],
        ["python3", "-c", pretty],
        ["node", "-e", &compact],
        ["node", "-e", &tabs],
    ] {
        let Some(reserialized) = pipe(command, &body) else { continue };
        assert_ne!(reserialized, body, "{command:?}");
        let (text, cause) = diagnose(&header(&body), &reserialized, &[]);
        assert_eq!(cause, "body_rewritten", "{command:?}: {text}");
        let expected = "The body was parsed and serialized again: Stripe signed the same JSON in another layout (indented by two spaces";
        assert!(text.starts_with(expected), "{command:?}: {text}");
    }
}

/// Runs a program on this input. Returns `None` if it is not installed, which is a failure in CI.
fn pipe([program, flag, code]: [&str; 3], input: &str) -> Option<String> {
    let mut command = Command::new(program);
    let spawned = command.args([flag, code]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = spawned else {
        assert!(env::var_os("CI").is_none(), "{program} is not installed");
        eprintln!("skipped: {program} is not installed");
        return None;
    };
    child.stdin.take()?.write_all(input.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    assert!(output.status.success(), "{program}");
    String::from_utf8(output.stdout).ok()
}

#[test]
fn reserialized_body_explains_how_to_get_raw_bytes() {
    let signed = "{\n  \"id\": \"evt_1\",\n  \"object\": \"event\",\n  \"data\": {\n    \"url\": \"a/\u{e9}\"\n  }\n}";
    let compact = r#"{"id":"evt_1","object":"event","data":{"url":"a/é"}}"#;
    let (text, cause) = diagnose(&header(signed), compact, &[]);
    assert_eq!(cause, "body_rewritten");
    insta::assert_snapshot!(text, @r"
    The body was parsed and serialized again: Stripe signed the same JSON in another layout (indented by two spaces), 10 s ago.
      Verify the raw bytes of the request, before anything parses them:
        Express        express.raw({type: 'application/json'}) on this route, before express.json()
        Next.js        await request.text() in a route handler; in pages/api: bodyParser: false
        Flask          request.get_data()
        Django         request.body
        FastAPI        await request.body()
        Rails          request.raw_post
        Laravel        $request->getContent()
        Spring         @RequestBody byte[] or String
        Go             io.ReadAll(r.Body)
        axum           Bytes, not Json
        API Gateway    the body as it is, decoded first if isBase64Encoded; no mapping template
    ");
    // Each signed layout is recognized from two received ones.
    let layouts = [
        (compact, "compact"),
        (
            r#"{"id": "evt_1", "object": "event", "data": {"url": "a/é"}}"#,
            "on one line, with a space after each comma and colon",
        ),
        (
            r#"{"id":"evt_1","object":"event","data":{"url":"a\/é"}}"#,
            "compact, with slashes escaped",
        ),
        (
            r#"{"id":"evt_1","object":"event","data":{"url":"a/\u00e9"}}"#,
            "compact, with non-ASCII characters escaped",
        ),
        (
            "{\"id\":\"evt_1\",\"object\":\"event\",\"data\":{\"url\":\"a/é\"}}\n",
            "compact, with a line break at the end",
        ),
        (
            "{\n\t\"id\": \"evt_1\",\n\t\"object\": \"event\",\n\t\"data\": {\n\t\t\"url\": \"a/é\"\n\t}\n}",
            "indented by tabs",
        ),
        (
            "{\n    \"id\": \"evt_1\",\n    \"object\": \"event\",\n    \"data\": {\n        \"url\": \"a/é\"\n    }\n}",
            "indented by four spaces",
        ),
    ];
    let other_order = "{\n  \"data\":{\"url\":\"a/é\"},\"object\": \"event\", \"id\": \"evt_1\"}";
    for (signed_body, name) in layouts {
        let expected = format!(
            "The body was parsed and serialized again: Stripe signed the same JSON in another layout ({name}), 10 s ago."
        );
        assert_eq!(
            summary(diagnose(&header(signed_body), signed, &[])),
            pair(&expected, "body_rewritten")
        );
        let (text, _) = summary(diagnose(&header(signed_body), other_order, &[]));
        assert!(text.contains("with the fields in Stripe's order"), "{name}: {text}");
    }
    let marked = format!("\u{feff}{compact}");
    assert_eq!(diagnose(&header(signed), &marked, &[]).1, "body_rewritten");
    let empty = "{\n  \"data\": [\n\n  ],\n  \"metadata\": {\n  }\n}";
    let (text, _) = summary(diagnose(&header(empty), r#"{"data":[],"metadata":{}}"#, &[]));
    assert!(text.contains("with line breaks in empty objects and arrays"), "{text}");
}

#[test]
fn body_with_altered_bytes_is_recognized() {
    let body = body();
    let rows = [
        (format!("{body}\n"), "a line break was added at its end"),
        (format!("\n {body} "), "white space was added around it"),
        (body.replace('\n', "\r\n"), "its line breaks were converted to CR LF"),
        (format!("\u{feff}{body}"), "a byte order mark was added in front of it"),
        (serde_json::to_string(&body).unwrap(), "it was wrapped in a JSON string"),
        (base64(&body), "it was encoded in base64"),
        (
            format!("\u{feff}{}", body.replace('\n', "\r\n")),
            "a byte order mark was added in front of it, and its line breaks were converted to CR LF",
        ),
        (
            base64(&serde_json::to_string(&body).unwrap()),
            "it was wrapped in a JSON string, and it was encoded in base64",
        ),
    ];
    for (altered, alteration) in rows {
        let expected = format!(
            "The body was altered: {alteration}. Without that, the signature is valid, signed 10 s ago."
        );
        assert_eq!(
            summary(diagnose(&header(&body), &altered, &[])),
            pair(&expected, "body_touched")
        );
    }
    let with_end = format!("{body}\n");
    let (text, _) = summary(diagnose(&header(&with_end), &body, &[]));
    assert!(text.contains("the line break at its end was removed"), "{text}");
    let (text, cause) = diagnose(&header(&body), "", &[]);
    assert_eq!(cause, "empty_body");
    let expected = "The body is empty.\n  Middleware or another handler has read the body before the verification.\n";
    assert!(text.starts_with(expected), "{text}");
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(text)
}
