//! `inbox watch`, and errors in the request.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use serde_json::Value;

use super::{
    MINUTE, TestInbox,
    engine::{Engine, Sqlite, on_each_store},
    redact,
};
use crate::program::program;

on_each_store!(watch_json_prints_the_status,);

/// Runs `watch` until it has printed a number of lines, and stores an event after the first one.
fn watch(
    inbox: &TestInbox<impl Engine>,
    arguments: &[&str],
    count: usize,
) -> (Vec<String>, Option<i32>) {
    let url = inbox.engine.url();
    let mut command = program(&[&["inbox", "watch", "--inbox", &url], arguments].concat());
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the program runs");
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let mut lines = Vec::new();
    for _ in 0..count {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the output is UTF-8");
        lines.push(redact(line.trim_end()));
        if lines.len() == 1 {
            inbox.store("evt_new", "invoice.paid", "in_1", &["audit"]);
        }
    }
    let kill = Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
    assert!(kill.expect("`kill` is installed").success());
    stdout.read_to_string(&mut String::new()).expect("the output is UTF-8");
    (lines, child.wait().expect("the program exits").code())
}

#[test]
fn watch_prints_a_line_per_refresh_until_ctrl_c() {
    let (lines, code) = watch(&TestInbox::busy(Sqlite::new()), &["--every", "100ms"], 3);
    assert_eq!(code, Some(0));
    let first =
        "TIME  due 1  waiting 3  running 1  dead 1  finished 3  events 7  unhandled 1  workers 2";
    assert_eq!(lines[0], first);
    let last =
        "TIME  due 2  waiting 4  running 1  dead 1  finished 3  events 8  unhandled 1  workers 2";
    assert_eq!(lines[2], last, "{lines:?}");
}

fn watch_json_prints_the_status(engine: impl Engine) {
    let (lines, code) =
        watch(&TestInbox::empty(engine, MINUTE), &["--every", "100ms", "--json"], 3);
    assert_eq!(code, Some(0));
    let lines: Vec<Value> = lines.iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!((&lines[0]["at"], &lines[0]["events"]), (&"TIME".into(), &0.into()));
    assert_eq!(
        (&lines[2]["events"], &lines[2]["handlers"][0]["handler"]),
        (&1.into(), &"audit".into())
    );
}

#[test]
fn invalid_request_names_the_fix() {
    let inbox = TestInbox::busy(Sqlite::new());
    let rows: [(&[&str], &str); 11] = [
        (
            &["show", "evt_x"],
            "the inbox has no event `evt_x`: it was never received, or it was purged; `event-router inbox list` lists the stored events",
        ),
        (
            &["show", "cus_1"],
            "`event-router inbox list --object cus_1` lists the events about an object",
        ),
        (&["retry", "evt_dead", "evt_x"], "the inbox has no event `evt_x`"),
        (&["discard", "evt_x", "--yes"], "the inbox has no event `evt_x`"),
        (&["replay", "evt_dead", "evt_x"], "the inbox has no event `evt_x`"),
        (
            &["retry", "evt_none"],
            "evt_none is unhandled and has no deliveries; to deliver it, run `event-router inbox replay evt_none --handler NAME`",
        ),
        (
            &["retry", "evt_dead", "--handler", "mail"],
            "evt_dead has no delivery for `mail`; its handlers are: audit, orders.fulfil",
        ),
        (&["list", "--state", "unhandled,dead"], "remove the other states, --handler and --error"),
        (
            &["replay", "--handler", "audit"],
            "no events selected; pass event ids, or --since, --until or --type",
        ),
        (
            &["replay", "evt_dead", "--handler", "two words"],
            "a handler's name must be a single word without white space",
        ),
        (
            &["replay", "--since", "yesterday"],
            "expected a duration, as in 90min or 2days, or a time, as in 2026-11-25T09:00:00Z",
        ),
    ];
    for (arguments, expected) in rows {
        let output = inbox.run(arguments);
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{output:?}");
        assert!(
            output.stderr.starts_with("error: ") && output.stderr.contains(expected),
            "{output:?}"
        );
    }
    // Nothing was changed.
    assert_eq!(inbox.run(&["list", "--state", "dead", "--json"]).json().len(), 1);
}
