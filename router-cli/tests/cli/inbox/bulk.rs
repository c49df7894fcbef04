//! `inbox retry`, `inbox discard` and `inbox replay` of all that matches the options.

use std::process::{Command, Stdio};

use router_inbox::{
    sqlx::{Connection as _, SqliteConnection, raw_sql},
    store::{DeliveryOutcome, Operations as _},
};
use serde_json::json;

use super::{
    MINUTE, TestInbox,
    engine::{Engine, Sqlite, on_each_store},
};
use crate::program::{CliOutput, program};

on_each_store!(
    matching_deliveries_are_retried,
    matching_deliveries_are_discarded,
    deliveries_are_listed_by_error_and_age,
    invalid_selections_are_refused,
);

fn matching_deliveries_are_retried(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    inbox.store("evt_dead_2", "invoice.paid", "in_9", &["audit"]);
    inbox.complete("audit", DeliveryOutcome::Dead { error: "Timeout of the ledger".into() });
    let output = inbox.run(&["retry", "--state", "dead,waiting,running"]);
    assert_eq!((output.code, &*output.stdout), (Some(2), ""));
    insta::assert_snapshot!(output.stderr, @"error: about to retry 6 deliveries (audit: 1 dead, ledger: 2 waiting, mail: 1 running, orders.fulfil: 1 dead, orders.fulfil: 1 waiting): standard input is not a terminal; pass --yes to confirm");
    assert_eq!(inbox.run(&["list", "--state", "dead", "--json"]).json().len(), 2);
    let dead_invoices = ["retry", "--type", "invoice.*", "--error", "of the ledger"];
    let output = inbox.run(&[&dead_invoices[..], &["--yes"]].concat());
    assert_eq!((output.code, &*output.stdout), (Some(0), "1 delivery retried\n"), "{output:?}");
    let output = inbox.run(&[&dead_invoices[..], &["--yes"]].concat());
    assert_eq!((output.code, &*output.stdout), (Some(1), ""));
    insta::assert_snapshot!(output.stderr, @"nothing found; `event-router inbox list` takes the same options");
    let output = inbox.run(&["retry", "--state", "dead,running", "--yes", "--json"]);
    assert_eq!(output.code, Some(0));
    let lines = output.json();
    assert_eq!(
        lines[0],
        json!({
            "event": "evt_dead", "endpoint": "default", "account": null, "generation": 0,
            "handler": "orders.fulfil", "was": "dead", "attempts": 2, "changed": true,
        })
    );
    assert_eq!((&lines[1]["event"], &lines[1]["changed"]), (&json!("evt_runs"), &json!(false)));
    let summary = json!({
        "retried": 1, "running": 1, "finished": 0, "changed_meanwhile": 0, "superseded": 0,
        "erased": 0, "gone": 0,
    });
    assert_eq!(lines[2], json!({ "summary": summary }));
    inbox.advance(MINUTE * 10);
    assert_eq!(inbox.claim("orders.fulfil", MINUTE).event.unwrap().id(), "evt_dead");
    assert_eq!(inbox.claim("audit", MINUTE).event.unwrap().id(), "evt_dead_2");
}

fn matching_deliveries_are_discarded(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    let output = inbox.run(&["discard", "--object", "ch_1"]);
    assert_eq!((output.code, &*output.stdout), (Some(2), ""));
    insta::assert_snapshot!(output.stderr, @"error: about to discard 1 delivery (orders.fulfil: 1 dead): standard input is not a terminal; pass --yes to confirm");
    let output = inbox.run(&["discard", "--handler", "mail", "--state", "running", "--yes"]);
    assert_eq!(output.code, Some(1), "{output:?}");
    insta::assert_snapshot!(output.stdout, @r"
    0 deliveries discarded
    1 delivery unchanged: running; try again when the attempts have ended
    ");
    let output = inbox.run(&["discard", "--since", "2h", "--state", "waiting,dead", "--yes"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    assert_eq!(output.stdout, "3 deliveries discarded\n");
    let output = inbox.run(&["list", "--state", "discarded", "--json"]);
    let events: Vec<_> = output.json().iter().map(|line| line["event"].clone()).collect();
    assert_eq!(events, ["evt_second", "evt_first", "evt_waits"]);
    assert_eq!(inbox.run(&["list", "--state", "dead", "--json"]).json().len(), 1);
}

fn deliveries_are_listed_by_error_and_age(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    let events = |options: &[&str]| {
        let output = inbox.run(&[&["list", "--json"], options].concat());
        assert_eq!(output.code, Some(0), "{output:?}");
        output.json().iter().map(|line| line["event"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(events(&["--error", "such order: 6735\nsee"]), ["evt_dead"]);
    assert_eq!(events(&["--error", "Such order"]), [""; 0]);
    assert_eq!(events(&["--error", "%"]), [""; 0]);
    assert_eq!(events(&["--error", "is down"]), ["evt_waits"]);
    assert_eq!(events(&["--since", "30min"]), ["evt_runs", "evt_second", "evt_first"]);
    assert_eq!(events(&["--since", "90min", "--state", "unhandled"]), ["evt_none"]);
    assert_eq!(events(&["--since", "2020-01-01T00:00:00Z", "--type", "charge.*"]).len(), 2);
}

fn invalid_selections_are_refused(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    let error = |arguments: &[&str]| {
        let output = inbox.run(&[arguments, &["--yes"]].concat());
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{output:?}");
        output.stderr
    };
    insta::assert_snapshot!(error(&["retry"]), @"error: no deliveries selected; pass event ids, or options such as --state dead or --handler NAME");
    insta::assert_snapshot!(error(&["discard", "evt_dead", "--state", "dead"]), @"error: --state, --type, --object, --since and --error select deliveries of all events; remove them or the event ids");
    insta::assert_snapshot!(error(&["retry", "--state", "unhandled"]), @"error: --state: unhandled events have no deliveries; to deliver one, use `replay`");
    insta::assert_snapshot!(error(&["retry", "--state", "dead,done"]), @"error: --state: finished deliveries are not retried; to have an event handled again, use `replay`");
    insta::assert_snapshot!(error(&["discard", "--state", "discarded"]), @"error: --state: finished deliveries cannot be discarded");
    insta::assert_snapshot!(error(&["discard", "--handler", "orders.fulfill"]), @"error: handler `orders.fulfill` has no deliveries in this inbox; did you mean `orders.fulfil`?");
    // As from an unset variable of a script.
    let empty = error(&["discard", "--error", ""]);
    assert!(empty.contains("a value is required for '--error <TEXT>'"), "{empty}");
    let output = inbox.run(&["list", "--state", "unhandled", "--error", "x"]);
    insta::assert_snapshot!(output.stderr, @"error: --state unhandled lists events without deliveries; remove the other states, --handler and --error");
}

/// The batches before the error have been changed, so the operator must know of them.
#[test]
fn deliveries_changed_before_an_error_are_printed() {
    let inbox = TestInbox::empty(Sqlite::new(), MINUTE * 10);
    inbox.store_many(150, "audit");
    let url = inbox.engine.url();
    inbox.runtime.block_on(async {
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        let trigger = "create trigger full before update on stripe_inbox_deliveries
             when (select count(*) from stripe_inbox_deliveries where state = 5) >= 120
             begin select raise(abort, 'no space'); end";
        raw_sql(trigger).execute(&mut connection).await.unwrap();
    });
    let discard = ["discard", "--state", "waiting", "--yes"];
    let output = inbox.run(&[&discard[..], &["--json"]].concat());
    assert_eq!(output.code, Some(2), "{output:?}");
    let lines = output.json();
    assert_eq!((lines.len(), &lines[100]["summary"]["discarded"]), (101, &json!(100)));
    assert!(output.stderr.contains("no space"), "{output:?}");
    let output = inbox.run(&discard);
    assert_eq!(output.stdout, "0 deliveries discarded\n", "{output:?}");
}

/// The batches before the error have been replayed, and a repeated command replays them again.
#[test]
fn events_replayed_before_an_error_are_printed() {
    let inbox = TestInbox::empty(Sqlite::new(), MINUTE * 10);
    inbox.store_many(150, "audit");
    let url = inbox.engine.url();
    inbox.runtime.block_on(async {
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        let trigger = "create trigger full before insert on stripe_inbox_events
             when (select count(*) from stripe_inbox_events) >= 270
             begin select raise(abort, 'no space'); end";
        raw_sql(trigger).execute(&mut connection).await.unwrap();
    });
    let replay = ["replay", "--type", "invoice.paid", "--yes"];
    let output = inbox.run(&[&replay[..], &["--json"]].concat());
    assert_eq!(output.code, Some(2), "{output:?}");
    let lines = output.json();
    assert_eq!((lines.len(), &lines[100]["summary"]["replayed"]), (101, &json!(100)));
    assert_eq!((&lines[99]["event"], &lines[99]["generation"]), (&json!("evt_99"), &json!(1)));
    assert!(output.stderr.contains("no space"), "{output:?}");
    let output = inbox.run(&replay);
    assert_eq!(output.stdout, "0 events replayed\n", "{output:?}");
}

#[test]
fn interrupted_discard_is_continued() {
    let inbox = TestInbox::empty(Sqlite::new(), MINUTE * 10);
    inbox.store_many(3_000, "audit");
    let url = inbox.engine.url();
    let arguments = ["inbox", "discard", "--state", "waiting", "--yes", "--inbox", &url];
    let mut command = program(&arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let discarded = || inbox.runtime.block_on(inbox.store.status()).unwrap().finished;
    while discarded() == 0 {
        assert!(child.try_wait().unwrap().is_none(), "the command is running");
    }
    let kill = Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
    assert!(kill.unwrap().success());
    let output = CliOutput::from(child.wait_with_output().unwrap());
    assert_eq!(output.code, Some(130), "{output:?}");
    let first = discarded();
    assert!((1..3_000).contains(&first), "{first}");
    assert_eq!(output.stdout, format!("{first} deliveries discarded\n"));
    let rest = 3_000 - first;
    assert_eq!(
        output.stderr,
        format!("interrupted: {rest} of 3000 deliveries were not processed\n")
    );
    let output = CliOutput::from(program(&arguments).output().unwrap());
    assert_eq!((output.code, output.stdout), (Some(0), format!("{rest} deliveries discarded\n")));
    assert_eq!(discarded(), 3_000);
}
