//! What is retried, discarded, replayed and purged.

use serde_json::json;

use super::{DAY, Desk, MINUTE};

#[test]
fn what_is_dead_is_retried() {
    let desk = Desk::busy();
    let ran = desk.run(&["retry", "evt_dead"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    insta::assert_snapshot!(ran.stdout, @r"
    left       evt_dead  audit  is done
    retried    evt_dead  orders.fulfil  was dead, after 2 attempts
    ");
    // As the server sees it, whose clock is three minutes behind.
    desk.clock.advance(MINUTE * 10);
    let claim = desk.claim("orders.fulfil", MINUTE);
    assert_eq!((claim.event.unwrap().id(), claim.attempt), ("evt_dead", 1));
    let ran = desk.run(&["retry", "evt_waits", "evt_runs", "--json"]);
    let changed: Vec<_> = ran.json().iter().map(|line| line["changed"].clone()).collect();
    assert_eq!(changed, [true, false]);
    assert_eq!(
        ran.json()[0],
        json!({
            "event": "evt_waits", "endpoint": "default", "account": null, "generation": 0,
            "handler": "orders.fulfil", "was": "waiting", "attempts": 1, "changed": true,
        })
    );
}

#[test]
fn where_nothing_is_changed_it_says_why_and_ends_with_1() {
    let desk = Desk::busy();
    let ran = desk.run(&["retry", "evt_runs"]);
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(ran.stdout, @"left       evt_runs  mail  runs: ask again once it has ended");
    let ran = desk.run(&["retry", "evt_done", "--handler", "audit"]);
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(ran.stdout, @"left       evt_done  audit  is done");
    insta::assert_snapshot!(ran.stderr, @"help: `event-router inbox replay evt_done` has it handled once more");
    let ran = desk.run(&["discard", "evt_done"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(1), ""));
    insta::assert_snapshot!(ran.stdout, @r"
    left       evt_done  audit  is done
    left       evt_done  orders.fulfil  is ignored
    ");
    let ran = desk.run(&["replay", "evt_none"]);
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(ran.stdout, @"left      evt_none  no handler was for it: say with --handler which is to have it");
}

#[test]
fn what_is_discarded_is_asked_about_before() {
    let desk = Desk::busy();
    let ran = desk.run(&["discard", "evt_dead", "evt_waits"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(2), ""));
    insta::assert_snapshot!(ran.stderr, @"error: about to give up 2 deliveries of 2 events: nobody can be asked here, so say --yes if that is right");
    let ran = desk.run(&["discard", "evt_first", "--yes"]);
    assert_eq!(ran.code, Some(0));
    insta::assert_snapshot!(ran.stdout, @"discarded  evt_first  ledger  was waiting, not tried yet");
    // The next of its object goes.
    desk.clock.advance(MINUTE * 10);
    assert_eq!(desk.claim("ledger", MINUTE).event.unwrap().id(), "evt_second");
    let ran = desk.run(&["list", "--state", "discarded", "--json"]);
    assert_eq!(ran.json()[0]["event"], "evt_first");
}

#[test]
fn an_event_is_replayed_for_who_had_it_or_for_another() {
    let desk = Desk::busy();
    let ran = desk.run(&["replay", "evt_done", "evt_dead"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    insta::assert_snapshot!(ran.stdout, @r"
    replayed  evt_done  replay 1, for audit, orders.fulfil
    replayed  evt_dead  replay 1, for audit, orders.fulfil
    ");
    let ran = desk.run(&["replay", "evt_done", "--handler", "audit", "--json"]);
    assert_eq!(ran.json(), [json!({"event": "evt_done", "generation": 2, "handlers": ["audit"]})]);
    let ran = desk.run(&["replay", "evt_none", "--handler", "orders.fulfil"]);
    assert_eq!(ran.stdout, "replayed  evt_none  replay 1, for orders.fulfil\n");
    let ran = desk.run(&["show", "evt_dead"]);
    assert!(ran.stdout.contains("discarded  orders.fulfil"), "a replay stands for it: {ran:?}");
    assert!(ran.stdout.contains("  replay     number 1, just now, at "), "{ran:?}");
}

/// It may be new, and it may be a typo.
#[test]
fn a_handler_that_the_inbox_does_not_know_is_asked_about() {
    let desk = Desk::busy();
    let ran = desk.run(&["replay", "evt_none", "--handler", "orders.fulfill"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(2), ""));
    insta::assert_snapshot!(ran.stderr, @"error: `orders.fulfill` has had no delivery in this inbox (did you mean `orders.fulfil`?); about to have 1 event handled once more, by orders.fulfill: nobody can be asked here, so say --yes if that is right");
    let ran = desk.run(&["replay", "evt_none", "--handler", "search", "--yes"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "replayed  evt_none  replay 1, for search\n"));
    let ran = desk.run(&["list", "--handler", "orders.fulfill"]);
    assert_eq!(ran.code, Some(2));
    insta::assert_snapshot!(ran.stderr, @"error: this inbox has had no delivery for `orders.fulfill`; did you mean `orders.fulfil`?");
}

#[test]
fn a_span_of_events_is_replayed_for_a_new_handler() {
    let desk = Desk::busy();
    let span = ["replay", "--since", "150min", "--type", "invoice.*", "--handler", "audit"];
    let ran = desk.run(&span);
    assert_eq!((ran.code, &*ran.stdout), (Some(2), ""));
    insta::assert_snapshot!(ran.stderr, @"error: about to have 2 events of type `invoice.*` that came in the last 2h 30m handled once more, by audit: nobody can be asked here, so say --yes if that is right");
    let ran = desk.run(&[&span[..], &["--yes"]].concat());
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "2 events replayed\n"));
    let ran = desk.run(&["replay", "--until", "90min", "--yes", "--json"]);
    let told = ran.json();
    assert_eq!(
        told[0],
        json!({"event": "evt_done", "generation": 1, "handlers": ["audit", "orders.fulfil"]})
    );
    assert_eq!(
        told[2],
        json!({"summary": {"replayed": 2, "no_handler": 0, "damaged": 0, "gone": 0}})
    );
    let ran = desk.run(&[
        "replay",
        "--since",
        "2020-01-01T00:00:00Z",
        "--type",
        "customer.created",
        "--yes",
    ]);
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(ran.stdout, @r"
    0 events replayed
    1 event left, that no handler was for: --handler says which is to have them
    ");
}

#[test]
fn what_ended_long_ago_is_purged() {
    let desk = Desk::empty(DAY * 40);
    for number in 0..30 {
        desk.store(&format!("evt_{number}"), "invoice.paid", "in_1", &["audit"]);
        desk.end("audit", router_inbox::DeliveryOutcome::Done);
    }
    desk.store("evt_dead", "invoice.paid", "in_1", &["audit"]);
    desk.end("audit", router_inbox::DeliveryOutcome::Dead { error: "no such order".into() });
    desk.clock.advance(DAY * 20);
    desk.store("evt_since", "invoice.paid", "in_1", &[]);
    let ran = desk.run(&["purge", "--older-than", "30days"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(2), ""));
    insta::assert_snapshot!(ran.stderr, @"error: about to delete, of 31 events that came more than 30days ago, those that ended before then; what is dead or open stays: nobody can be asked here, so say --yes if that is right");
    let ran = desk.run(&["purge", "--older-than", "30days", "--yes"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    insta::assert_snapshot!(ran.stdout, @r"
    30 events deleted
    1 event as old stays: dead, still open, or ended since
    ");
    let ran = desk.run(&["purge", "--older-than", "4days", "--yes", "--json"]);
    assert_eq!(ran.json(), [json!({"deleted": 1, "kept": 1})]);
    assert_eq!(desk.run(&["list", "--json"]).json().len(), 1);
    let ran = desk.run(&["purge", "--older-than", "3days", "--yes"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("four days is the least: Stripe sends an event again"), "{ran:?}");
}
