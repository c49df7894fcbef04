//! `verify`: valid signatures, and diagnoses of invalid ones.

mod body;
mod encoded;

use router_core::{SigningSecret, signature::sign, testing::SyntheticEvent};

use crate::program::{CliOutput, SECRET, run_with};

const NOW: u64 = 1_700_000_000;

/// Returns a signed body, in Stripe's layout and with non-ASCII text.
fn body() -> String {
    let event = SyntheticEvent::new("charge.refunded").id("evt_1").set("description", "Käse / 😀");
    event.build().expect("the event is valid").event().payload_text().to_owned()
}

fn header(body: &str) -> String {
    sign(&SigningSecret::new(SECRET).expect("the secret is valid"), NOW, body.as_bytes())
}

/// Runs `verify` ten seconds after the signature, with more options.
fn verify(header: &str, body: &(impl AsRef<[u8]> + ?Sized), options: &[&str]) -> CliOutput {
    let now = (NOW + 10).to_string();
    run_with(&[&["verify", "--header", header, "--now", &now], options].concat(), body)
}

/// Returns the text and the JSON `cause` for an invalid signature. Asserts that no secret is
/// printed.
fn diagnose(
    header: &str,
    body: &(impl AsRef<[u8]> + ?Sized),
    options: &[&str],
) -> (String, String) {
    let output = verify(header, body, options);
    assert_eq!((output.code, &*output.stderr), (Some(1), ""), "{output:?}");
    for secret in [SECRET, "a1b2c3"] {
        assert!(!output.stdout.contains(secret), "{output:?}");
    }
    let json = verify(header, body, &[options, &["--json"]].concat()).json();
    assert_eq!(json[0]["verified"], false);
    let cause = json[0]["cause"].as_str().expect("an invalid signature has a cause").to_owned();
    assert!(
        output.stdout.starts_with(json[0]["said"].as_str().expect("`said` is a string")),
        "{output:?}"
    );
    (output.stdout, cause)
}

/// Shortens the text of a diagnosis to its first line.
fn summary((text, cause): (String, String)) -> (String, String) {
    (text.lines().next().expect("the text is not empty").to_owned(), cause)
}

fn pair(text: &str, cause: &str) -> (String, String) {
    (text.to_owned(), cause.to_owned())
}

#[test]
fn valid_signature_names_endpoint_and_secret() {
    let body = body();
    let output = verify(&header(&body), &body, &[]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    insta::assert_snapshot!(output.stdout, @"The signature is valid for endpoint `default`, signed 10 s ago.");
    let json = &verify(&header(&body), &body, &["--json"]).json()[0];
    assert_eq!((&json["verified"], &json["cause"]), (&true.into(), &().into()));
    assert_eq!((&json["endpoint"], &json["age"]), (&"default".into(), &10.into()));
    // Names the matching secret of several.
    let several = format!("platform=whsec_a1b2c3,connect=whsec_d|{SECRET}");
    let output = verify(&header(&body), &body, &["--secret", &several]);
    let expected = "for endpoint `connect`, made with secret 2 of 2 (not for platform), signed";
    assert!(output.code == Some(0) && output.stdout.contains(expected), "{output:?}");
    let json = &verify(&header(&body), &body, &["--secret", &several, "--json"]).json()[0];
    assert_eq!((&json["endpoint"], &json["secrets"]), (&"connect".into(), &vec![2].into()));
    // While a secret is rolled, Stripe signs with both.
    let other = sign(&SigningSecret::new("whsec_d").unwrap(), NOW, body.as_bytes());
    let both = format!("{},{}", header(&body), other.split_once(',').unwrap().1);
    let output = verify(&both, &body, &["--secret", &several]);
    assert!(output.stdout.contains("made with secret 1 and 2 of 2"), "{output:?}");
    // A server accepts a signature from the future; the user is told about the clock.
    let output = run_with(&["verify", "--header", &header(&body), "--now", "1699999000"], &body);
    insta::assert_snapshot!(output.stdout, @"The signature is valid for endpoint `default`, signed 1000 s in the future: this machine's clock is behind, or the signer's clock is ahead.");
}

#[test]
fn old_signature_is_authentic_but_too_old() {
    let body = body();
    let late = ["verify", "--header", &header(&body), "--now", "1700003700"];
    let output = run_with(&late, &body);
    assert_eq!(output.code, Some(1));
    insta::assert_snapshot!(output.stdout, @r"
    The signature is authentic but too old: it was made 3700 s ago (1h 1m 40s), and the tolerance is 300 s.
      If the request has just arrived, this machine's clock is ahead: set it. If the request was queued or
      recorded, verify it on arrival, or pass --tolerance none.
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

#[test]
fn altered_secret_is_recognized() {
    let body = body();
    let bare = SECRET.strip_prefix("whsec_").unwrap();
    for (secret, alteration) in [
        (format!(" {SECRET}\n"), "there is white space around it"),
        (format!("\"{SECRET}\""), "there are quotation marks around it"),
        (bare.to_owned(), "its prefix `whsec_` is missing"),
        (format!("whsec_{SECRET}"), "its prefix `whsec_` is doubled"),
    ] {
        let expected = format!(
            "The secret of endpoint `default` was altered: {alteration}. Without that, the signature is valid, signed 10 s ago."
        );
        let diagnosis = diagnose(&header(&body), &body, &["--secret", &secret]);
        assert_eq!(summary(diagnosis), pair(&expected, "secret_changed"));
    }
    let (text, cause) = diagnose(&header(&body), &body, &["--secret", "platform=sk_test_a1b2c3"]);
    assert_eq!(cause, "no_secret");
    insta::assert_snapshot!(text, @r"
    The value given for endpoint `platform` is not a signing secret: this is an API key (`sk_…`), not a signing secret; Stripe's dashboard shows the endpoint's signing secret as `whsec_…`.
      Stripe's dashboard shows the signing secret with the endpoint, under Developers, Webhooks.
    ");
}

#[test]
fn altered_header_is_recognized() {
    let body = body();
    let header = header(&body);
    for (altered, alteration) in [
        (format!("Stripe-Signature: {header}"), "the header's name is in front of its value"),
        (format!("'{header}'"), "there are quotation marks around it"),
        (
            header.to_uppercase().replace("T=", "t=").replace("V1=", "v1="),
            "its hexadecimal digits are in upper case",
        ),
    ] {
        let expected = format!(
            "The header was altered: {alteration}. Without that, the signature is valid, signed 10 s ago."
        );
        assert_eq!(summary(diagnose(&altered, &body, &[])), pair(&expected, "header_changed"));
    }
    // If the body was altered too, that cause is reported.
    let (_, cause) = diagnose(&format!("Stripe-Signature: {header}"), &format!("{body}\n"), &[]);
    assert_eq!(cause, "body_touched");
    let mac = header.split_once("v1=").unwrap().1;
    for (malformed, expected) in [
        (String::new(), "is not of the form"),
        (format!("v1={mac}"), "has no timestamp"),
        (format!("t={NOW}"), "has no `v1` signature"),
        (format!("t={NOW},v0={mac}"), "has no `v1` signature"),
        (format!("t={NOW},v1={}", &mac[..40]), "is 64 lower-case hexadecimal digits"),
        (format!("t=soon,v1={mac}"), "is not a decimal number of seconds"),
        (format!("t={NOW},t={NOW},v1={mac}"), "more than one timestamp"),
    ] {
        let (text, cause) = diagnose(&malformed, &body, &[]);
        assert_eq!(cause, "header_unreadable", "{malformed}");
        assert!(text.contains(expected), "{malformed}: {text}");
    }
}

#[test]
fn mismatch_lists_possible_causes() {
    let body = body();
    let (text, cause) =
        diagnose(&header(&body), &body, &["--secret", "platform=whsec_a1b2c3,connect=whsec_d"]);
    assert_eq!(cause, "mismatch");
    insta::assert_snapshot!(text, @r"
    The signature does not match this body with any of these 2 secrets (platform, connect).
      Other JSON layouts and encodings of the body, and quotation marks, were ruled out. Possible causes:
      - the event is from test mode: is the secret that of the test-mode endpoint?
      - the secret is of another endpoint, or of `stripe listen`: each has its own; compare the first letters
      - the secret was rolled: Stripe signs with the old one for up to a day
      - header and body are from different requests: the timestamp in the header (`t=`) is signed too
      - more than the body's layout was changed: numbers, the encoding, a field
    ");
    let mismatch = |event: SyntheticEvent| {
        let body = event.build().unwrap().event().payload_text().to_owned();
        diagnose(&header(&body), &body, &["--secret", "whsec_a1b2c3"]).0
    };
    let live = mismatch(SyntheticEvent::new("charge.refunded").livemode(true).account("acct_1"));
    assert!(live.contains("from live mode") && live.contains("a connected account"), "{live}");
    let thin = mismatch(SyntheticEvent::new("charge.refunded").thin().account("acct_1"));
    assert!(thin.contains("the event is thin") && thin.contains("a connected account"), "{thin}");
    let (other, _) = diagnose(&header(&body), r#"{"object":"charge","type":"card"}"#, &[]);
    assert!(other.contains("the body is not a Stripe event"), "{other}");
    // The timestamp is signed too.
    let later = header(&body).replace("t=1700000000", "t=1700000001");
    assert_eq!(diagnose(&later, &body, &[]).1, "mismatch");
}

#[test]
fn output_of_sign_is_verified() {
    let body = body();
    let header = run_with(&["sign"], &body).stdout;
    assert_eq!(run_with(&["verify", "--header", header.trim_end()], &body).code, Some(0));
    // Both take the body in the same way: as a file or `-`.
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be created");
    std::fs::write(&file, &body).expect("the file is writable");
    let path = file.path().to_str().expect("the path is UTF-8");
    for body_file in [path, "-"] {
        let header = run_with(&["sign", body_file], &body).stdout;
        let output = run_with(&["verify", body_file, "--header", header.trim_end()], &body);
        assert_eq!(output.code, Some(0), "{output:?}");
    }
}

#[test]
fn secret_in_place_of_endpoint_name_is_not_printed() {
    let body = body();
    for secret in
        ["sk_live_a1b2c3=", "sk_live_a1b2c3=whsec_b", "QTFiMmMzYTFiMmMz==", "whsec_a1b2c3=x"]
    {
        let output = verify(&header(&body), &body, &["--secret", &format!("{secret},b=whsec_c")]);
        assert_eq!(output.code, Some(1), "{output:?}");
        for text in ["a1b2c3", "QTFi"] {
            assert!(!output.stdout.contains(text) && !output.stderr.contains(text), "{output:?}");
        }
    }
}

#[test]
fn body_cause_is_reported_before_secret_cause() {
    let body = body();
    let padded = format!("{SECRET} ");
    let (_, cause) = diagnose(&header(&body), &format!("{body}\n"), &["--secret", &padded]);
    assert_eq!(cause, "body_touched");
}
