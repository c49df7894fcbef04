//! A body that is not as it was signed.

use std::{
    env,
    io::Write as _,
    process::{Command, Stdio},
};

use super::{body, header, pair, said, verdict};

/// What other programs make of a body that they parse and write anew.
#[test]
fn a_body_that_was_written_anew_by_others_is_recognised() {
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
        let Some(anew) = piped(command, &body) else { continue };
        assert_ne!(anew, body, "{command:?}");
        let (said, cause) = said(&header(&body), &anew, &[]);
        assert_eq!(cause, "body_rewritten", "{command:?}: {said}");
        let verdict = "The body was parsed and written anew: what Stripe signed, 10 s ago, is the same JSON, indented by two spaces";
        assert!(said.starts_with(verdict), "{command:?}: {said}");
    }
}

/// What a program makes of this input; none where it is not installed, which in CI it must be.
fn piped([program, flag, code]: [&str; 3], input: &str) -> Option<String> {
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
fn a_body_that_was_written_anew_is_told_how_to_be_kept() {
    let signed = "{\n  \"id\": \"evt_1\",\n  \"object\": \"event\",\n  \"data\": {\n    \"url\": \"a/\u{e9}\"\n  }\n}";
    let compact = r#"{"id":"evt_1","object":"event","data":{"url":"a/é"}}"#;
    let (said_of, cause) = said(&header(signed), compact, &[]);
    assert_eq!(cause, "body_rewritten");
    insta::assert_snapshot!(said_of, @r"
    The body was parsed and written anew: what Stripe signed, 10 s ago, is the same JSON, indented by two spaces.
      Verify the bytes of the request as they came, before anything parses them:
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
    // Whichever was signed, and whichever is there.
    let forms = [
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
            "compact, with other characters than ASCII escaped",
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
    for (form, name) in forms {
        let expected = format!(
            "The body was parsed and written anew: what Stripe signed, 10 s ago, is the same JSON, {name}."
        );
        assert_eq!(verdict(said(&header(form), signed, &[])), pair(&expected, "body_rewritten"));
        let (verdict, _) = verdict(said(&header(form), other_order, &[]));
        assert!(verdict.contains("its fields in Stripe's order"), "{name}: {verdict}");
    }
    let marked = format!("\u{feff}{compact}");
    assert_eq!(said(&header(signed), &marked, &[]).1, "body_rewritten");
    let empty = "{\n  \"data\": [\n\n  ],\n  \"metadata\": {\n  }\n}";
    let (verdict, _) = verdict(said(&header(empty), r#"{"data":[],"metadata":{}}"#, &[]));
    assert!(verdict.contains("with line breaks in what is empty"), "{verdict}");
}

#[test]
fn a_body_whose_bytes_were_touched_is_recognised() {
    let body = body();
    let rows = [
        (format!("{body}\n"), "a line break was added at its end"),
        (format!("\n {body} "), "white space was put around it"),
        (body.replace('\n', "\r\n"), "its line breaks were made CR LF"),
        (format!("\u{feff}{body}"), "a byte order mark was put before it"),
        (serde_json::to_string(&body).unwrap(), "it was put into a JSON string"),
        (base64(&body), "it was encoded in base64"),
        (
            format!("\u{feff}{}", body.replace('\n', "\r\n")),
            "a byte order mark was put before it, and its line breaks were made CR LF",
        ),
        (
            base64(&serde_json::to_string(&body).unwrap()),
            "it was put into a JSON string, and it was encoded in base64",
        ),
    ];
    for (touched, how) in rows {
        let expected = format!(
            "The body is not as Stripe sent it: {how}. Apart from that, the signature is right, signed 10 s ago."
        );
        assert_eq!(verdict(said(&header(&body), &touched, &[])), pair(&expected, "body_touched"));
    }
    let with_end = format!("{body}\n");
    let (verdict, _) = verdict(said(&header(&with_end), &body, &[]));
    assert!(verdict.contains("the line break at its end was taken away"), "{verdict}");
    let (all, cause) = said(&header(&body), "", &[]);
    assert_eq!(cause, "empty_body");
    assert!(all.starts_with("The body is empty.\n  Something has read it before.\n"), "{all}");
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(text)
}
