//! `inbox erase`.

use std::process::{Command, Stdio};

use router_core::testing::SyntheticEvent;
use router_inbox::{
    Store as _,
    sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection, raw_sql},
    store::{DeliveryOutcome, NewEvent, Operations as _},
};
use serde_json::{Value, json};

use super::{
    DAY, MINUTE, TestInbox, build_event,
    engine::{Engine, Postgres, Sqlite, on_each_store},
    in_an_instant, new_delivery, redact,
};
use crate::program::{CliOutput, program};

on_each_store!(
    events_about_an_object_are_erased,
    events_that_mention_an_object_are_erased_too,
    unfinished_events_are_left_until_they_finish,
    erased_event_is_shown_and_cannot_be_run,
    events_are_erased_by_id,
    unknown_object_is_reported,
    invalid_selections_are_refused,
);

/// The personal data in the events of the customer `cus_1`.
const PERSONAL: [&str; 2] = ["ada@example.org", "Lovelace"];

impl<E: Engine> TestInbox<E> {
    /// Creates an inbox with finished events of the customers `cus_1` and `cus_2`.
    fn with_customers(engine: E) -> Self {
        let inbox = Self::empty(engine, MINUTE * 120);
        inbox.receive(customer("customer.created", "evt_created", "cus_1"), &["audit"]);
        inbox.complete("audit", DeliveryOutcome::Done);
        inbox.receive(customer("customer.updated", "evt_updated", "cus_1"), &["mail"]);
        let error = format!("no mailbox {}", PERSONAL[0]);
        inbox.complete("mail", DeliveryOutcome::Dead { error });
        let charge = SyntheticEvent::new("charge.succeeded").id("evt_charge").set("id", "ch_1");
        inbox.receive(charge.set("customer", "cus_1").set("receipt_email", PERSONAL[0]), &[]);
        inbox.receive(invoice("evt_invoice"), &["audit"]);
        inbox.complete("audit", DeliveryOutcome::Done);
        inbox.receive(customer("customer.updated", "evt_other", "cus_2"), &["audit"]);
        inbox.complete("audit", DeliveryOutcome::Done);
        inbox.advance(MINUTE * 120);
        inbox
    }

    fn receive(&self, event: SyntheticEvent, handlers: &[&str]) {
        let deliveries = handlers.iter().map(|handler| new_delivery(handler, None)).collect();
        let new = [NewEvent::new(build_event(event), deliveries)];
        self.runtime.block_on(self.store.store(&new)).expect("the store works");
    }

    /// Runs a command, and asserts that it prints no personal data.
    fn run_private(&self, arguments: &[&str]) -> CliOutput {
        let output = self.run(arguments);
        for text in PERSONAL {
            assert!(!format!("{output:?}").contains(text), "{arguments:?}: {output:?}");
        }
        output
    }

    /// Returns the ids of the events whose payloads are stored, of those with these ids.
    fn with_payload<'i>(&self, ids: &[&'i str]) -> Vec<&'i str> {
        let is_stored = |id: &&&str| {
            let shown = &self.run(&["show", id, "--payload", "--json"]).json()[0];
            assert_eq!(shown["erased"], json!(shown["payload"] == Value::Null), "{shown}");
            shown["erased"] == false
        };
        ids.iter().filter(is_stored).copied().collect()
    }
}

fn customer(event_type: &str, id: &str, customer: &str) -> SyntheticEvent {
    let event = SyntheticEvent::new(event_type).id(id).set("id", customer);
    event.set("email", PERSONAL[0]).set("name", "Ada Lovelace")
}

fn invoice(id: &str) -> SyntheticEvent {
    let event = SyntheticEvent::new("invoice.paid").id(id).set("id", "in_1");
    event.set("customer", "cus_1").set("customer_email", PERSONAL[0])
}

/// Returns the part of stderr that is the same for all engines.
fn without_copies(stderr: &str) -> String {
    let is_common = |line: &&str| !line.contains(" may still contain copies of the data");
    stderr.lines().filter(is_common).collect::<Vec<_>>().join("\n")
}

const EVENTS: [&str; 5] = ["evt_created", "evt_updated", "evt_charge", "evt_invoice", "evt_other"];

fn events_about_an_object_are_erased(engine: impl Engine) {
    let inbox = TestInbox::with_customers(engine);
    assert_eq!(inbox.with_payload(&EVENTS), EVENTS);
    let erase = ["erase", "--object", "cus_1"];
    let output = inbox.run_private(&erase);
    assert_eq!((output.code, &*output.stdout), (Some(2), ""));
    insta::assert_snapshot!(output.stderr, @"error: about to permanently erase the data of 2 events about `cus_1`, but not of 2 other events that contain this id (pass --mentioned for them): standard input is not a terminal; pass --yes to confirm");
    assert_eq!(inbox.with_payload(&EVENTS), EVENTS);
    let output = inbox.run_private(&[&erase[..], &["--yes"]].concat());
    assert_eq!(output.code, Some(0), "{output:?}");
    insta::assert_snapshot!(output.stdout, @r"
    erased     evt_created
    erased     evt_updated
    2 events erased
    ");
    insta::assert_snapshot!(without_copies(&output.stderr), @"help: 2 other events contain `cus_1` and may have the same personal data, for example in invoices and charges of a customer: to erase it there, run `event-router inbox erase --object cus_1 --mentioned`");
    assert!(output.stderr.contains(" may still contain copies of the data"), "{output:?}");
    assert_eq!(inbox.with_payload(&EVENTS), EVENTS[2..]);
    let output = inbox.run_private(&[&erase[..], &["--yes"]].concat());
    assert_eq!(output.code, Some(0), "{output:?}");
    insta::assert_snapshot!(output.stdout, @r"
    unchanged  evt_created  its data was erased before
    unchanged  evt_updated  its data was erased before
    0 events erased
    2 events unchanged: erased before
    ");
}

fn events_that_mention_an_object_are_erased_too(engine: impl Engine) {
    let inbox = TestInbox::with_customers(engine);
    let erase = ["erase", "--object", "cus_1", "--mentioned"];
    let output = inbox.run_private(&erase);
    assert_eq!((output.code, &*output.stdout), (Some(2), ""));
    insta::assert_snapshot!(output.stderr, @"error: about to permanently erase the data of 4 events that are about `cus_1` or contain this id: standard input is not a terminal; pass --yes to confirm");
    let output = inbox.run_private(&[&erase[..], &["--yes", "--json"]].concat());
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    let lines = output.json();
    let erased = |id: &&str| json!({"event": id, "outcome": "erased"});
    assert_eq!(lines[..4], EVENTS[..4].iter().map(erased).collect::<Vec<_>>());
    let summary = |erased, already_erased| {
        json!({"summary": {"erased": erased, "already_erased": already_erased, "unfinished": 0,
                           "gone": 0, "mentions_left": 0}})
    };
    assert_eq!(lines[4..], [summary(4, 0)]);
    assert_eq!(inbox.with_payload(&EVENTS), ["evt_other"]);
    // An erased event mentions nothing any more.
    let output = inbox.run_private(&[&erase[..], &["--yes", "--json"]].concat());
    assert_eq!((output.code, output.json().last()), (Some(0), Some(&summary(0, 2))));
}

fn unfinished_events_are_left_until_they_finish(engine: impl Engine) {
    let inbox = TestInbox::with_customers(engine);
    inbox.receive(customer("customer.updated", "evt_runs", "cus_1"), &["audit"]);
    inbox.receive(customer("customer.updated", "evt_waits", "cus_1"), &["mail"]);
    let lease = inbox.claim("audit", DAY).lease;
    let erase = ["erase", "--object", "cus_1", "--mentioned", "--yes"];
    let output = inbox.run_private(&erase);
    assert_eq!(output.code, Some(1), "{output:?}");
    insta::assert_snapshot!(output.stdout, @r"
    erased     evt_created
    erased     evt_updated
    erased     evt_charge
    erased     evt_invoice
    unchanged  evt_runs  waiting or running
    unchanged  evt_waits  waiting or running
    4 events erased
    2 events unchanged: a delivery is waiting or running
    ");
    insta::assert_snapshot!(without_copies(&output.stderr), @"help: the data of 2 events remains, because the handlers still need it: run the command again when the deliveries have finished, or discard them first: `event-router inbox discard EVENT…`");
    assert_eq!(
        inbox.with_payload(&["evt_charge", "evt_runs", "evt_waits"]),
        ["evt_runs", "evt_waits"]
    );
    // The handler still gets its payload.
    let done = [(lease, DeliveryOutcome::Done)];
    inbox.runtime.block_on(inbox.store.complete(&done)).expect("the store works");
    let output = inbox.run_private(&erase);
    assert_eq!(output.code, Some(1), "{output:?}");
    insta::assert_snapshot!(without_copies(&output.stderr), @"help: the data of 1 event remains, because the handlers still need it: run the command again when the deliveries have finished, or discard them first: `event-router inbox discard evt_waits`");
    assert_eq!(inbox.run(&["discard", "evt_waits", "--yes"]).code, Some(0));
    let output = inbox.run_private(&erase);
    assert_eq!(output.code, Some(0), "{output:?}");
    insta::assert_snapshot!(output.stdout, @r"
    unchanged  evt_created  its data was erased before
    unchanged  evt_updated  its data was erased before
    unchanged  evt_runs  its data was erased before
    erased     evt_waits
    1 event erased
    3 events unchanged: erased before
    ");
    assert_eq!(without_copies(&output.stderr), "");
    assert_eq!(inbox.with_payload(&["evt_charge", "evt_runs", "evt_waits"]), [""; 0]);
}

fn erased_event_is_shown_and_cannot_be_run(engine: impl Engine) {
    let inbox = TestInbox::with_customers(engine);
    assert!(inbox.run(&["show", "evt_updated"]).stdout.contains(PERSONAL[0]));
    inbox.run_private(&["erase", "--object", "cus_1", "--mentioned", "--yes"]);
    let output = inbox.run_private(&["show", "evt_updated", "--payload"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    insta::assert_snapshot!(in_an_instant(&redact(&output.stdout)), @r"
    customer.updated  evt_updated
      object     cus_1
      endpoint   default
      received   2h ago, at TIME
      payload    erased
      discarded  mail  just now, after 1 attempt
          1  TIME  dead         0ms  shop-1
    ");
    let output = inbox.run_private(&["show", "evt_charge"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    insta::assert_snapshot!(redact(&output.stdout), @r"
    charge.succeeded  evt_charge
      object     ch_1
      endpoint   default
      received   2h ago, at TIME
      payload    erased
      unhandled: no handler matched
    ");
    let output = inbox.run_private(&["show", "evt_invoice", "--payload", "--json"]);
    let line = &output.json()[0];
    assert_eq!((&line["payload"], &line["erased"]), (&Value::Null, &json!(true)), "{line}");
    assert_eq!((&line["type"], &line["object"]), (&json!("invoice.paid"), &json!("in_1")));
    let line = &inbox.run_private(&["show", "evt_invoice", "--json"]).json()[0];
    assert_eq!((line.get("payload"), &line["erased"]), (None, &json!(true)), "{line}");
    let output = inbox.run_private(&["list"]);
    assert_eq!(output.stdout.matches("evt_").count(), 4, "{output:?}");
    let refused = |arguments: &[&str]| {
        let output = inbox.run_private(arguments);
        assert_eq!(output.code, Some(1), "{output:?}");
        format!("{}{}", output.stdout, output.stderr)
    };
    insta::assert_snapshot!(refused(&["retry", "evt_updated"]), @"unchanged  evt_updated  mail  its data was erased");
    insta::assert_snapshot!(refused(&["retry", "evt_invoice"]), @"unchanged  evt_invoice  audit  is done");
    insta::assert_snapshot!(refused(&["retry", "--object", "cus_1", "--state", "discarded", "--yes"]), @r"
    0 deliveries retried
    1 delivery unchanged: erased, so there is nothing to handle
    ");
    insta::assert_snapshot!(refused(&["replay", "evt_charge", "--handler", "audit"]), @"skipped   evt_charge  its data was erased");
    insta::assert_snapshot!(refused(&["replay", "--type", "invoice.*", "--yes"]), @r"
    0 events replayed
    1 event skipped: erased, so there is nothing to handle
    ");
    insta::assert_snapshot!(refused(&["replay", "evt_invoice", "--json"]), @r#"{"error":"erased","event":"evt_invoice"}"#);
}

fn events_are_erased_by_id(engine: impl Engine) {
    let inbox = TestInbox::with_customers(engine);
    let output = inbox.run_private(&["erase", "evt_charge", "evt_invoice", "evt_nowhere", "--yes"]);
    assert_eq!((output.code, &*output.stdout), (Some(2), ""));
    assert!(output.stderr.contains("the inbox has no event `evt_nowhere`"), "{output:?}");
    assert_eq!(inbox.with_payload(&EVENTS), EVENTS, "nothing was erased");
    let output = inbox.run_private(&["erase", "evt_charge", "evt_invoice"]);
    insta::assert_snapshot!(output.stderr, @"error: about to permanently erase the data of 2 events: standard input is not a terminal; pass --yes to confirm");
    let output = inbox.run_private(&["erase", "evt_charge", "--yes"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let output = inbox.run_private(&["erase", "evt_invoice", "evt_charge", "evt_charge", "--yes"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    insta::assert_snapshot!(output.stdout, @r"
    unchanged  evt_charge  its data was erased before
    erased     evt_invoice
    1 event erased
    1 event unchanged: erased before
    ");
    assert_eq!(inbox.with_payload(&EVENTS), ["evt_created", "evt_updated", "evt_other"]);
}

/// The numbers of events are not in the order of their times if the clock was set back.
#[test]
fn events_about_an_object_are_not_counted_as_mentions() {
    let inbox = TestInbox::with_customers(Sqlite::new());
    inbox.runtime.block_on(async {
        let mut connection = SqliteConnection::connect(&inbox.engine.url()).await.unwrap();
        let set_back = "update stripe_inbox_events set stored_at = stored_at - id";
        raw_sql(set_back).execute(&mut connection).await.unwrap();
    });
    let output = inbox.run_private(&["erase", "--object", "cus_1", "--yes", "--json"]);
    let lines = output.json();
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!(
        (&summary["erased"], &summary["mentions_left"]),
        (&json!(2), &json!(2)),
        "{lines:?}"
    );
}

fn unknown_object_is_reported(engine: impl Engine) {
    let inbox = TestInbox::with_customers(engine);
    let nothing = |arguments: &[&str]| {
        let output = inbox.run_private(&[&["erase", "--yes"], arguments].concat());
        assert_eq!((output.code, &*output.stdout), (Some(1), ""), "{output:?}");
        output.stderr
    };
    insta::assert_snapshot!(nothing(&["--object", "cus_3"]), @"the inbox has no event about `cus_3`, and no payload contains this id");
    insta::assert_snapshot!(nothing(&["--object", "cus_", "--mentioned"]), @"the inbox has no event about `cus_`, and no payload contains this id");
    inbox.receive(invoice("evt_2").set("customer", "cus_3"), &[]);
    insta::assert_snapshot!(nothing(&["--object", "cus_3"]), @"the inbox has no event about `cus_3`, but 1 other event contains this id; to erase the data there, pass --mentioned");
    assert_eq!(inbox.with_payload(&EVENTS), EVENTS);
    let output = inbox.run_private(&["erase", "--object", "cus_3", "--mentioned", "--yes"]);
    assert_eq!((output.code, &*output.stdout), (Some(0), "erased     evt_2\n1 event erased\n"));
}

fn invalid_selections_are_refused(engine: impl Engine) {
    let inbox = TestInbox::with_customers(engine);
    for arguments in [
        &["erase", "--yes"][..],
        &["erase", "--yes", "--object", ""],
        &["erase", "--yes", "--mentioned"],
        &["erase", "--yes", "evt_charge", "--mentioned"],
        &["erase", "--yes", "evt_charge", "--object", "cus_1"],
    ] {
        let output = inbox.run_private(arguments);
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{output:?}");
    }
    assert_eq!(inbox.with_payload(&EVENTS), EVENTS);
}

/// A hangup ends the process at once.
#[test]
fn erased_events_are_printed_before_the_command_is_killed() {
    let inbox = TestInbox::empty(Sqlite::new(), MINUTE * 10);
    for number in 0..250 {
        inbox.receive(invoice(&format!("evt_{number}")), &[]);
    }
    let url = inbox.engine.url();
    let mut command = program(&["inbox", "erase", "--object", "in_1", "--yes", "--inbox", &url]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let is_erased = |id: &str| inbox.runtime.block_on(inbox.store.show(id)).unwrap()[0].is_erased();
    while !is_erased("evt_100") {
        assert!(child.try_wait().unwrap().is_none(), "the command is running");
    }
    child.kill().unwrap();
    let output = CliOutput::from(child.wait_with_output().unwrap());
    assert_eq!(output.code, None, "{output:?}");
    assert!(erased_ids(&output).len() >= 100, "{output:?}");
}

#[test]
fn interrupted_erase_is_continued() {
    let inbox = TestInbox::empty(Sqlite::new(), MINUTE * 10);
    let event = |number| SyntheticEvent::new("charge.failed").id(format!("evt_{number}"));
    let new =
        |number| NewEvent::new(build_event(event(number).set("customer", "cus_1")), Vec::new());
    let many: Vec<_> = (0..3_000).map(new).collect();
    inbox.runtime.block_on(inbox.store.store(&many)).unwrap();
    let url = inbox.engine.url();
    let arguments =
        ["inbox", "erase", "--object", "cus_1", "--mentioned", "--yes", "--inbox", &url];
    let mut command = program(&arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let is_erased = |id: &str| inbox.runtime.block_on(inbox.store.show(id)).unwrap()[0].is_erased();
    while !is_erased("evt_0") {
        assert!(child.try_wait().unwrap().is_none(), "the command is running");
    }
    let kill = Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
    assert!(kill.unwrap().success());
    let output = CliOutput::from(child.wait_with_output().unwrap());
    assert_eq!(output.code, Some(130), "{output:?}");
    let mut erased = erased_ids(&output);
    let first = erased.len();
    assert!((1..3_000).contains(&first), "{first}");
    assert!(output.stdout.ends_with(&format!("\n{first} events erased\n")), "{output:?}");
    let rest = 3_000 - first;
    let interrupted = format!("interrupted: {rest} of 3000 events were not processed\n");
    assert!(output.stderr.starts_with(&interrupted), "{output:?}");
    let output = CliOutput::from(program(&arguments).output().unwrap());
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(erased_ids(&output).len(), rest, "events that were erased mention nothing");
    erased.extend(erased_ids(&output));
    erased.sort_unstable();
    erased.dedup();
    assert_eq!(erased.len(), 3_000, "each event is printed by the run that erased it");
}

/// The outcome of a failed batch is unknown: the connection may be lost after the commit.
#[test]
fn failed_batch_is_reported_as_unknown() {
    let inbox = TestInbox::empty(Sqlite::new(), MINUTE * 10);
    for number in 0..150 {
        inbox.receive(invoice(&format!("evt_{number}")), &[]);
    }
    inbox.runtime.block_on(async {
        let mut connection = SqliteConnection::connect(&inbox.engine.url()).await.unwrap();
        let fail = "create trigger fail before update on stripe_inbox_events
                    when new.event_id = 'evt_149' begin select raise(abort, 'failed'); end";
        raw_sql(fail).execute(&mut connection).await.unwrap();
    });
    let output = inbox.run_private(&["erase", "--object", "in_1", "--yes"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    assert_eq!(erased_ids(&output).len(), 100);
    let unknown = "warning: 50 further events may have been erased without being printed; the next \
                   run prints only those that are about the object or named by their ids\nerror: ";
    assert!(output.stderr.starts_with(unknown), "{output:?}");
}

/// Returns the events that a run has erased.
fn erased_ids(output: &CliOutput) -> Vec<String> {
    let lines = output.stdout.lines();
    lines.filter_map(|line| line.strip_prefix("erased     ")).map(str::to_owned).collect()
}

/// Returns the statements in the last pair of these quotes in the advice about copies.
fn advised(output: &CliOutput, start: &str, end: char) -> String {
    let (_, rest) = output.stderr.rsplit_once(start).expect("there is an advice");
    rest.split(end).next().expect("the advice is quoted").to_owned()
}

/// A server has the file open while the operator executes the advice.
#[test]
fn advised_vacuum_removes_data_from_sqlite_files() {
    let inbox = TestInbox::with_customers(Sqlite::new());
    let found = || {
        let files = std::fs::read_dir(inbox.engine.folder.path()).unwrap();
        let files = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        let text = PERSONAL[0].as_bytes();
        files
            .map(|file| file.windows(text.len()).filter(|part| *part == text).count())
            .sum::<usize>()
    };
    let output = inbox.run_private(&["erase", "--object", "cus_1", "--mentioned", "--yes"]);
    // The other customer of the test has the same address.
    inbox.run_private(&["erase", "--object", "cus_2", "--yes"]);
    assert!(found() > 0, "the files contain the data without the advice");
    let path = inbox.engine.folder.path().join("inbox.db").display().to_string();
    assert!(output.stderr.contains(&format!(" '{path}' ")), "{output:?}");
    let statements = advised(&output, &format!("'{path}' '"), '\'');
    inbox.runtime.block_on(async {
        let mut connection = SqliteConnection::connect(&inbox.engine.url()).await.unwrap();
        raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await.unwrap();
    });
    assert_eq!(found(), 0);
    inbox.receive(invoice("evt_new"), &["audit"]);
    assert_eq!(inbox.run(&["list"]).code, Some(0), "the inbox is still usable");
}

#[test]
fn advised_vacuum_is_valid_in_postgres() {
    let Some(engine) = Postgres::start() else { return };
    let inbox = TestInbox::with_customers(engine);
    let output = inbox.run_private(&["erase", "--object", "cus_1", "--mentioned", "--yes"]);
    let statements = [advised(&output, "run `", '`'), advised(&output, "then `", '`')];
    assert!(output.stderr.contains("as the owner of the database"), "{output:?}");
    inbox.runtime.block_on(async {
        let mut connection = PgConnection::connect(&inbox.engine.url()).await.unwrap();
        for statement in statements {
            assert!(statement.starts_with("vacuum "), "{statement}");
            raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        }
    });
    assert_eq!(inbox.run(&["list"]).code, Some(0));
}
