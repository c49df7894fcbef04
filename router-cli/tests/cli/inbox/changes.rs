//! `inbox retry`, `discard`, `replay` and `purge`.

use serde_json::json;

use super::{
    DAY, MINUTE, TestInbox,
    engine::{Engine, on_each_store},
    in_an_instant,
};

on_each_store!(
    dead_delivery_is_retried,
    nothing_changed_prints_reasons_and_exits_with_1,
    discard_asks_for_confirmation,
    replay_is_for_original_or_given_handlers,
    replay_for_unknown_handler_asks_for_confirmation,
    events_of_a_time_span_are_replayed,
    events_finished_long_ago_are_purged,
);

fn dead_delivery_is_retried(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    let output = inbox.run(&["retry", "evt_dead"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    insta::assert_snapshot!(output.stdout, @r"
    unchanged  evt_dead  audit  is done
    retried    evt_dead  orders.fulfil  was dead, after 2 attempts
    ");
    // The store's clock is three minutes behind the program's.
    inbox.advance(MINUTE * 10);
    let claim = inbox.claim("orders.fulfil", MINUTE);
    assert_eq!((claim.event.unwrap().id(), claim.attempt), ("evt_dead", 1));
    let output = inbox.run(&["retry", "evt_waits", "evt_runs", "--json"]);
    let changed: Vec<_> = output.json().iter().map(|line| line["changed"].clone()).collect();
    assert_eq!(changed, [true, false]);
    assert_eq!(
        output.json()[0],
        json!({
            "event": "evt_waits", "endpoint": "default", "account": null, "generation": 0,
            "handler": "orders.fulfil", "was": "waiting", "attempts": 1, "changed": true,
        })
    );
}

fn nothing_changed_prints_reasons_and_exits_with_1(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    let output = inbox.run(&["retry", "evt_runs"]);
    assert_eq!(output.code, Some(1));
    insta::assert_snapshot!(output.stdout, @"unchanged  evt_runs  mail  is running; try again when the attempt has ended");
    let output = inbox.run(&["retry", "evt_done", "--handler", "audit"]);
    assert_eq!(output.code, Some(1));
    insta::assert_snapshot!(output.stdout, @"unchanged  evt_done  audit  is done");
    insta::assert_snapshot!(output.stderr, @"help: to have it handled again, run `event-router inbox replay evt_done`");
    let output = inbox.run(&["discard", "evt_done"]);
    assert_eq!((output.code, &*output.stderr), (Some(1), ""));
    insta::assert_snapshot!(output.stdout, @r"
    unchanged  evt_done  audit  is done
    unchanged  evt_done  orders.fulfil  is ignored
    ");
    let output = inbox.run(&["replay", "evt_none"]);
    assert_eq!(output.code, Some(1));
    insta::assert_snapshot!(output.stdout, @"skipped   evt_none  unhandled; pass --handler to deliver it to a handler");
}

fn discard_asks_for_confirmation(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    let output = inbox.run(&["discard", "evt_dead", "evt_waits"]);
    assert_eq!((output.code, &*output.stdout), (Some(2), ""));
    insta::assert_snapshot!(output.stderr, @"error: about to discard 2 deliveries of 2 events: standard input is not a terminal; pass --yes to confirm");
    let output = inbox.run(&["discard", "evt_first", "--yes"]);
    assert_eq!(output.code, Some(0));
    insta::assert_snapshot!(output.stdout, @"discarded  evt_first  ledger  was waiting, not attempted yet");
    // The next event of the object is no longer blocked.
    inbox.advance(MINUTE * 10);
    assert_eq!(inbox.claim("ledger", MINUTE).event.unwrap().id(), "evt_second");
    let output = inbox.run(&["list", "--state", "discarded", "--json"]);
    assert_eq!(output.json()[0]["event"], "evt_first");
}

fn replay_is_for_original_or_given_handlers(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    let output = inbox.run(&["replay", "evt_done", "evt_dead"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    insta::assert_snapshot!(output.stdout, @r"
    replayed  evt_done  replay 1 for audit, orders.fulfil
    replayed  evt_dead  replay 1 for audit, orders.fulfil
    ");
    let output = inbox.run(&["replay", "evt_done", "--handler", "audit", "--json"]);
    assert_eq!(
        output.json(),
        [json!({"event": "evt_done", "generation": 2, "handlers": ["audit"]})]
    );
    let output = inbox.run(&["replay", "evt_none", "--handler", "orders.fulfil"]);
    assert_eq!(output.stdout, "replayed  evt_none  replay 1 for orders.fulfil\n");
    let output = inbox.run(&["show", "evt_dead"]);
    assert!(
        output.stdout.contains("discarded  orders.fulfil"),
        "the replay supersedes the dead letter: {output:?}"
    );
    let shown = in_an_instant(&output.stdout);
    assert!(shown.contains("  replay     number 1, just now, at "), "{output:?}");
}

/// The handler is either new or misspelled.
fn replay_for_unknown_handler_asks_for_confirmation(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    let output = inbox.run(&["replay", "evt_none", "--handler", "orders.fulfill"]);
    assert_eq!((output.code, &*output.stdout), (Some(2), ""));
    insta::assert_snapshot!(output.stderr, @"error: handler `orders.fulfill` has no deliveries in this inbox (did you mean `orders.fulfil`?); about to replay 1 event for orders.fulfill: standard input is not a terminal; pass --yes to confirm");
    let output = inbox.run(&["replay", "evt_none", "--handler", "search", "--yes"]);
    assert_eq!(
        (output.code, &*output.stdout),
        (Some(0), "replayed  evt_none  replay 1 for search\n")
    );
    let output = inbox.run(&["list", "--handler", "orders.fulfill"]);
    assert_eq!(output.code, Some(2));
    insta::assert_snapshot!(output.stderr, @"error: handler `orders.fulfill` has no deliveries in this inbox; did you mean `orders.fulfil`?");
}

fn events_of_a_time_span_are_replayed(engine: impl Engine) {
    let inbox = TestInbox::busy(engine);
    let filter = ["replay", "--since", "150min", "--type", "invoice.*", "--handler", "audit"];
    let output = inbox.run(&filter);
    assert_eq!((output.code, &*output.stdout), (Some(2), ""));
    insta::assert_snapshot!(output.stderr, @"error: about to replay 2 events of type `invoice.*` received in the last 2h 30m for audit: standard input is not a terminal; pass --yes to confirm");
    let output = inbox.run(&[&filter[..], &["--yes"]].concat());
    assert_eq!((output.code, &*output.stdout), (Some(0), "2 events replayed\n"));
    let output = inbox.run(&["replay", "--until", "90min", "--yes", "--json"]);
    let lines = output.json();
    assert_eq!(
        lines[0],
        json!({"event": "evt_done", "generation": 1, "handlers": ["audit", "orders.fulfil"]})
    );
    assert_eq!(
        lines[2],
        json!({"summary": {"replayed": 2, "no_handler": 0, "damaged": 0, "erased": 0, "gone": 0}})
    );
    let output = inbox.run(&[
        "replay",
        "--since",
        "2020-01-01T00:00:00Z",
        "--type",
        "customer.created",
        "--yes",
    ]);
    assert_eq!(output.code, Some(1));
    insta::assert_snapshot!(output.stdout, @r"
    0 events replayed
    1 event skipped: unhandled; pass --handler to deliver to a handler
    ");
}

fn events_finished_long_ago_are_purged(engine: impl Engine) {
    let inbox = TestInbox::empty(engine, DAY * 40);
    for number in 0..30 {
        inbox.store(&format!("evt_{number}"), "invoice.paid", "in_1", &["audit"]);
        inbox.complete("audit", router_inbox::store::DeliveryOutcome::Done);
    }
    inbox.store("evt_dead", "invoice.paid", "in_1", &["audit"]);
    inbox.complete(
        "audit",
        router_inbox::store::DeliveryOutcome::Dead { error: "no such order".into() },
    );
    inbox.advance(DAY * 20);
    inbox.store("evt_since", "invoice.paid", "in_1", &[]);
    let output = inbox.run(&["purge", "--older-than", "30days"]);
    assert_eq!((output.code, &*output.stdout), (Some(2), ""));
    insta::assert_snapshot!(output.stderr, @"error: about to purge 31 events received more than 30days ago, except those that are dead, still open or finished since: standard input is not a terminal; pass --yes to confirm");
    let output = inbox.run(&["purge", "--older-than", "30days", "--yes"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    insta::assert_snapshot!(output.stdout, @r"
    30 events deleted
    1 event kept: dead, still open or finished since
    ");
    let output = inbox.run(&["purge", "--older-than", "4days", "--yes", "--json"]);
    assert_eq!(output.json(), [json!({"deleted": 1, "kept": 1})]);
    assert_eq!(inbox.run(&["list", "--json"]).json().len(), 1);
    let output = inbox.run(&["purge", "--older-than", "3days", "--yes"]);
    assert_eq!(output.code, Some(2));
    assert!(
        output.stderr.contains("the minimum is 4 days: Stripe redelivers an event"),
        "{output:?}"
    );
}
