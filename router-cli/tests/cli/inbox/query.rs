//! `inbox status`, `list` and `show`.

use serde_json::json;

use super::{
    MINUTE, TestInbox,
    engine::{Engine, Sqlite, on_each_store},
    redact,
};
use crate::program::CliOutput;

on_each_store!(
    status_counts_deliveries_and_suggests_next_steps,
    status_names_handlers_without_worker,
    status_json_has_all_counts,
    list_groups_deliveries_by_event_newest_first,
    list_can_be_filtered,
    list_json_has_all_fields,
    show_prints_event_and_next_step,
    payload_is_shown_on_request,
);

fn status_counts_deliveries_and_suggests_next_steps(engine: impl Engine) {
    let output = TestInbox::busy(engine).run(&["status"]);
    assert_eq!(output.code, Some(0));
    insta::assert_snapshot!(output.stdout, @r"
    handler             due    late   waiting   running      dead  oldest
    audit                 -       -         -         -         -
    ledger                1      3m         2         -         -      3m
    mail                  -       -         -         1         -      3m
    orders.fulfil         -       -         1         -         1      1h

    7 events, 1 unhandled
    3 deliveries finished (done, ignored or discarded)
    2 workers running
      shop-1  4 handlers
      shop-2  4 handlers
    ");
    insta::assert_snapshot!(output.stderr, @r"
    help: 1 dead letter will not be retried automatically: `event-router inbox list --state dead` shows why; then run `retry`, `replay` or `discard`
    help: no handler matched 1 event: see `event-router inbox list --state unhandled`; `event-router inbox replay EVENT --handler NAME` delivers one to a handler
    ");
}

fn status_names_handlers_without_worker(engine: impl Engine) {
    let inbox = TestInbox::empty(engine, MINUTE * 5);
    let output = inbox.run(&["status"]);
    insta::assert_snapshot!(output.stdout, @r"
    the inbox is empty
    0 workers running
    ");
    assert_eq!(output.stderr, "");
    inbox.store("evt_1", "invoice.paid", "in_1", &["audit", "ledger", "mail"]);
    insta::assert_snapshot!(inbox.run(&["status"]).stderr, @"help: no worker is running: start the program that calls `inbox.worker(…).run(…)`");
    inbox.claim("mail", MINUTE * 10);
    inbox.report_worker("shop-1", &["ledger"]);
    insta::assert_snapshot!(inbox.run(&["status"]).stderr, @"help: no running worker has the handlers `audit`, `mail`: start the program that has them. If one was renamed, add `formerly` to it; if one was removed, `event-router inbox list --handler NAME` shows the deliveries to discard");
    inbox.report_worker("shop-10", &["mail", "orders.fulfil"]);
    insta::assert_snapshot!(inbox.run(&["status"]).stderr, @r#"help: no running worker has the handler `audit`: start the program that has it. If the handler was renamed, add `formerly = "audit"` to it; if it was removed, `event-router inbox list --handler audit` shows the deliveries to discard"#);
    inbox.report_worker("shop-2", &["audit"]);
    let output = inbox.run(&["status"]);
    assert_eq!(output.stderr, "");
    insta::assert_snapshot!(output.stdout, @r"
    handler       due    late   waiting   running      dead  oldest
    audit           1      5m         1         -         -      5m
    ledger          1      5m         1         -         -      5m
    mail            -       -         -         1         -      5m

    1 event
    0 deliveries finished (done, ignored or discarded)
    3 workers running
      shop-1   1 handler
      shop-10  2 handlers
      shop-2   1 handler
    ");
}

fn status_json_has_all_counts(engine: impl Engine) {
    let output = TestInbox::busy(engine).run(&["status", "--json"]);
    let line = &output.json()[0];
    assert_eq!(
        (&line["events"], &line["unhandled"], &line["finished"]),
        (&json!(7), &json!(1), &json!(3))
    );
    let ledger = &line["handlers"][1];
    assert_eq!((&ledger["handler"], &ledger["due"]), (&json!("ledger"), &json!(1)));
    assert_eq!(ledger["waiting"]["number"], 2);
    let seconds = ledger["oldest_due_seconds"].as_f64().unwrap();
    assert!((180.0..240.0).contains(&seconds), "{seconds}");
    assert_eq!(line["handlers"][0]["oldest_due_seconds"], json!(null));
    let handlers = ["audit", "ledger", "mail", "orders.fulfil"];
    assert_eq!(line["workers"][1], json!({"name": "shop-2", "handlers": handlers}));
    let seconds = ledger["waiting"]["oldest_seconds"].as_f64().unwrap();
    assert!((180.0..240.0).contains(&seconds), "{seconds}");
    assert_eq!(ledger["dead"], json!({"number": 0, "oldest_seconds": null}));
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
}

fn list_groups_deliveries_by_event_newest_first(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    let output = inbox.run(&["list"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    insta::assert_snapshot!(output.stdout, @r"
    invoice.paid  evt_runs  in_3  3m ago
      running    mail  attempt 1, lease expires in 29m
    customer.updated  evt_second  cus_1  3m ago
      waiting    ledger  blocked by an older event of its object
    customer.updated  evt_first  cus_1  3m ago
      waiting    ledger  due for 3m, not attempted yet
    invoice.paid  evt_waits  in_2  1h ago
      waiting    orders.fulfil  due in 14m, after 1 attempt
                   the warehouse is down
    charge.failed  evt_dead  ch_1  2h ago
      dead       orders.fulfil  2h ago, after 2 attempts
                   no such order: 6735
                   see the runbook
      done       audit  2h ago
    invoice.paid  evt_done  in_1  3h ago
      ignored    orders.fulfil  3h ago
      done       audit  3h ago
    ");
    let output = inbox.run(&["list", "--limit", "2"]);
    // The numbers differ between the engines.
    let second = inbox.run(&["list", "--json"]).json()[1]["number"].to_string();
    let expected = format!("stopped after 2 entries; continue with --before {second}\n");
    assert_eq!(output.stderr, expected);
    let output = inbox.run(&["list", "--limit", "2", "--before", &second]);
    assert!(output.stdout.starts_with("customer.updated  evt_first"), "{output:?}");
}

fn list_can_be_filtered(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    let rows: [(&[&str], &[&str]); 9] = [
        (&["--state", "dead"], &["evt_dead"]),
        (&["--state", "running,done"], &["evt_runs", "evt_dead", "evt_done"]),
        (&["--state", "ignored"], &["evt_done"]),
        (&["--state", "discarded"], &[]),
        (&["--state", "unhandled"], &["evt_none"]),
        (&["--object", "cus_1"], &["evt_second", "evt_first"]),
        (&["--type", "invoice.*", "--state", "waiting"], &["evt_waits"]),
        (&["--type", "charge.failed", "--handler", "audit"], &["evt_dead"]),
        (&["--type", "invoice.*", "--state", "unhandled"], &[]),
    ];
    for (arguments, events) in rows {
        let output = inbox.run(&[&["list", "--json"], arguments].concat());
        let listed: Vec<_> = output.json().iter().map(|line| line["event"].clone()).collect();
        assert_eq!(listed, events, "{arguments:?}");
        assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{arguments:?}");
    }
    let output = inbox.run(&["list", "--state", "discarded"]);
    assert_eq!((output.code, &*output.stdout), (Some(0), ""));
    insta::assert_snapshot!(output.stderr, @"nothing found; `event-router inbox status` counts the deliveries in the inbox");
}

fn list_json_has_all_fields(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    let output = inbox.run(&["list", "--json", "--state", "dead"]);
    insta::assert_snapshot!(redact_number(&output), @r#"{"number":NUMBER,"event":"evt_dead","type":"charge.failed","object":"ch_1","endpoint":"default","account":null,"generation":0,"stored_at":"TIME","handler":"orders.fulfil","state":"dead","attempts":2,"due_at":null,"blocked":false,"ended_at":"TIME","error":"no such order: 6735\nsee the runbook"}"#);
    let output = inbox.run(&["list", "--json", "--state", "unhandled"]);
    insta::assert_snapshot!(redact_number(&output), @r#"{"number":NUMBER,"event":"evt_none","type":"customer.created","object":"cus_9","endpoint":"default","account":null,"generation":0,"stored_at":"TIME"}"#);
}

fn show_prints_event_and_next_step(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    let output = inbox.run(&["show", "evt_dead"]);
    assert_eq!(output.code, Some(0));
    insta::assert_snapshot!(redact(&output.stdout), @r"
    charge.failed  evt_dead
      object     ch_1
      endpoint   default
      received   2h ago, at TIME
      payload    3688 bytes, API version 2026-10-28.endive
      done       audit  2h ago
          1  TIME  done         0ms  shop-1
      dead       orders.fulfil  2h ago, after 2 attempts
          1  TIME  failed       0ms  shop-1
             the warehouse is down
          2  TIME  dead         0ms  shop-1
             no such order: 6735
             see the runbook
    ");
    insta::assert_snapshot!(output.stderr, @"help: when the cause is fixed, run `event-router inbox retry evt_dead`; if it cannot be fixed, run `event-router inbox discard evt_dead`");
    let output = inbox.run(&["show", "evt_none"]);
    assert!(output.stdout.ends_with("  unhandled: no handler matched\n"), "{output:?}");
    insta::assert_snapshot!(output.stderr, @"help: to deliver it to a handler, run `event-router inbox replay evt_none --handler NAME`");
    let output = inbox.run(&["show", "evt_done"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
}

/// `send` accepts the output of `show --payload --json`.
fn payload_is_shown_on_request(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    let output = inbox.run(&["show", "evt_dead", "--payload"]);
    assert!(output.stdout.contains("\n\n{\n  \"id\": \"evt_dead\",\n"), "{output:?}");
    let output = inbox.run(&["show", "evt_dead", "--payload", "--json"]);
    let server = crate::test_server::TestServer::start();
    let sent =
        crate::program::run_with(&["send", "--file", "-", "--to", &server.url], &output.stdout);
    assert_eq!(server.seen()[0], ("charge.failed".to_owned(), "evt_dead".to_owned()), "{sent:?}");
    let output = inbox.run(&["show", "evt_dead", "--json"]);
    let line = &output.json()[0];
    assert_eq!(line.get("payload"), None);
    assert_eq!((&line["type"], &line["object"]), (&json!("charge.failed"), &json!("ch_1")));
    assert_eq!(line["deliveries"][1]["error"], "no such order: 6735\nsee the runbook");
}

/// A handler's error is untrusted text.
#[test]
fn control_characters_in_errors_are_replaced() {
    let inbox = TestInbox::empty(Sqlite::new(), MINUTE);
    inbox.store("evt_1", "invoice.paid", "in_1", &["mail"]);
    inbox.complete(
        "mail",
        router_inbox::store::DeliveryOutcome::Dead { error: "no\x1b[2J such\r order".into() },
    );
    for arguments in [&["list"][..], &["show", "evt_1"]] {
        let output = inbox.run(arguments);
        assert!(output.stdout.contains("no\u{fffd}[2J such\u{fffd} order"), "{output:?}");
    }
}

/// Replaces the times and the number in one line of JSON.
fn redact_number(output: &CliOutput) -> String {
    let number = &output.json()[0]["number"];
    assert!(number.is_i64(), "{output:?}");
    redact(&output.stdout).replace(&format!("\"number\":{number}"), "\"number\":NUMBER")
}
