//! The status, again and again; and an inbox that there is not.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use serde_json::Value;

use super::{Desk, MINUTE, steady};
use crate::program::{Ran, program, run};

/// A run of `watch` on the desk, into which an event comes.
fn watch(desk: &Desk, arguments: &[&str], lines: usize) -> (Vec<String>, Option<i32>) {
    let come = || desk.store("evt_new", "invoice.paid", "in_1", &["audit"]);
    watch_at(&desk.url(), arguments, lines, come)
}

/// A run of `watch`, until it has told as much as is asked for; between its first look and the next something comes.
pub(super) fn watch_at(
    url: &str,
    arguments: &[&str],
    lines: usize,
    come: impl Fn(),
) -> (Vec<String>, Option<i32>) {
    let mut command = program(&[&["inbox", "watch", "--inbox", url], arguments].concat());
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut told = Vec::new();
    for _ in 0..lines {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it is UTF-8");
        told.push(steady(line.trim_end()));
        if told.len() == 1 {
            come();
        }
    }
    let kill = Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
    assert!(kill.expect("there is a `kill`").success());
    stdout.read_to_string(&mut String::new()).expect("it is UTF-8");
    (told, child.wait().expect("it ends").code())
}

#[test]
fn who_watches_gets_a_line_each_time_until_it_is_stopped() {
    let (told, code) = watch(&Desk::busy(), &["--every", "100ms"], 3);
    assert_eq!(code, Some(0));
    let first = "TIME  due 1  waiting 3  running 1  dead 1  finished 3  events 7  unhandled 1";
    assert_eq!(told[0], first);
    let last = "TIME  due 2  waiting 4  running 1  dead 1  finished 3  events 8  unhandled 1";
    assert_eq!(told[2], last, "{told:?}");
}

#[test]
fn a_program_that_watches_gets_the_status() {
    let (told, code) = watch(&Desk::empty(MINUTE), &["--every", "100ms", "--json"], 3);
    assert_eq!(code, Some(0));
    let told: Vec<Value> = told.iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!((&told[0]["at"], &told[0]["events"]), (&"TIME".into(), &0.into()));
    assert_eq!(
        (&told[2]["events"], &told[2]["handlers"][0]["handler"]),
        (&1.into(), &"audit".into())
    );
}

#[test]
fn an_inbox_that_there_is_not_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let url = format!("sqlite:{}", path.display());
    let at = |ran: &Ran| ran.stderr.replace(&url, "sqlite:inbox.db");
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
        let ran = run(&[&["inbox"], arguments, &["--inbox", &url]].concat());
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{ran:?}");
        insta::allow_duplicates!(
            insta::assert_snapshot!(at(&ran), @"error: sqlite:inbox.db does not exist; the webhook server creates the inbox's file; say where the inbox is with `--inbox sqlite:FILE`, or set EVENT_ROUTER_INBOX")
        );
    }
    assert!(!path.exists());
    // The environment says it too, and a program without both looks where a server would begin.
    let ran =
        Ran::from(program(&["inbox", "status"]).env("EVENT_ROUTER_INBOX", &url).output().unwrap());
    assert_eq!(at(&ran).matches("sqlite:inbox.db does not exist").count(), 1, "{ran:?}");
    let mut without = program(&["inbox", "status"]);
    let ran = Ran::from(without.current_dir(&folder).output().unwrap());
    assert!(ran.stderr.contains("sqlite:inbox.db does not exist"), "{ran:?}");
}

#[test]
fn what_is_no_inbox_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let url = format!("sqlite:{}", path.display());
    let said = |inbox: &str| {
        let ran = run(&["inbox", "status", "--inbox", inbox]);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{ran:?}");
        ran.stderr.replace(&url, "URL")
    };
    std::fs::write(&path, "dear diary\n".repeat(500)).unwrap();
    insta::assert_snapshot!(said(&url), @"error: URL cannot be opened as an inbox: error returned from database: (code: 26) file is not a database; say where the inbox is with `--inbox sqlite:FILE`, or set EVENT_ROUTER_INBOX");
    std::fs::write(&path, "").unwrap();
    insta::assert_snapshot!(said(&url), @"error: URL is a database that contains no inbox; say where the inbox is with `--inbox sqlite:FILE`, or set EVENT_ROUTER_INBOX");
    insta::assert_snapshot!(said("inbox.db"), @"error: --inbox: write where the inbox is: in a file, `sqlite:inbox.db`; in PostgreSQL, `postgres://user:password@host:5432/database`; or in NATS JetStream, `nats://user:password@host:4222`");
    let said = said("mysql://me:pa55word@127.0.0.1/shop");
    assert!(said.starts_with("error: --inbox: ") && !said.contains("pa55word"), "{said}");
    let mut help = program(&["inbox", "--help"]);
    let help = Ran::from(
        help.env("EVENT_ROUTER_INBOX", "postgres://me:pa55word@host/shop").output().unwrap(),
    );
    assert!(
        help.stdout.contains("EVENT_ROUTER_INBOX") && !help.stdout.contains("pa55word"),
        "{help:?}"
    );
}

#[test]
fn what_cannot_be_asked_of_an_inbox_is_refused_with_the_way_out() {
    let desk = Desk::busy();
    let rows: [(&[&str], &str); 10] = [
        (
            &["show", "evt_x"],
            "the inbox has no event `evt_x`: it never came, or was purged; `event-router inbox list` lists what there is",
        ),
        (
            &["show", "cus_1"],
            "`event-router inbox list --object cus_1` finds the events about an object",
        ),
        (&["retry", "evt_dead", "evt_x"], "the inbox has no event `evt_x`"),
        (&["discard", "evt_x", "--yes"], "the inbox has no event `evt_x`"),
        (&["replay", "evt_dead", "evt_x"], "the inbox has no event `evt_x`"),
        (
            &["retry", "evt_none"],
            "no handler was for evt_none; `event-router inbox replay evt_none --handler NAME` gives it to one",
        ),
        (
            &["retry", "evt_dead", "--handler", "mail"],
            "evt_dead is not for `mail`, but for: audit, orders.fulfil",
        ),
        (&["list", "--state", "unhandled,dead"], "leave out other states and --handler"),
        (
            &["replay", "--handler", "audit"],
            "say which events: by their ids, or by --since, --until or --type",
        ),
        (
            &["replay", "--since", "yesterday"],
            "write how long ago, as in 90min or 2days, or when, as in 2026-11-25T09:00:00Z",
        ),
    ];
    for (arguments, said) in rows {
        let ran = desk.run(arguments);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{ran:?}");
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(said), "{ran:?}");
    }
    // Nothing was changed before the mistake was found.
    assert_eq!(desk.run(&["list", "--state", "dead", "--json"]).json().len(), 1);
}
