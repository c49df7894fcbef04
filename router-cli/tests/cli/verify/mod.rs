//! Why a signature is not right is found, and said in words that help.

mod body;

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
    let which = "of the endpoint `connect`, by secret 2 of 2 (not of platform), signed";
    assert!(ran.code == Some(0) && ran.stdout.contains(which), "{ran:?}");
    let json = &verify(&header(&body), &body, &["--secret", &several, "--json"]).json()[0];
    assert_eq!((&json["endpoint"], &json["secrets"]), (&"connect".into(), &vec![2].into()));
    // While a secret is rolled, Stripe signs with both.
    let other = sign(&SigningSecret::new("whsec_d").unwrap(), NOW, body.as_bytes());
    let both = format!("{},{}", header(&body), other.split_once(',').unwrap().1);
    let ran = verify(&both, &body, &["--secret", &several]);
    assert!(ran.stdout.contains("by secret 1 and 2 of 2"), "{ran:?}");
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
             signature is right, signed 10 s ago."
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
            "The header is not as Stripe sent it: {how}. Apart from that, the signature is right, signed 10 s ago."
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

#[test]
fn what_stands_in_the_place_of_an_endpoints_name_is_not_shown() {
    let body = body();
    for secret in
        ["sk_live_a1b2c3=", "sk_live_a1b2c3=whsec_b", "QTFiMmMzYTFiMmMz==", "whsec_a1b2c3=x"]
    {
        let ran = verify(&header(&body), &body, &["--secret", &format!("{secret},b=whsec_c")]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        for text in ["a1b2c3", "QTFi"] {
            assert!(!ran.stdout.contains(text) && !ran.stderr.contains(text), "{ran:?}");
        }
    }
}

#[test]
fn of_two_causes_the_one_that_cannot_be_seen_is_told() {
    let body = body();
    let padded = format!("{SECRET} ");
    let (_, cause) = said(&header(&body), &format!("{body}\n"), &["--secret", &padded]);
    assert_eq!(cause, "body_touched");
}
