//! Why a signature is not right is found, and said in words that help.

use std::{
    env,
    io::Write as _,
    process::{Command, Stdio},
};

use router_core::{SigningSecret, signature::sign, testing::SyntheticEvent};

use crate::program::{Ran, SECRET, run_with};

const NOW: u64 = 1_700_000_000;

/// What Stripe signed: its own layout, and text that is not ASCII.
fn body() -> String {
    let event = SyntheticEvent::new("charge.refunded").id("evt_1").set("description", "Käse / 😀");
    event.build().expect("it can be").event().payload_text().to_owned()
}

fn header(body: &str) -> String {
    sign(&SigningSecret::new(SECRET).expect("it is one"), NOW, body.as_bytes())
}

/// Verifies ten seconds later, with more or other options.
fn verify(header: &str, body: &str, options: &[&str]) -> Ran {
    let now = (NOW + 10).to_string();
    run_with(&[&["verify", "--header", header, "--now", &now], options].concat(), body)
}

/// What is said in words, and the cause for programs.
fn said(header: &str, body: &str, options: &[&str]) -> (String, String) {
    let ran = verify(header, body, options);
    assert_eq!((ran.code, &*ran.stderr), (Some(1), ""), "{ran:?}");
    for secret in [SECRET, "a1b2c3"] {
        assert!(!ran.stdout.contains(secret), "{ran:?}");
    }
    let json = verify(header, body, &[options, &["--json"]].concat()).json();
    assert_eq!(json[0]["verified"], false);
    let cause = json[0]["cause"].as_str().expect("it has one").to_owned();
    assert!(ran.stdout.starts_with(json[0]["said"].as_str().expect("it says")), "{ran:?}");
    (ran.stdout, cause)
}

/// The first line of what is said.
fn verdict((said, cause): (String, String)) -> (String, String) {
    (said.lines().next().expect("it is not empty").to_owned(), cause)
}

fn pair(one: &str, other: &str) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

#[test]
fn a_signature_that_is_right_is_said_to_be() {
    let body = body();
    let ran = verify(&header(&body), &body, &[]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    insta::assert_snapshot!(ran.stdout, @"The signature is right: it is of the endpoint `default`, signed 10 s ago.");
    let json = &verify(&header(&body), &body, &["--json"]).json()[0];
    assert_eq!((&json["verified"], &json["cause"]), (&true.into(), &().into()));
    assert_eq!((&json["endpoint"], &json["age"]), (&"default".into(), &10.into()));
    // Of several secrets it says which.
    let several = format!("platform=whsec_a1b2c3,connect=whsec_d|{SECRET}");
    let ran = verify(&header(&body), &body, &["--secret", &several]);
    let which = "of the endpoint `connect` (not of platform), signed";
    assert!(ran.code == Some(0) && ran.stdout.contains(which), "{ran:?}");
    // A clock that lags is nothing that a server minds; a person does.
    let ran = run_with(&["verify", "--header", &header(&body), "--now", "1699999000"], &body);
    insta::assert_snapshot!(ran.stdout, @"The signature is right: it is of the endpoint `default`, signed 1000 s in the future: this machine's clock is behind, or the signer's ahead.");
}

#[test]
fn one_that_is_too_old_is_still_stripes() {
    let body = body();
    let late = ["verify", "--header", &header(&body), "--now", "1700003700"];
    let ran = run_with(&late, &body);
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(ran.stdout, @r"
    The signature is Stripe's, but too old: it was signed 3700 s ago (1h 1m 40s), and at most 300 s are tolerated.
      If it has just arrived, this machine's clock is ahead: set it. If it was held up in a queue, or is a
      recorded request: verify when it arrives, or pass --tolerance none.
    ");
    let json = &run_with(&[&late[..], &["--json"]].concat(), &body).json()[0];
    assert_eq!((&json["cause"], &json["age"]), (&"too_old".into(), &3700.into()));
    for tolerance in ["none", "3700"] {
        assert_eq!(
            run_with(&[&late[..], &["--tolerance", tolerance]].concat(), &body).code,
            Some(0)
        );
    }
}

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
        let verdict = "The body was parsed and written anew: what Stripe signed is the same JSON, indented by two spaces";
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
    The body was parsed and written anew: what Stripe signed is the same JSON, indented by two spaces.
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
            "The body was parsed and written anew: what Stripe signed is the same JSON, {name}."
        );
        assert_eq!(verdict(said(&header(form), signed, &[])), pair(&expected, "body_rewritten"));
        let (verdict, _) = verdict(said(&header(form), other_order, &[]));
        assert!(verdict.contains("its fields in Stripe's order"), "{name}: {verdict}");
    }
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
    ];
    for (touched, how) in rows {
        let expected = format!(
            "The body is not as Stripe sent it: {how}. Apart from that, the signature is right."
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

#[test]
fn a_secret_that_is_wrapped_or_something_else_is_recognised() {
    let body = body();
    let bare = SECRET.strip_prefix("whsec_").unwrap();
    for (secret, how) in [
        (format!(" {SECRET}\n"), "there is white space around it"),
        (format!("\"{SECRET}\""), "there are quotation marks around it"),
        (bare.to_owned(), "`whsec_` is missing before it"),
        (format!("whsec_{SECRET}"), "`whsec_` stands before it twice"),
    ] {
        let expected = format!(
            "The secret of the endpoint `default` is not as Stripe's dashboard shows it: {how}. Apart from that, the \
             signature is right."
        );
        let said = said(&header(&body), &body, &["--secret", &secret]);
        assert_eq!(verdict(said), pair(&expected, "secret_changed"));
    }
    let (key, cause) = said(&header(&body), &body, &["--secret", "platform=sk_test_a1b2c3"]);
    assert_eq!(cause, "no_secret");
    insta::assert_snapshot!(key, @r"
    What is given as the secret of the endpoint `platform` is none: this is an API key (`sk_…`), not a signing secret; Stripe's dashboard shows the endpoint's signing secret as `whsec_…`.
      In the dashboard it stands at the endpoint, under Developers, Webhooks.
    ");
}

#[test]
fn a_header_that_was_copied_with_something_around_it_is_recognised() {
    let body = body();
    let header = header(&body);
    for (given, how) in [
        (format!("Stripe-Signature: {header}"), "the header's name stands before it"),
        (format!("'{header}'"), "there are quotation marks around it"),
        (
            header.to_uppercase().replace("T=", "t=").replace("V1=", "v1="),
            "its digits are in upper case",
        ),
    ] {
        let expected = format!(
            "The header is not as Stripe sent it: {how}. Apart from that, the signature is right."
        );
        assert_eq!(verdict(said(&given, &body, &[])), pair(&expected, "header_changed"));
    }
    // With another cause behind it, that one is told.
    let (_, cause) = said(&format!("Stripe-Signature: {header}"), &format!("{body}\n"), &[]);
    assert_eq!(cause, "body_touched");
    let mac = header.split_once("v1=").unwrap().1;
    for (given, words) in [
        (String::new(), "is not of the form"),
        (format!("v1={mac}"), "has no timestamp"),
        (format!("t={NOW}"), "has no `v1` signature"),
        (format!("t={NOW},v0={mac}"), "has no `v1` signature"),
        (format!("t={NOW},v1={}", &mac[..40]), "is 64 lower-case hexadecimal digits"),
        (format!("t=soon,v1={mac}"), "is not a decimal number of seconds"),
        (format!("t={NOW},t={NOW},v1={mac}"), "more than one timestamp"),
    ] {
        let (said, cause) = said(&given, &body, &[]);
        assert_eq!(cause, "header_unreadable", "{given}");
        assert!(said.contains(words), "{given}: {said}");
    }
}

#[test]
fn what_nothing_explains_is_told_with_what_is_left() {
    let body = body();
    let (all, cause) =
        said(&header(&body), &body, &["--secret", "platform=whsec_a1b2c3,connect=whsec_d"]);
    assert_eq!(cause, "mismatch");
    insta::assert_snapshot!(all, @r"
    The signature is not of this body under any of these 2 secrets (platform, connect).
      White space, quotation marks and other layouts of the JSON were tried. What is left:
      - the event is of test mode: is the secret that of the test mode's endpoint?
      - each endpoint has a secret of its own, and `stripe listen` another one: compare the first letters
      - the secret was rolled: the old one signs for up to a day
      - header and body are of two requests: the time in the header (`t=`) is signed too
      - the body was changed by more than its layout: numbers, an encoding, a field
    ");
    let of = |event: SyntheticEvent| {
        let body = event.build().unwrap().event().payload_text().to_owned();
        said(&header(&body), &body, &["--secret", "whsec_a1b2c3"]).0
    };
    let live = of(SyntheticEvent::new("charge.refunded").livemode(true).account("acct_1"));
    assert!(live.contains("of live mode") && live.contains("a connected account"), "{live}");
    let thin = of(SyntheticEvent::new("charge.refunded").thin());
    assert!(thin.contains("a thin one"), "{thin}");
    let (other, _) = said(&header(&body), "amount=500", &[]);
    assert!(other.contains("the body is no event of Stripe's"), "{other}");
    // The time is signed too.
    let later = header(&body).replace("t=1700000000", "t=1700000001");
    assert_eq!(said(&later, &body, &[]).1, "mismatch");
}

#[test]
fn what_send_sends_is_verified() {
    let body = body();
    let header = run_with(&["sign"], &body).stdout;
    assert_eq!(run_with(&["verify", "--header", header.trim_end()], &body).code, Some(0));
}
