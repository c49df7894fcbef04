//! Commands that need no server: `events`, `sample`, `sign`, `completions` and `--help`.

use router_core::{
    SigningSecret,
    signature::{Tolerance, sign, verify},
};
use std::time::{Duration, UNIX_EPOCH};

use crate::program::{SECRET, run, run_with};

#[test]
fn help_lists_commands_examples_and_exit_codes() {
    let output = run(&["--help"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    insta::assert_snapshot!(output.stdout, @r"
    Make a Stripe webhook server, test it offline, and operate its inbox.

    Makes the crate of a webhook server; sends events to your server, signed as Stripe signs them;
    explains why a signature is rejected; and shows, retries, replays and discards the events in a
    server's inbox, and pauses its handlers. Only `reconcile` and `doctor` need a Stripe account.

    Usage: event-router [OPTIONS] <COMMAND>

    Commands:
      new          Make a crate with a webhook server that is ready to go live
      send         Send events to a webhook server, signed as Stripe signs them
      scenario     Send a realistic sequence of related events
      sample       Print a sample event as Stripe would send it
      events       List Stripe's event types and the objects they carry
      sign         Print the `Stripe-Signature` header for a request body
      verify       Verify a signature, and explain why it is invalid
      inbox        Show, retry, replay, discard or erase the events in an inbox, or pause its handlers
      reconcile    Catch up on the events that Stripe could not deliver
      doctor       Compare the events that a program handles with those that Stripe sends
      completions  Generate a shell completion script
      help         Print this message or the help of the given subcommand(s)

    Options:
          --json
              Print JSON, one value per line

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Examples:
      event-router new my-shop
      event-router send payment_intent.succeeded
      event-router send invoice.paid --set amount_paid=500 --repeat 100
      event-router scenario subscription-lifecycle
      event-router events 'invoice.*'
      event-router inbox status
      event-router reconcile --inbox sqlite:inbox.db --to https://shop.example/webhook
      event-router doctor --routes routes.json

    Exit codes:
        0  success: every answer was 2xx, the signature is valid, the inbox was read or changed
        1  an answer was not 2xx or reports a dead letter; the signature is invalid;
           nothing in the inbox was changed, or its data is damaged; `doctor` has found a fault;
           `reconcile` could not hand over an event
        2  invalid request: unknown option, event type, field, file or event; wrong --inbox
        3  no answer: nothing listens, the request timed out, the inbox is unavailable or busy, or
           Stripe refused the API key
      130  interrupted with Ctrl-C before everything was sent or changed
    ");
    assert_eq!(run(&[]).code, Some(2));
    for command in [
        "send",
        "scenario",
        "sample",
        "events",
        "sign",
        "verify",
        "inbox",
        "reconcile",
        "doctor",
        "completions",
    ] {
        let output = run(&[command, "--help"]);
        assert!(output.stdout.contains("Example"), "{command}: {output:?}");
        assert!(!output.stdout.contains(SECRET), "{command}: {output:?}");
    }
    for command in
        ["status", "list", "show", "retry", "replay", "discard", "purge", "erase", "watch"]
    {
        let output = run(&["inbox", command, "--help"]);
        assert!(
            output.stdout.contains("Example") && output.stdout.contains("With --json"),
            "{output:?}"
        );
    }
}

#[test]
fn events_are_listed_by_pattern_and_by_substring() {
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
    let output = run(&["events", "invoise.*"]);
    assert_eq!((output.code, &*output.stdout), (Some(2), ""));
    insta::assert_snapshot!(output.stderr, @"error: Stripe has no event type `invoise.*`; did you mean `invoice.*`?");
    // Proposes patterns that match, and no prefix, which is an object at best.
    for (pattern, error) in [
        ("invoise", "Stripe has no event type `invoise`; did you mean `invoice.*`?"),
        (
            "v2.core.acount",
            "Stripe has no event type `v2.core.acount`; did you mean `v2.core.account.*`?",
        ),
        (
            "v2.core.account*",
            "`v2.core.account*` is not a pattern: `*` can only be the last part: `customer.*`, `customer.subscription.*`, or `*` alone; did you mean `v2.core.account.*`? `event-router events v2.core.account` lists the 17 types that contain this text",
        ),
        (
            "customer.*.deleted",
            "`customer.*.deleted` is not a pattern: `*` can only be the last part: `customer.*`, `customer.subscription.*`, or `*` alone; `event-router events` lists the event types of API version 2026-10-28.endive",
        ),
        (
            "invoice.paid.*",
            "Stripe has no event type `invoice.paid.*`; did you mean `invoice.paid`?",
        ),
    ] {
        let output = run(&["events", pattern]);
        assert_eq!((output.code, &*output.stdout), (Some(2), ""));
        assert_eq!(output.stderr.trim_end(), format!("error: {error}"));
    }
    insta::assert_snapshot!(run(&["events", "weather"]).stderr, @"error: Stripe has no event type `weather`; `event-router events` lists the event types of API version 2026-10-28.endive");
}

#[test]
fn sample_prints_event_or_object() {
    let output = run(&["sample", "charge.refunded"]);
    assert_eq!(output.code, Some(0));
    assert!(output.stdout.starts_with("{\n  \"id\": \"evt_1"), "{output:?}");
    let object = run(&["sample", "charge.refunded", "--object", "--json"]).json();
    assert_eq!((&object[0]["object"], &object[0]["refunded"]), (&"charge".into(), &true.into()));
    // At Stripe, the object of `account.updated` is the account of the event.
    for (event_type, pointer) in [
        ("account.updated", "/data/object/id"),
        ("capability.updated", "/data/object/account"),
        ("person.created", "/data/object/account"),
        ("account.external_account.created", "/data/object/account"),
        ("v1.account.updated", "/related_object/id"),
        ("v2.core.account.updated", "/related_object/id"),
    ] {
        let event = &run(&["sample", event_type, "--account", "acct_1", "--json"]).json()[0];
        let account =
            if event["object"] == "event" { &event["account"] } else { &event["context"] };
        assert_eq!((account, event.pointer(pointer)), (&"acct_1".into(), Some(&"acct_1".into())));
        let text = event.to_string().replace(r#""acct_1""#, "").replace("/acct_1", "");
        assert!(!text.contains("acct_"), "{event_type} names another account: {event}");
    }
    // Stripe sends these events only for connected accounts.
    for event_type in ["account.application.deauthorized", "account.application.authorized"] {
        let account = |options: &[&str]| {
            let event = &run(&[&["sample", event_type, "--json"], options].concat()).json()[0];
            event["account"].as_str().map(str::to_owned)
        };
        assert!(account(&[]).is_some_and(|account| account.starts_with("acct_1")), "{event_type}");
        assert_eq!(account(&["--account", "acct_1"]).as_deref(), Some("acct_1"));
    }
    // The id depends on the seed only.
    let id = |seed: &str| {
        run(&["sample", "charge.refunded", "--seed", seed, "--json"]).json()[0]["id"].clone()
    };
    assert_eq!(id("1"), id("1"));
    assert_ne!(id("1"), id("2"));
}

#[test]
fn invalid_request_names_the_fix() {
    let rows: [(&[&str], &str); 15] = [
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
            "expected PATH=VALUE, as in `amount=500`",
        ),
        (
            &["sample", "v1.invoice.paid", "--object"],
            "`v1.invoice.paid` is a thin event and carries no object",
        ),
        (&["send", "invoice.paid", "--duplicate", "2"], "expected a number from 0 to 1, as in 0.1"),
        (
            &["send", "invoice.paid", "--rate", "0"],
            "expected a number of at least 0.001, as in 50 or 0.5",
        ),
        (&["send", "invoice.paid", "--rate", "1e-300"], "at least 0.001"),
        (
            &["send", "*", "--repeat", "4000000000"],
            "events exceed the limit of 10000000 events in one run",
        ),
        (
            &["send", "invoice.paid", "--to", "localhost:4242"],
            "--to localhost:4242: `localhost:` is neither http: nor https:; expected a URL, as in http://127.0.0.1:4242/webhook",
        ),
        (
            &["send", "invoice.paid", "customer.source.created", "--twin"],
            "there is no thin event for `customer.source.created`; send it without --twin",
        ),
        (
            &["send", "v1.invoice.paid", "--twin"],
            "`v1.invoice.paid` is a thin event, and --twin adds one to a snapshot event; send it without --twin",
        ),
        (&["send", "invoice.paid", "--twin", "--thin"], "'--twin' cannot be used with '--thin'"),
        (
            &["send", "weather.changed"],
            "Stripe has no event type `weather.changed` in API version 2026-10-28.endive; `event-router events` lists all types, and `event-router send --file FILE` sends events of any type",
        ),
        (
            &["sample", "invoice.*"],
            "expected one event type instead of the pattern `invoice.*`; `event-router events 'invoice.*'` lists those that match",
        ),
        (&["sign", "no-such-file"], "cannot read no-such-file: No such file or directory"),
    ];
    for (arguments, message) in rows {
        let output = run(arguments);
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{output:?}");
        assert!(
            output.stderr.starts_with("error: ") && output.stderr.contains(message),
            "{output:?}"
        );
    }
}

#[test]
fn sign_prints_a_valid_signature() {
    let body = r#"{"id":"evt_1"}"#;
    let secret = SigningSecret::new(SECRET).unwrap();
    let output = run_with(&["sign", "--at", "1700000000"], body);
    let expected = sign(&secret, 1_700_000_000, body.as_bytes());
    assert_eq!((output.code, output.stdout.trim_end()), (Some(0), &*expected));
    let output = run_with(&["sign", "--at", "1700000000", "--json"], body);
    let json = &output.json()[0];
    assert_eq!((&json["header"], &json["timestamp"]), (&expected.into(), &1_700_000_000.into()));
    // The default time is now, so the signature is within the tolerance.
    let header = run_with(&["sign"], body).stdout;
    let then = header.strip_prefix("t=").and_then(|rest| rest.split_once(',')).unwrap().0;
    let then = UNIX_EPOCH + Duration::from_secs(then.parse().unwrap());
    let header = Some(header.trim_end().as_bytes());
    verify(header, body.into(), &secret.into(), Tolerance::default(), then).unwrap();
}

#[test]
fn curl_command_is_quoted_for_the_shell() {
    let output =
        run_with(&["sign", "--at", "1700000000", "--curl", "http://127.0.0.1:4242/it's"], "{}");
    insta::assert_snapshot!(output.stdout, @r#"curl -i 'http://127.0.0.1:4242/it'\''s' -H 'Stripe-Signature: t=1700000000,v1=bf10dda095e07beab0acefea98feb777178fc95ead834011f35f396383943af3' -H 'Content-Type: application/json' --data-binary '@-'"#);
}

#[test]
fn invalid_secret_is_rejected_and_not_printed() {
    for (secret, message) in
        [("sk_test_a1b2c3", "this is an API key"), (" whsec_a1b2c3", "white space")]
    {
        let output = run_with(&["sign", "--secret", secret], "{}");
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.stderr.contains(message) && !output.stderr.contains("a1b2c3"), "{output:?}");
    }
}

#[test]
fn completions_are_generated_for_each_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completions", shell]);
        assert_eq!(output.code, Some(0));
        assert!(
            output.stdout.contains("event-router") && output.stdout.contains("scenario"),
            "{shell}"
        );
    }
}
