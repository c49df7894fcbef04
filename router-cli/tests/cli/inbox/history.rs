//! The history of a delivery in `show`.

use std::time::Duration;

use router_inbox::{Store as _, store::DeliveryOutcome};
use serde_json::json;

use super::{
    MINUTE, TestInbox,
    engine::{Engine, Sqlite, on_each_store},
    redact,
};

on_each_store!(
    show_prints_a_line_for_each_attempt,
    show_prints_the_last_error_in_full,
    show_json_has_history,
);

const WORKERS: [&str; 2] = ["shop-6f9c7-1-5d41402a", "shop-2b8d1-1-9f86d081"];

fn retry(error: &str) -> DeliveryOutcome {
    DeliveryOutcome::Retry { wait: Duration::ZERO, error: error.to_owned() }
}

fn later(reason: &str) -> DeliveryOutcome {
    let (wait, reason) = (Duration::ZERO, Some(reason.to_owned()));
    DeliveryOutcome::Later { wait, reason, out_of_order: false }
}

impl<E: Engine> TestInbox<E> {
    /// Claims the next delivery of `mail` for a worker, and completes it after some milliseconds.
    fn attempt(&self, worker: &str, millis: u64, outcome: DeliveryOutcome) {
        let lease = self.claim_by(worker, "mail", MINUTE).lease;
        self.advance(Duration::from_millis(millis));
        self.runtime.block_on(self.store.complete(&[(lease, outcome)])).unwrap();
        self.advance(MINUTE);
    }
}

fn show_prints_a_line_for_each_attempt(engine: impl Engine) {
    let inbox = TestInbox::empty(engine, MINUTE * 60);
    inbox.store("evt_1", "invoice.paid", "in_1", &["audit", "mail"]);
    inbox.complete("audit", DeliveryOutcome::Done);
    inbox.attempt(WORKERS[0], 1_250, retry("connection refused"));
    inbox.attempt(WORKERS[1], 30_000, retry("connection refused"));
    inbox.attempt(WORKERS[1], 12, later("no stock yet"));
    inbox.attempt(WORKERS[1], 8, later("no stock yet"));
    // The process of the first worker crashes.
    inbox.claim_by(WORKERS[0], "mail", MINUTE);
    inbox.advance(MINUTE);
    inbox.attempt(WORKERS[1], 20, retry("the attempt was started but never finished"));
    let dead = "attempt 4 of 4 failed: connection refused";
    inbox.attempt(WORKERS[0], 830, DeliveryOutcome::Dead { error: dead.into() });
    let output = inbox.run(&["show", "evt_1"]);
    insta::assert_snapshot!(redact(&output.stdout), @r"
    invoice.paid  evt_1
      object     in_1
      endpoint   default
      received   1h ago, at TIME
      payload    5300 bytes, API version 2026-10-28.endive
      done       audit  1h ago
          1  TIME  done         0ms  shop-1
      dead       mail  53m ago, after 4 attempts
          1  TIME  failed      1.2s  shop-6f9c7-1-5d41402a
             connection refused
          2  TIME  failed       30s  shop-2b8d1-1-9f86d081  same error
          3  TIME  later       12ms  shop-2b8d1-1-9f86d081
             no stock yet
          3  TIME  later        8ms  shop-2b8d1-1-9f86d081  same reason
          3  TIME  failed     1m 0s  shop-6f9c7-1-5d41402a
             the attempt was started but never finished
          4  TIME  dead       830ms  shop-6f9c7-1-5d41402a
             attempt 4 of 4 failed: connection refused
    ");
    assert!(output.stdout.lines().all(|line| line.len() <= 90), "{output:?}");
    // A retried dead letter keeps its history, and a running attempt lasts until now.
    assert_eq!(inbox.run(&["retry", "evt_1"]).code, Some(0));
    // The store's clock is behind that of the program.
    inbox.advance(MINUTE * 60);
    inbox.claim_by(WORKERS[0], "mail", MINUTE * 90);
    let output = inbox.run(&["show", "evt_1"]);
    let attempts: Vec<_> = output.stdout.lines().filter(|line| line.contains(" shop-")).collect();
    let running = attempts.last().unwrap();
    assert!(running.contains(" 1  ") && running.contains("running"), "{output:?}");
    assert_eq!(attempts.len(), 8, "one is of `audit`");
}

/// The history has only the beginning of an error.
fn show_prints_the_last_error_in_full(engine: impl Engine) {
    let inbox = TestInbox::empty(engine, MINUTE * 60);
    inbox.store("evt_1", "invoice.paid", "in_1", &["mail"]);
    let error = format!("{}the end", "the payload has an unknown field; ".repeat(20));
    inbox.attempt(WORKERS[0], 10, retry(&error));
    // A released attempt is not shown.
    inbox.attempt(WORKERS[0], 10, DeliveryOutcome::Released { wait: MINUTE * 90 });
    let output = inbox.run(&["show", "evt_1"]);
    assert_eq!(output.stdout.matches("the payload has").count(), 20, "{output:?}");
    assert_eq!(output.stdout.matches("shop-").count(), 1, "{output:?}");
    let line = inbox.run(&["show", "evt_1", "--json"]).json()[0]["deliveries"][0].clone();
    assert_eq!(line["error"], json!(error));
    let shortened = line["history"][0]["error"].as_str().unwrap().strip_suffix('…').unwrap();
    assert!(error.starts_with(shortened), "{shortened}");
}

fn show_json_has_history(engine: impl Engine) {
    let inbox = TestInbox::empty(engine, MINUTE * 60);
    inbox.store("evt_1", "invoice.paid", "in_1", &["mail"]);
    inbox.attempt(WORKERS[0], 1_250, retry("connection refused"));
    inbox.attempt(WORKERS[1], 250, DeliveryOutcome::Done);
    let output = inbox.run(&["show", "evt_1", "--json"]);
    let history = output.json()[0]["deliveries"][0]["history"].to_string();
    insta::assert_snapshot!(redact(&history), @r#"[{"attempt":1,"duration_seconds":1.25,"error":"connection refused","outcome":"failed","started_at":"TIME","worker":"shop-6f9c7-1-5d41402a"},{"attempt":2,"duration_seconds":0.25,"error":null,"outcome":"done","started_at":"TIME","worker":"shop-2b8d1-1-9f86d081"}]"#);
    let listed = inbox.run(&["list", "--json"]);
    assert_eq!(listed.json()[0].get("history"), None);
}

/// The name of a worker and the error of an attempt are untrusted texts.
#[test]
fn control_characters_in_history_are_replaced() {
    let inbox = TestInbox::empty(Sqlite::new(), MINUTE * 60);
    inbox.store("evt_1", "invoice.paid", "in_1", &["mail"]);
    inbox.attempt("shop\x1b[2J\n1", 10, retry("no\x1b[2J such\r order"));
    inbox.attempt("shop", 10, retry("not\nnow"));
    let stdout = inbox.run(&["show", "evt_1"]).stdout;
    assert!(stdout.contains("shop\u{fffd}[2J\u{fffd}1\n"), "{stdout}");
    assert!(stdout.contains("         no\u{fffd}[2J such\u{fffd} order\n"), "{stdout}");
    assert!(stdout.contains("         not\n         now\n"), "{stdout}");
}
