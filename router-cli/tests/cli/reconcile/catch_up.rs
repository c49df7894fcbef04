//! Events that are missed are sent, each once.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use router_core::{
    clock::{Clock as _, SystemClock},
    testing::{Payload, SyntheticEvent},
};
use router_inbox::store::Operations as _;
use router_stripe::testing::Fault;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::{DAY, EVENTS, MINUTE, Shop, event, numbers, server::THIN_SECRET};
use crate::program::run_with;

#[tokio::test(flavor = "multi_thread")]
async fn missed_events_are_sent_once_while_others_arrive() {
    let shop = Shop::new().await;
    let mut delivered = Vec::new();
    for index in 0..245_u32 {
        let (id, age) = (format!("evt_{index}"), MINUTE * (300 - index));
        shop.miss("", &id, age);
        // The others were redelivered meanwhile.
        if index % 7 != 0 || index >= 32 * 7 {
            delivered.push(event(&id, age));
        }
    }
    for index in 0..5_u32 {
        shop.miss("acct_1", &format!("evt_connected_{index}"), MINUTE * (60 - index));
    }
    assert_eq!(delivered.len(), 213);
    shop.server.deliver(&delivered);
    let new: Vec<_> = (0..40).map(|index| event(&format!("evt_new_{index}"), MINUTE)).collect();
    let output = block_in_place(|| {
        std::thread::scope(|scope| {
            let webhook = scope.spawn(|| shop.server.deliver(&new));
            let output = shop.run(&["--account", "acct_1", "--json"]);
            webhook.join().expect("the events are delivered");
            output
        })
    });
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(numbers(&output), json!({"listed": 250, "missed": 37, "stored": 213}));
    let lines = output.json();
    let sent: Vec<_> = lines.iter().filter(|line| line["outcome"] == "sent").collect();
    assert_eq!(sent.len(), 37);
    assert!(sent.iter().all(|line| line["answer"]["outcome"] == "stored"), "{output:?}");
    assert_eq!(sent.iter().filter(|line| line["account"] == "acct_1").count(), 5);

    let again = shop.run(&["--account", "acct_1", "--json"]);
    assert_eq!((again.code, &numbers(&again)), (Some(0), &json!({})), "{again:?}");
    let runs = shop.server.runs(290).await;
    assert!(runs.values().all(|runs| *runs == 1), "{runs:?}");
    assert_eq!((runs.len(), shop.server.events().await), (290, 290));
    assert!(runs.contains_key("default/acct_1/evt_connected_0/invoice.paid"), "{runs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connected_event_of_a_webhook_is_known() {
    let shop = Shop::new().await;
    shop.stripe.add_item("/v1/accounts", json!({"id": "acct_1", "object": "account"}));
    shop.miss("acct_1", "evt_1", MINUTE * 5);
    let mut delivered = event("evt_1", MINUTE * 5);
    delivered["account"] = "acct_1".into();
    shop.server.deliver(&[delivered]);
    let output = shop.run(&["--all-accounts", "--json"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(numbers(&output), json!({"listed": 1, "stored": 1}), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_run_sends_nothing_and_sets_nothing() {
    let shop = Shop::new().await;
    shop.miss_many(3);
    shop.server.deliver(&[event("evt_1", MINUTE * 12)]);
    let output = shop.run(&["--dry-run"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let lines: Vec<_> = output.stdout.lines().map(|line| line.split("  ").skip(1)).collect();
    let lines: Vec<Vec<_>> = lines.into_iter().map(Iterator::collect).collect();
    assert_eq!(lines[..2], [["invoice.paid", "evt_0"], ["invoice.paid", "evt_2"]], "{output:?}");
    let last = output.stdout.lines().last();
    assert_eq!(last, Some("2 missed events found; nothing was sent, 1 in the inbox already"));
    assert_eq!(shop.server.events().await, 1);
    assert_eq!(shop.server.checkpoint("v1/default/self").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_run_goes_on_and_sends_each_event_once() {
    let shop = Shop::new().await;
    shop.miss_many(60);
    for _ in 0..4 {
        let mut command = shop.command(&[]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program runs");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let read = stdout.lines().take(10).count();
        child.kill().expect("the program is killed");
        child.wait().expect("the program exits");
        assert_eq!(read, 10, "the run ended before it was killed");
    }
    assert!(shop.server.will_read(MINUTE * 10).await);
    let output = shop.run(&["--json"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let summary = numbers(&output);
    let number = |name: &str| summary[name].as_u64().unwrap_or_default();
    assert!((1..=20).contains(&number("missed")), "{output:?}");
    assert_eq!(number("missed") + number("stored"), number("listed"), "{output:?}");
    let runs = shop.server.runs(60).await;
    assert!(runs.len() == 60 && runs.values().all(|runs| *runs == 1), "{runs:?}");
    assert!(!shop.server.will_read(MINUTE * 10).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_run_prints_its_summary() {
    let shop = Shop::new().await;
    shop.miss_many(200);
    let mut command = shop.command(&["--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the program runs");
    let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let mut lines = stdout.lines().map(|line| line.expect("the output is UTF-8"));
    assert!(lines.next().is_some());
    let kill = std::process::Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
    assert!(kill.expect("`kill` is installed").success());
    let rest: Vec<_> = lines.collect();
    assert_eq!(child.wait().expect("the program exits").code(), Some(130), "{rest:?}");
    let last: Value = rest.last().expect("a summary is printed").parse().expect("it is JSON");
    let missed = last["summary"]["missed"].as_u64().expect("the summary has the number");
    assert!(missed == rest.len() as u64 && missed < 200, "{last}");
    assert_eq!(shop.server.events().await, missed);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_goes_on_after_429() {
    let shop = Shop::new().await;
    shop.miss_many(2);
    // More often than a client with default settings would retry.
    for _ in 0..3 {
        shop.stripe.fault_at(EVENTS, Fault::status(429).header("stripe-should-retry", "true"));
    }
    let output = shop.run(&["--json"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(numbers(&output), json!({"listed": 2, "missed": 2}));
}

#[tokio::test(flavor = "multi_thread")]
async fn selected_types_leave_the_checkpoint_alone() {
    let shop = Shop::new().await;
    shop.miss_many(1);
    let output = shop.run(&["--type", "charge.*", "--json"]);
    assert_eq!(numbers(&output), json!({"listed": 1, "ignored": 1}), "{output:?}");
    let output = shop.run(&["--type", "charge.*", "--type", "invoice.paid", "--json"]);
    assert_eq!(numbers(&output), json!({"listed": 1, "missed": 1}), "{output:?}");
    let output = shop.run(&["--since", "1h", "--json"]);
    assert_eq!(numbers(&output), json!({"listed": 1, "stored": 1}), "{output:?}");
    assert_eq!(shop.server.checkpoint("v1/default/self").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn delivered_and_thin_events_need_a_handler() {
    let shop = Shop::new().await;
    let routes = shop.server.file("routes.json");
    let json = json!([{"pattern": "invoice.paid", "handler": "ledger"},
        {"pattern": "v1.charge.*", "handler": "audit"}]);
    std::fs::write(&routes, json.to_string()).expect("the file is written");
    let routes = routes.to_str().expect("the path is Unicode");
    shop.stripe.add_item(EVENTS, event("evt_lost", MINUTE * 9));
    for (id, event_type) in [("evt_t1", "v1.charge.failed"), ("evt_t2", "v1.customer.created")] {
        let thin = SyntheticEvent::new(event_type).id(id).build().expect("the event is valid");
        let mut thin: Value = serde_json::from_slice(thin.body()).expect("an event is JSON");
        let created = SystemClock.wall() - MINUTE * 8;
        thin["created"] = humantime::format_rfc3339_millis(created).to_string().into();
        shop.stripe.add_item("/v2/core/events", thin);
    }
    let arguments = ["--all", "--thin", "--since", "1d", "--routes", routes, "--json"];
    let output = shop.run(&arguments);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(numbers(&output), json!({"listed": 3, "missed": 2, "ignored": 1}), "{output:?}");
    let runs = shop.server.runs(2).await;
    assert!(runs.contains_key("default/evt_lost/invoice.paid"), "{runs:?}");
    let count: BTreeMap<_, _> = runs.iter().filter(|(key, _)| key.contains("evt_t1")).collect();
    assert_eq!(count.len(), 1, "{runs:?}");
    assert_eq!(shop.server.checkpoint("v2/default/self").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_may_be_purged_are_read_only_with_since() {
    let shop = Shop::new().await;
    shop.miss("", "evt_old", DAY * 8);
    shop.miss_many(1);
    let set = async |age| {
        let checkpoint = humantime::format_rfc3339_seconds(SystemClock.wall() - age).to_string();
        let name = "stripe-events/test/v1/default/self";
        shop.server.store.set_checkpoint(name, &checkpoint).await.expect("the store works");
        checkpoint
    };
    let checkpoint = set(DAY * 10).await;
    let output = shop.run(&["--json"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    let error = format!("error: the last run ended at {checkpoint}, and the inbox may have purged");
    assert!(output.stderr.starts_with(&error), "{output:?}");
    assert!(output.stderr.trim_end().ends_with(&format!("--since {checkpoint}")), "{output:?}");
    assert_eq!(shop.server.events().await, 0);

    // The operator gives up the events before that time.
    let output = shop.run(&["--since", "3d", "--json"]);
    assert_eq!(numbers(&output), json!({"listed": 1, "missed": 1}), "{output:?}");
    let warning = format!("warning: the last run ended at {checkpoint}, and this one begins at");
    assert!(output.stderr.starts_with(&warning), "{output:?}");
    assert!(!shop.server.will_read(DAY).await);

    let checkpoint = set(DAY * 10).await;
    let output = shop.run(&["--since", &checkpoint, "--json"]);
    let expected = json!({"listed": 2, "missed": 1, "stored": 1});
    assert_eq!(numbers(&output), expected, "{output:?}");
    assert_eq!(output.stderr, "", "{output:?}");
    assert!(!shop.server.will_read(DAY).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn first_run_reads_only_events_that_cannot_be_purged() {
    let shop = Shop::new().await;
    shop.miss("", "evt_old", DAY * 4);
    shop.miss("", "evt_new", DAY * 3);
    let output = shop.run(&["--json"]);
    assert_eq!(numbers(&output), json!({"listed": 1, "missed": 1}), "{output:?}");
    assert!(!shop.server.will_read(DAY).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_after_a_gap_does_not_move_the_checkpoint() {
    let shop = Shop::new().await;
    let name = "stripe-events/test/v1/default/self";
    let checkpoint = humantime::format_rfc3339_seconds(SystemClock.wall() - DAY).to_string();
    shop.server.store.set_checkpoint(name, &checkpoint).await.expect("the store works");
    shop.miss("", "evt_old", MINUTE * 90);
    shop.miss("", "evt_new", MINUTE * 30);
    let output = shop.run(&["--since", "1h", "--json"]);
    assert_eq!(numbers(&output), json!({"listed": 1, "missed": 1}), "{output:?}");
    let output = shop.run(&["--json"]);
    let expected = json!({"listed": 2, "missed": 1, "stored": 1});
    assert_eq!(numbers(&output), expected, "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn account_given_twice_is_read_once() {
    let shop = Shop::new().await;
    shop.miss("acct_1", "evt_1", MINUTE * 5);
    let output = shop.run(&["--account", "acct_1", "--account", "acct_1", "--dry-run", "--json"]);
    assert_eq!(numbers(&output), json!({"listed": 1, "missed": 1}), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_event_is_sent_if_another_endpoint_has_its_thin_event() {
    let shop = Shop::new().await;
    let mut snapshot = event("evt_0", MINUTE * 5);
    let twin = SyntheticEvent::twin_of(&Payload::recorded(snapshot.to_string()).expect("an event"));
    let twin = twin.id("evt_thin").build().expect("the event is valid");
    let arguments = ["send", "--file", "-", "--to", &shop.server.url, "--secret", THIN_SECRET];
    assert_eq!(run_with(&arguments, twin.body()).code, Some(0));
    snapshot["delivery_success"] = false.into();
    shop.stripe.add_item(EVENTS, snapshot);
    let output = shop.run(&["--json"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(numbers(&output), json!({"listed": 1, "missed": 1}), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn transcript_in_the_docs_is_a_real_run() {
    let shop = Shop::new().await;
    shop.miss_many(5);
    let known = [("evt_0", 15), ("evt_2", 13), ("evt_4", 11)];
    shop.server.deliver(&known.map(|(id, age)| event(id, MINUTE * age)));
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reconcile.md");
    let docs = std::fs::read_to_string(docs).expect("the page exists");
    for options in [&["--dry-run"][..], &[], &[]] {
        let output = shop.run(options);
        assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{output:?}");
        let command =
            "event-router reconcile --inbox sqlite:inbox.db --to https://shop.example/webhook";
        let mut transcript = format!("$ {}\n", [&[command], options].concat().join(" "));
        for (line, minute) in output.stdout.lines().zip(1..) {
            match line.split_once("Z  ") {
                Some((_, rest)) => {
                    transcript.push_str(&format!("2026-11-28T10:0{minute}:00Z  {rest}\n"));
                }
                None => transcript.push_str(&format!("{line}\n")),
            }
        }
        assert!(docs.contains(&transcript), "{transcript}");
    }
}
