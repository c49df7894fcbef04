//! `inbox watch`, and errors in the inbox's URL or in the request.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use serde_json::Value;

use super::{MINUTE, TestInbox, redact};
use crate::program::{CliOutput, program, run};

/// Runs `watch` on the inbox, and stores an event after the first line.
fn watch(inbox: &TestInbox, arguments: &[&str], lines: usize) -> (Vec<String>, Option<i32>) {
    let store_event = || inbox.store("evt_new", "invoice.paid", "in_1", &["audit"]);
    watch_at(&inbox.url(), arguments, lines, store_event)
}

/// Runs `watch` until it has printed a number of lines, and calls `after_first` after the first
/// one.
pub(super) fn watch_at(
    url: &str,
    arguments: &[&str],
    count: usize,
    after_first: impl Fn(),
) -> (Vec<String>, Option<i32>) {
    let mut command = program(&[&["inbox", "watch", "--inbox", url], arguments].concat());
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the program runs");
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let mut lines = Vec::new();
    for _ in 0..count {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the output is UTF-8");
        lines.push(redact(line.trim_end()));
        if lines.len() == 1 {
            after_first();
        }
    }
    let kill = Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
    assert!(kill.expect("`kill` is installed").success());
    stdout.read_to_string(&mut String::new()).expect("the output is UTF-8");
    (lines, child.wait().expect("the program exits").code())
}

#[test]
fn watch_prints_a_line_per_refresh_until_ctrl_c() {
    let (lines, code) = watch(&TestInbox::busy(), &["--every", "100ms"], 3);
    assert_eq!(code, Some(0));
    let first =
        "TIME  due 1  waiting 3  running 1  dead 1  finished 3  events 7  unhandled 1  workers 2";
    assert_eq!(lines[0], first);
    let last =
        "TIME  due 2  waiting 4  running 1  dead 1  finished 3  events 8  unhandled 1  workers 2";
    assert_eq!(lines[2], last, "{lines:?}");
}

#[test]
fn watch_json_prints_the_status() {
    let (lines, code) = watch(&TestInbox::empty(MINUTE), &["--every", "100ms", "--json"], 3);
    assert_eq!(code, Some(0));
    let lines: Vec<Value> = lines.iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!((&lines[0]["at"], &lines[0]["events"]), (&"TIME".into(), &0.into()));
    assert_eq!(
        (&lines[2]["events"], &lines[2]["handlers"][0]["handler"]),
        (&1.into(), &"audit".into())
    );
}

#[test]
fn missing_file_is_not_created() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let url = format!("sqlite:{}", path.display());
    let redacted_error = |output: &CliOutput| output.stderr.replace(&url, "sqlite:inbox.db");
    let commands: [&[&str]; 8] = [
        &["status"],
        &["list"],
        &["show", "evt_1"],
        &["retry", "evt_1"],
        &["replay", "evt_1"],
        &["discard", "evt_1", "--yes"],
        &["purge", "--older-than", "30d", "--yes"],
        &["watch"],
    ];
    for arguments in commands {
        let output = run(&[&["inbox"], arguments, &["--inbox", &url]].concat());
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{output:?}");
        insta::allow_duplicates!(
            insta::assert_snapshot!(redacted_error(&output), @"error: sqlite:inbox.db does not exist; the webhook server creates the inbox's file; pass the inbox as `--inbox sqlite:FILE`, or set EVENT_ROUTER_INBOX")
        );
    }
    assert!(!path.exists());
    // The URL can come from the environment. Its default is the server's default.
    let output = CliOutput::from(
        program(&["inbox", "status"]).env("EVENT_ROUTER_INBOX", &url).output().unwrap(),
    );
    assert_eq!(
        redacted_error(&output).matches("sqlite:inbox.db does not exist").count(),
        1,
        "{output:?}"
    );
    let mut without = program(&["inbox", "status"]);
    let output = CliOutput::from(without.current_dir(&folder).output().unwrap());
    assert!(output.stderr.contains("sqlite:inbox.db does not exist"), "{output:?}");
}

#[test]
fn invalid_inbox_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let url = format!("sqlite:{}", path.display());
    let error = |inbox: &str| {
        let output = run(&["inbox", "status", "--inbox", inbox]);
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{output:?}");
        output.stderr.replace(&url, "URL")
    };
    std::fs::write(&path, "dear diary\n".repeat(500)).unwrap();
    insta::assert_snapshot!(error(&url), @"error: URL cannot be opened as an inbox: error returned from database: (code: 26) file is not a database; pass the inbox as `--inbox sqlite:FILE`, or set EVENT_ROUTER_INBOX");
    std::fs::write(&path, "").unwrap();
    insta::assert_snapshot!(error(&url), @"error: URL is a database that contains no inbox; pass the inbox as `--inbox sqlite:FILE`, or set EVENT_ROUTER_INBOX");
    insta::assert_snapshot!(error("inbox.db"), @"error: --inbox: expected `sqlite:FILE`, as in `sqlite:inbox.db`; `postgres://user:password@host:5432/database` for PostgreSQL; or `nats://user:password@host:4222` for NATS JetStream");
    let unknown_scheme = error("mysql://me:pa55word@127.0.0.1/shop");
    assert!(unknown_scheme.starts_with("error: --inbox: "), "{unknown_scheme}");
    assert!(!unknown_scheme.contains("pa55word"), "{unknown_scheme}");
    let mut help = program(&["inbox", "--help"]);
    let help = CliOutput::from(
        help.env("EVENT_ROUTER_INBOX", "postgres://me:pa55word@host/shop").output().unwrap(),
    );
    assert!(
        help.stdout.contains("EVENT_ROUTER_INBOX") && !help.stdout.contains("pa55word"),
        "{help:?}"
    );
}

#[test]
fn damaged_inbox_is_reported_as_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    // The header of a database, and a first page without a type.
    let mut file = b"SQLite format 3\0\x10\0\x01\x01\0\x40\x20\x20".to_vec();
    file.resize(4096, 0);
    (file[47], file[59]) = (4, 1);
    std::fs::write(&path, file).unwrap();
    let url = format!("sqlite:{}", path.display());
    let output = run(&["inbox", "status", "--inbox", &url]);
    assert_eq!((output.code, &*output.stdout), (Some(1), ""), "{output:?}");
    insta::assert_snapshot!(output.stderr.replace(&url, "URL"), @"error: URL cannot be opened as an inbox: error returned from database: (code: 11) database disk image is malformed");
}

#[test]
fn invalid_request_names_the_fix() {
    let inbox = TestInbox::busy();
    let rows: [(&[&str], &str); 10] = [
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
        (&["list", "--state", "unhandled,dead"], "remove the other states and --handler"),
        (
            &["replay", "--handler", "audit"],
            "no events selected; pass event ids, or --since, --until or --type",
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
