//! What needs no server: the catalogue, samples, signatures, and the help.

use router_core::{
    SigningSecret,
    signature::{Tolerance, sign, verify},
};
use std::time::{Duration, UNIX_EPOCH};

use crate::program::{SECRET, run, run_with};

#[test]
fn the_help_says_what_there_is_and_how_it_ends() {
    let ran = run(&["--help"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    insta::assert_snapshot!(ran.stdout, @r"
    Stripe's events, offline: sends them to a webhook server of yours, signed as Stripe signs them, and
    says why a signature is refused. Looks into a server's inbox. Needs no Stripe account and no network

    Usage: event-router [OPTIONS] <COMMAND>

    Commands:
      send         Send events to a webhook server, signed as Stripe signs them
      scenario     Send a whole sequence of events, whose ids agree
      sample       Print an event as Stripe would send it
      events       List Stripe's event types, and the object that each carries
      sign         Print the `Stripe-Signature` header for a body
      verify       Say whether a signature is right, and if not, why
      inbox        Look into a server's inbox, and retry, replay or discard what is in it
      completions  Print what makes a shell complete this program's commands and options
      help         Print this message or the help of the given subcommand(s)

    Options:
          --json     Print JSON, a value to a line, for other programs to read
      -h, --help     Print help
      -V, --version  Print version

    Examples:
      event-router send payment_intent.succeeded
      event-router send invoice.paid --set amount_paid=500 --repeat 100
      event-router scenario subscription-lifecycle
      event-router events 'invoice.*'
      event-router inbox status

    Exit codes:
        0  done: every answer was a 2xx, the signature is right
        1  an answer was no 2xx or says that a handler failed for good; the signature is not right;
           nothing in the inbox could be changed
        2  what was asked for cannot be: an option, an event type, a field, a file, an event
        3  there was no answer: nothing listens, it took too long, or the inbox cannot be used
      130  stopped with Ctrl-C before all was sent, or changed
    ");
    assert_eq!(run(&[]).code, Some(2));
    for command in
        ["send", "scenario", "sample", "events", "sign", "verify", "inbox", "completions"]
    {
        let ran = run(&[command, "--help"]);
        assert!(ran.stdout.contains("Example"), "{command}: {ran:?}");
        assert!(!ran.stdout.contains(SECRET), "{command}: {ran:?}");
    }
    for command in ["status", "list", "show", "retry", "replay", "discard", "purge", "watch"] {
        let ran = run(&["inbox", command, "--help"]);
        assert!(ran.stdout.contains("Example") && ran.stdout.contains("With --json"), "{ran:?}");
    }
}

#[test]
fn the_catalogue_is_listed_by_pattern_and_by_part() {
    assert_eq!(run(&["events"]).stdout.lines().count(), 601);
    insta::assert_snapshot!(run(&["events", "customer.tax_id.*"]).stdout, @r"
    customer.tax_id.created  snapshot  tax_id
    customer.tax_id.deleted  snapshot  tax_id
    customer.tax_id.updated  snapshot  tax_id
    ");
    insta::assert_snapshot!(run(&["events", "early_fraud"]).stdout, @r"
    radar.early_fraud_warning.created     snapshot  radar.early_fraud_warning
    radar.early_fraud_warning.updated     snapshot  radar.early_fraud_warning
    v1.radar.early_fraud_warning.created  thin      radar.early_fraud_warning
    v1.radar.early_fraud_warning.updated  thin      radar.early_fraud_warning
    ");
    insta::assert_snapshot!(run(&["events", "customer.source.created", "--json"]).stdout, @r#"{"type":"customer.source.created","kind":"snapshot","objects":["account","bank_account","card","source"]}"#);
    insta::assert_snapshot!(run(&["events", "v1.billing.meter.no_meter_found"]).stdout, @"v1.billing.meter.no_meter_found  thin");
    let ran = run(&["events", "invoise.*"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(2), ""));
    insta::assert_snapshot!(ran.stderr, @"error: Stripe has no event type `invoise.*`; did you mean `invoice.*`?");
    insta::assert_snapshot!(run(&["events", "weather"]).stderr, @"error: Stripe has no event type `weather` in API version 2026-10-28.endive; `event-router events` lists them");
}

#[test]
fn a_sample_is_one_event_or_its_object() {
    let ran = run(&["sample", "charge.refunded"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.starts_with("{\n  \"id\": \"evt_1"), "{ran:?}");
    let object = run(&["sample", "charge.refunded", "--object", "--json"]).json();
    assert_eq!((&object[0]["object"], &object[0]["refunded"]), (&"charge".into(), &true.into()));
    // The same every time, at any time.
    let id = |seed: &str| {
        run(&["sample", "charge.refunded", "--seed", seed, "--json"]).json()[0]["id"].clone()
    };
    assert_eq!(id("1"), id("1"));
    assert_ne!(id("1"), id("2"));
}

#[test]
fn what_cannot_be_is_refused_with_the_way_out() {
    let rows: [(&[&str], &str); 10] = [
        (
            &["sample", "invoice.payed"],
            "Stripe has no event type `invoice.payed`; did you mean `invoice.paid`?",
        ),
        (
            &["sample", "invoice.paid", "--set", "amuont_paid=1"],
            "invoice.paid: `invoice` has no field `amuont_paid`; did you mean `amount_paid`?",
        ),
        (
            &["sample", "invoice.paid", "--set", "amount_paid"],
            "write a field, `=`, and its value, as in `amount=500`",
        ),
        (
            &["sample", "v1.invoice.paid", "--object"],
            "`v1.invoice.paid` is a thin event, which only names its object",
        ),
        (&["send", "invoice.paid", "--duplicate", "2"], "write a number from 0 to 1, as in 0.1"),
        (
            &["send", "invoice.paid", "--rate", "0"],
            "write a number of events, as in 50 or 0.5; at least 0.001",
        ),
        (&["send", "invoice.paid", "--rate", "1e-300"], "at least 0.001"),
        (
            &["send", "*", "--repeat", "4000000000"],
            "are more than the 10000000 that one run can send",
        ),
        (
            &["send", "invoice.paid", "--to", "localhost:4242"],
            "--to localhost:4242: `localhost:` is not HTTP; write it as in http://127.0.0.1:4242/webhook",
        ),
        (&["sign", "no-such-file"], "no-such-file cannot be read: No such file or directory"),
    ];
    for (arguments, said) in rows {
        let ran = run(arguments);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{ran:?}");
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(said), "{ran:?}");
    }
}

#[test]
fn a_signature_is_one_that_an_endpoint_takes() {
    let body = r#"{"id":"evt_1"}"#;
    let secret = SigningSecret::new(SECRET).unwrap();
    let ran = run_with(&["sign", "--at", "1700000000"], body);
    let expected = sign(&secret, 1_700_000_000, body.as_bytes());
    assert_eq!((ran.code, ran.stdout.trim_end()), (Some(0), &*expected));
    let ran = run_with(&["sign", "--at", "1700000000", "--json"], body);
    let json = &ran.json()[0];
    assert_eq!((&json["header"], &json["timestamp"]), (&expected.into(), &1_700_000_000.into()));
    // Now, by default; and it is verified.
    let header = run_with(&["sign"], body).stdout;
    let then = header.strip_prefix("t=").and_then(|rest| rest.split_once(',')).unwrap().0;
    let then = UNIX_EPOCH + Duration::from_secs(then.parse().unwrap());
    let header = Some(header.trim_end().as_bytes());
    verify(header, body.into(), &secret.into(), Tolerance::default(), then).unwrap();
}

#[test]
fn the_curl_line_can_be_pasted() {
    let ran =
        run_with(&["sign", "--at", "1700000000", "--curl", "http://127.0.0.1:4242/it's"], "{}");
    insta::assert_snapshot!(ran.stdout, @r#"curl -i 'http://127.0.0.1:4242/it'\''s' -H 'Stripe-Signature: t=1700000000,v1=bf10dda095e07beab0acefea98feb777178fc95ead834011f35f396383943af3' -H 'Content-Type: application/json' --data-binary '@-'"#);
}

#[test]
fn a_secret_that_is_none_is_refused_and_not_shown() {
    for (secret, said) in
        [("sk_test_a1b2c3", "this is an API key"), (" whsec_a1b2c3", "white space")]
    {
        let ran = run_with(&["sign", "--secret", secret], "{}");
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(said) && !ran.stderr.contains("a1b2c3"), "{ran:?}");
    }
}

#[test]
fn each_shell_gets_its_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = run(&["completions", shell]);
        assert_eq!(ran.code, Some(0));
        assert!(ran.stdout.contains("event-router") && ran.stdout.contains("scenario"), "{shell}");
    }
}
