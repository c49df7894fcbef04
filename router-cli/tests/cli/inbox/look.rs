//! What is told of an inbox.

use serde_json::json;

use super::{Desk, MINUTE, steady};

#[test]
fn the_status_says_what_is_in_need_of_somebody() {
    let ran = Desk::busy().run(&["status"]);
    assert_eq!(ran.code, Some(0));
    insta::assert_snapshot!(ran.stdout, @r"
    handler             due   waiting   running      dead  oldest
    audit                 -         -         -         -
    ledger                1         2         -         -      3m
    mail                  -         -         1         -      3m
    orders.fulfil         -         1         -         1      1h

    7 events, 1 of them for no handler
    3 deliveries finished: done, ignored or discarded
    ");
    insta::assert_snapshot!(ran.stderr, @r"
    help: 1 dead letter will not be tried again by itself: `event-router inbox list --state dead` says why; then `retry`, `replay` or `discard`
    help: 1 event came that no handler was for: `event-router inbox list --state unhandled`; `replay ID --handler NAME` gives one to a handler
    ");
}

#[test]
fn the_status_asks_for_a_server_where_nothing_runs_what_is_due() {
    let desk = Desk::empty(MINUTE * 5);
    let ran = desk.run(&["status"]);
    assert_eq!((&*ran.stdout, &*ran.stderr), ("nothing has been stored yet\n", ""));
    desk.store("evt_1", "invoice.paid", "in_1", &["mail", "audit"]);
    let asked = "help: nothing runs, and there is something due for audit, mail: is a server up that has these handlers?\n";
    assert_eq!(desk.run(&["status"]).stderr, asked);
    desk.claim("mail", MINUTE * 10);
    assert_eq!(desk.run(&["status"]).stderr, "");
}

#[test]
fn the_status_is_for_programs_too() {
    let ran = Desk::busy().run(&["status", "--json"]);
    let told = &ran.json()[0];
    assert_eq!(
        (&told["events"], &told["unhandled"], &told["finished"]),
        (&json!(7), &json!(1), &json!(3))
    );
    let ledger = &told["handlers"][1];
    assert_eq!((&ledger["handler"], &ledger["due"]), (&json!("ledger"), &json!(1)));
    assert_eq!(ledger["waiting"]["number"], 2);
    let seconds = ledger["waiting"]["oldest_seconds"].as_f64().unwrap();
    assert!((180.0..240.0).contains(&seconds), "{seconds}");
    assert_eq!(ledger["dead"], json!({"number": 0, "oldest_seconds": null}));
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
}

#[test]
fn deliveries_are_listed_under_their_events_the_newest_first() {
    let desk = Desk::busy();
    let ran = desk.run(&["list"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    insta::assert_snapshot!(ran.stdout, @r"
    invoice.paid  evt_runs  in_3  3m ago
      running    mail  attempt 1, held for 29m more
    customer.updated  evt_second  cus_1  3m ago
      waiting    ledger  behind an older event of its object
    customer.updated  evt_first  cus_1  3m ago
      waiting    ledger  due since 3m, not tried yet
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
    let ran = desk.run(&["list", "--limit", "2"]);
    insta::assert_snapshot!(ran.stderr, @"these are the newest 2; --before 7 goes on");
    let ran = desk.run(&["list", "--limit", "2", "--before", "7"]);
    assert!(ran.stdout.starts_with("customer.updated  evt_first"), "{ran:?}");
}

#[test]
fn a_list_can_be_of_less() {
    let desk = Desk::busy();
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
        let ran = desk.run(&[&["list", "--json"], arguments].concat());
        let told: Vec<_> = ran.json().iter().map(|line| line["event"].clone()).collect();
        assert_eq!(told, events, "{arguments:?}");
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{arguments:?}");
    }
    let ran = desk.run(&["list", "--state", "discarded"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(0), ""));
    insta::assert_snapshot!(ran.stderr, @"nothing found; `event-router inbox status` counts what there is");
}

#[test]
fn a_list_is_for_programs_too() {
    let desk = Desk::busy();
    let ran = desk.run(&["list", "--json", "--state", "dead"]);
    insta::assert_snapshot!(steady(&ran.stdout), @r#"{"number":4,"event":"evt_dead","type":"charge.failed","object":"ch_1","endpoint":"default","account":null,"generation":0,"stored_at":"TIME","handler":"orders.fulfil","state":"dead","attempts":2,"due_at":null,"blocked":false,"ended_at":"TIME","error":"no such order: 6735\nsee the runbook"}"#);
    let ran = desk.run(&["list", "--json", "--state", "unhandled"]);
    insta::assert_snapshot!(steady(&ran.stdout), @r#"{"number":3,"event":"evt_none","type":"customer.created","object":"cus_9","endpoint":"default","account":null,"generation":0,"stored_at":"TIME"}"#);
}

#[test]
fn an_event_is_shown_with_what_to_do_about_it() {
    let desk = Desk::busy();
    let ran = desk.run(&["show", "evt_dead"]);
    assert_eq!(ran.code, Some(0));
    insta::assert_snapshot!(steady(&ran.stdout), @r"
    charge.failed  evt_dead
      object     ch_1
      endpoint   default
      came       2h ago, at TIME
      payload    3688 bytes
      done       audit  2h ago
      dead       orders.fulfil  2h ago, after 2 attempts
                   no such order: 6735
                   see the runbook
    ");
    insta::assert_snapshot!(ran.stderr, @"help: once what is wrong is put right, `event-router inbox retry evt_dead`; or `discard evt_dead`, if it never will be");
    let ran = desk.run(&["show", "evt_none"]);
    assert!(ran.stdout.ends_with("  no handler was for it\n"), "{ran:?}");
    insta::assert_snapshot!(ran.stderr, @"help: `event-router inbox replay evt_none --handler NAME` gives it to a handler");
    let ran = desk.run(&["show", "evt_done"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
}

/// And `send` takes it as it comes.
#[test]
fn a_payload_is_shown_where_it_is_asked_for() {
    let desk = Desk::busy();
    let ran = desk.run(&["show", "evt_dead", "--payload"]);
    assert!(ran.stdout.contains("\n\n{\n  \"id\": \"evt_dead\",\n"), "{ran:?}");
    let ran = desk.run(&["show", "evt_dead", "--payload", "--json"]);
    let sent = crate::shop::Shop::open();
    let with = crate::program::run_with(&["send", "--file", "-", "--to", &sent.url], &ran.stdout);
    assert_eq!(sent.seen()[0], ("charge.failed".to_owned(), "evt_dead".to_owned()), "{with:?}");
    let ran = desk.run(&["show", "evt_dead", "--json"]);
    let told = &ran.json()[0];
    assert_eq!(told.get("payload"), None);
    assert_eq!((&told["type"], &told["object"]), (&json!("charge.failed"), &json!("ch_1")));
    assert_eq!(told["deliveries"][1]["error"], "no such order: 6735\nsee the runbook");
}

/// What a handler says is somebody else's text.
#[test]
fn an_error_does_nothing_to_a_terminal() {
    let desk = Desk::empty(MINUTE);
    desk.store("evt_1", "invoice.paid", "in_1", &["mail"]);
    desk.end(
        "mail",
        router_inbox::DeliveryOutcome::Dead { error: "no\x1b[2J such\r order".into() },
    );
    for arguments in [&["list"][..], &["show", "evt_1"]] {
        let ran = desk.run(arguments);
        assert!(ran.stdout.contains("no\u{fffd}[2J such\u{fffd} order"), "{ran:?}");
    }
}
