//! `inbox pause` and `resume`.

use std::time::Duration;

use router_core::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::{
    MINUTE, TestInbox,
    engine::{Engine, on_each_store},
    in_an_instant, redact,
};
use crate::{
    first_steps::Server,
    program::{CliOutput, program, run},
};

on_each_store!(
    paused_handler_is_in_the_status_until_resumed,
    second_pause_replaces_only_the_note,
    pause_of_unknown_handler_asks_for_confirmation,
    paused_handler_is_not_missing_a_worker,
);

fn paused_handler_is_in_the_status_until_resumed(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    let output = inbox.run(&["pause", "orders.fulfil", "--note", "the warehouse\x1b[2J is down"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    insta::assert_snapshot!(output.stdout, @"paused  orders.fulfil  until `event-router inbox resume orders.fulfil`");
    inbox.run(&["pause", "ledger"]);
    let output = inbox.run(&["status"]);
    insta::assert_snapshot!(in_an_instant(&output.stdout), @r"
    handler             due    late   waiting   running      dead  oldest
    audit                 -       -         -         -         -
    ledger                1      3m         2         -         -      3m  paused
    mail                  -       -         -         1         -      3m
    orders.fulfil         -       -         1         -         1      1h  paused

    7 events, 1 unhandled
    3 deliveries finished (done, ignored or discarded)
    2 handlers paused
      ledger         just now
      orders.fulfil  just now: the warehouse�[2J is down
    2 workers running
      shop-1  4 handlers
      shop-2  4 handlers
    ");
    assert!(
        output.stderr.contains("help: deliveries of paused handlers wait until "),
        "{output:?}"
    );
    let line = &inbox.run(&["status", "--json"]).json()[0];
    let paused: Vec<_> =
        line["handlers"].as_array().unwrap().iter().map(|h| &h["paused"]).collect();
    assert_eq!(paused, [false, true, false, true]);
    assert_eq!(
        redact(&line["paused"].to_string()),
        r#"[{"handler":"ledger","note":null,"paused_at":"TIME"},{"handler":"orders.fulfil","note":"the warehouse\u001b[2J is down","paused_at":"TIME"}]"#
    );

    let output = inbox.run(&["resume", "orders.fulfil"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    insta::assert_snapshot!(in_an_instant(&output.stdout), @"resumed  orders.fulfil  paused just now");
    let output = inbox.run(&["resume", "orders.fulfil"]);
    assert_eq!(output.code, Some(1));
    insta::assert_snapshot!(output.stdout, @"unchanged  orders.fulfil  is not paused");
    insta::assert_snapshot!(output.stderr, @"help: paused handlers: ledger");
    let output = inbox.run(&["resume", "ledger", "--json"]);
    let resumed = json!({"handler": "ledger", "paused": false, "was_paused": true});
    assert_eq!((output.code, output.json()), (Some(0), vec![resumed]));
    let output = inbox.run(&["resume", "ledger", "--json"]);
    let unchanged = json!({"handler": "ledger", "paused": false, "was_paused": false});
    assert_eq!((output.code, output.json()), (Some(1), vec![unchanged]));
    assert_eq!(inbox.run(&["status", "--json"]).json()[0]["paused"], json!([]));
}

fn second_pause_replaces_only_the_note(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    inbox.run(&["pause", "mail", "--note", "SMTP is down"]);
    inbox.clock.advance(MINUTE);
    let output = inbox.run(&["pause", "mail"]);
    assert_eq!(output.code, Some(0));
    insta::assert_snapshot!(in_an_instant(&output.stdout), @"already paused  mail  just now");
    let note = || inbox.run(&["status", "--json"]).json()[0]["paused"][0]["note"].clone();
    assert_eq!(note(), "SMTP is down");
    let output = inbox.run(&["pause", "mail", "--note", "SMTP is moved"]);
    insta::assert_snapshot!(in_an_instant(&output.stdout), @"already paused  mail  just now; the note was replaced");
    assert_eq!(note(), "SMTP is moved");
    let output = inbox.run(&["pause", "mail", "--json"]);
    assert_eq!(output.json(), [json!({"handler": "mail", "paused": true, "was_paused": true})]);
}

/// The handler is either new or misspelled.
fn pause_of_unknown_handler_asks_for_confirmation(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    let output = inbox.run(&["pause", "fulfil"]);
    assert_eq!((output.code, &*output.stdout), (Some(2), ""));
    insta::assert_snapshot!(output.stderr, @"error: handler `fulfil` has no deliveries in this inbox (handlers with deliveries: audit, ledger, mail, orders.fulfil); about to pause fulfil: standard input is not a terminal; pass --yes to confirm");
    assert_eq!(inbox.run(&["status", "--json"]).json()[0]["paused"], json!([]));
    let output = inbox.run(&["pause", "two words", "--yes"]);
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains("a handler's name"), "{output:?}");
    let output = inbox.run(&["pause", "search", "--yes"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(inbox.run(&["status", "--json"]).json()[0]["paused"][0]["handler"], "search");
}

/// A paused handler needs no worker until it is resumed.
fn paused_handler_is_not_missing_a_worker(engine: impl Engine) {
    let inbox = TestInbox::empty(engine, MINUTE);
    inbox.store("evt_1", "invoice.paid", "in_1", &["mail"]);
    assert!(inbox.run(&["status"]).stderr.contains("no worker is running"));
    inbox.run(&["pause", "mail"]);
    let output = inbox.run(&["status"]);
    assert!(!output.stderr.contains("worker"), "{output:?}");
}

#[test]
fn pause_creates_no_inbox() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let url = format!("sqlite:{}", path.display());
    for (url, expected) in
        [(&*url, "does not exist"), ("inbox.db", "--inbox: expected `sqlite:FILE`")]
    {
        for arguments in [&["pause", "mail", "--yes"][..], &["resume", "mail"]] {
            let output = run(&[&["inbox"], arguments, &["--inbox", url]].concat());
            assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{output:?}");
            assert!(output.stderr.contains(expected), "{output:?}");
        }
    }
    assert!(!path.exists());
}

/// Runs `inbox status` until the condition holds.
fn wait_for_status(url: &str, condition: impl Fn(&Value) -> bool) -> Value {
    let deadline = SystemClock.monotonic() + Duration::from_secs(60);
    loop {
        let output = run(&["inbox", "status", "--json", "--inbox", url]);
        let status = output.json().remove(0);
        if condition(&status) {
            return status;
        }
        assert!(SystemClock.monotonic() < deadline, "the status does not change: {status}");
    }
}

#[test]
fn worker_of_another_process_notices_pause_and_resume() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    let url = format!("sqlite:{}/inbox.db", folder.path().display());
    let pause = ["pause", "payments.succeeded", "--note", "the bank is down", "--yes"];
    let output = run(&[&["inbox"], &pause[..], &["--inbox", &url]].concat());
    assert_eq!(output.code, Some(0), "{output:?}");
    server.wait_for_log("an operator has paused the handler");
    let send = |event_type: &str| {
        let mut send = program(&["send", event_type, "--to", &server.url]);
        let output: CliOutput = send.env_remove("STRIPE_WEBHOOK_SECRET").output().unwrap().into();
        assert_eq!(output.code, Some(0), "{output:?}");
    };
    send("payment_intent.succeeded");
    send("payment_method.attached");
    // The mirror handles both events.
    let status = wait_for_status(&url, |status| status["finished"] == 3);
    let succeeded = status["handlers"].as_array().unwrap().iter();
    let succeeded = succeeded.clone().find(|handler| handler["handler"] == "payments.succeeded");
    assert_eq!(succeeded.unwrap()["waiting"]["number"], 1, "{status}");
    let output = run(&["inbox", "resume", "payments.succeeded", "--inbox", &url]);
    assert_eq!(output.code, Some(0), "{output:?}");
    wait_for_status(&url, |status| status["finished"] == 4);
    let log = server.stop();
    let resumed = log.find("an operator has resumed the handler").expect("the resume is logged");
    assert!(log.find("payment succeeded").expect("the handler has run") > resumed, "{log}");
}
