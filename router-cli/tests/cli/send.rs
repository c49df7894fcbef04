//! `send` and `scenario` against a running server.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Stdio,
    time::Duration,
};

use router_core::clock::{Clock as _, SystemClock};
use serde_json::Value;

use crate::{
    program::{CliOutput, program, run, run_with},
    test_server::TestServer,
};

#[test]
fn send_prints_event_and_answer() {
    let server = TestServer::start();
    let output = server.run(&["send", "payment_intent.succeeded", "--seed", "7"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    insta::assert_snapshot!(server.redact(&output.stdout), @r"
    payment_intent.succeeded  evt_1tveaEJVkmiJnEjWKO2WmN2t  seed 7
      200 OK in · ms
      done      audit
    ");
    let output = server.run(&["send", "charge.failed", "--seed", "7"]);
    assert_eq!((output.code, &*output.stderr), (Some(1), ""));
    insta::assert_snapshot!(server.redact(&output.stdout), @r"
    charge.failed  evt_1wgKeetk2wM96enB83suckyO  seed 7
      500 Internal Server Error in · ms, retry after 7 s
      done      audit
      retry     fails
    ");
    // A permanent failure is answered with 200, since a redelivery would not help. The exit code is
    // 1 nonetheless, because a developer wants to know.
    let output = server.run(&["send", "charge.expired", "charge.pending", "--seed", "7"]);
    assert_eq!((output.code, &*output.stderr), (Some(1), ""));
    let (each, summary) = output.stdout.split_once("\n\n").unwrap();
    insta::assert_snapshot!(server.redact(each), @r"
    charge.expired  evt_1o7yGHOnDUE0eftZ4F4QY2wa  seed 7
      200 OK in · ms
      done      audit
      dead      buries
    charge.pending  evt_1QnvNqQEydcfqschUXSaaqDf  seed 7
      200 OK in · ms
      done      audit
      ignored   ignores
    ");
    assert!(summary.contains("       1  200 OK dead\n       1  200 OK done\n"), "{summary}");
}

#[test]
fn event_options_are_applied() {
    let server = TestServer::start();
    let event = "--set amount_paid=500 --set lines.data[0].quantity=2 --set description=7 --previous status=open \
                 --account acct_1 --api-version 2020-08-27 --livemode --seed 7";
    let event: Vec<&str> = event.split_whitespace().collect();
    let sample = run(&[&["sample", "invoice.paid", "--json"], &event[..]].concat()).json();
    let object = &sample[0]["data"]["object"];
    assert_eq!((&object["amount_paid"], &object["description"]), (&500.into(), &"7".into()));
    assert_eq!(object["lines"]["data"][0]["quantity"], 2);
    assert_eq!(sample[0]["data"]["previous_attributes"]["status"], "open");
    assert_eq!((&sample[0]["account"], &sample[0]["livemode"]), (&"acct_1".into(), &true.into()));
    assert_eq!(sample[0]["api_version"], "2020-08-27");
    // `send` builds the same event from the same options.
    let output = server.run(&[&["send", "invoice.paid"], &event[..]].concat());
    assert_eq!(output.code, Some(0), "{output:?}");
    let id = sample[0]["id"].as_str().unwrap();
    assert_eq!(server.seen(), [("invoice.paid".to_owned(), id.to_owned())]);
    let output = server.run(&["send", "invoice.paid", "--thin"]);
    assert_eq!((output.code, &*server.seen()[0].0), (Some(0), "v1.invoice.paid"), "{output:?}");
}

#[test]
fn ids_are_new_unless_a_seed_is_given() {
    let server = TestServer::start();
    for seed in [&[][..], &[], &["--seed", "7"], &["--seed", "7"]] {
        assert_eq!(server.run(&[&["send", "invoice.paid"], seed].concat()).code, Some(0));
    }
    // The fourth is a duplicate of the third.
    let ids: Vec<String> = server.seen().into_iter().map(|(_, id)| id).collect();
    assert!(ids.len() == 3 && ids[0] != ids[1], "{ids:?}");
}

#[test]
fn many_deliveries_print_failures_and_a_summary() {
    let server = TestServer::start();
    let many = [
        "send",
        "invoice.paid",
        "charge.failed",
        "--repeat",
        "100",
        "--concurrency",
        "8",
        "--seed",
        "7",
    ];
    let output = server.run(&many);
    assert_eq!((output.code, &*output.stderr), (Some(1), ""), "no progress bar without a terminal");
    // The first five failures, and a summary.
    let (wrong, summary) = output.stdout.split_once("\n\n").unwrap();
    assert_eq!(wrong.matches("\n  retry     fails").count(), 5, "{wrong}");
    assert_eq!(wrong.matches("charge.failed  evt_1").count(), 5, "{wrong}");
    let lines: Vec<&str> = summary.lines().collect();
    assert!(lines[0].starts_with("200 deliveries in "), "{lines:?}");
    assert_eq!(lines[1..3], ["     100  200 OK done", "     100  500 Internal Server Error retry"]);
    assert!(lines[3].starts_with("latency: p50 ") && lines.len() == 4, "{lines:?}");
    let seen = server.seen();
    let each: BTreeMap<_, _> = seen.iter().map(|(event_type, id)| (id, event_type)).collect();
    assert_eq!((seen.len(), each.len()), (200, 200));
}

#[test]
fn duplicate_and_reorder_change_the_deliveries() {
    let server = TestServer::start();
    let options = ["--repeat", "200", "--seed", "7", "--json"];
    let ids = |more: &[&str]| -> Vec<String> {
        let output = server.run(&[&["send", "invoice.paid"], &options[..], more].concat());
        let lines = output.json();
        let (summary, deliveries) = lines.split_last().unwrap();
        assert_eq!(summary["summary"]["sent"], deliveries.len());
        deliveries.iter().map(|line| line["event"].as_str().unwrap().to_owned()).collect()
    };
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    let plain = ids(&[]);
    assert_eq!(plain.len(), 200);
    assert_eq!(
        ids(&["--duplicate", "1"]),
        plain.iter().flat_map(|id| [id.clone(), id.clone()]).collect::<Vec<_>>()
    );
    let some = ids(&["--duplicate", "0.2"]).len();
    assert!((220..260).contains(&some), "{some}");
    let reordered = ids(&["--reorder"]);
    assert_ne!(reordered, plain);
    assert_eq!(sorted(reordered), sorted(plain));
    // The handlers have run once for each event.
    assert_eq!(server.seen().len(), 200);
}

/// Returns the id and the snapshot event of each delivery in the JSON output.
fn pairs(output: &CliOutput) -> Vec<(String, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let lines = output.json();
    let deliveries = lines.iter().filter(|line| line.get("event").is_some());
    let pair = |line: &Value| Some((text(&line["event"])?, text(&line["snapshot_event"])));
    deliveries.map(|line| pair(line).expect("an id is text")).collect()
}

#[test]
fn twin_follows_its_snapshot_event_and_names_it() {
    let server = TestServer::start();
    let options = ["--twin", "--account", "acct_1", "--seed", "7", "--json"];
    let output =
        server.run(&[&["send", "customer.created", "invoice.paid"], &options[..]].concat());
    assert_eq!(output.code, Some(0), "{output:?}");
    let types: Vec<_> = output.json().iter().map(|line| line["type"].clone()).collect();
    let pair = |event_type: &str| [event_type.to_owned(), format!("v1.{event_type}")];
    assert_eq!(types[..4], [pair("customer.created"), pair("invoice.paid")].concat());
    let sent = pairs(&output);
    let [(customer, None), (_, Some(of_customer)), (invoice, None), (_, Some(of_invoice))] =
        &sent[..]
    else {
        panic!("{output:?}")
    };
    assert_eq!((of_customer, of_invoice), (customer, invoice));
    assert_eq!(output.json()[4]["summary"]["twins"], 2);
    // Both events of each pair have arrived, and the twins name their snapshot events.
    assert_eq!(server.twins(), [sent[1].clone(), sent[3].clone()]);
    // A handler of both types has run once for each pair.
    let seen: Vec<_> = server.seen().into_iter().map(|(_, id)| id).collect();
    assert_eq!(seen, [&**customer, invoice]);
    let output = server.run(&["send", "customer.created", "--twin", "--seed", "7"]);
    let line = output.stdout.lines().find(|line| line.starts_with("v1."));
    insta::assert_snapshot!(line.unwrap(), @"v1.customer.created  evt_test_65zS16B1aA2SoQh6OVw8HNsuV6ggLTJWMtf1O0lYH7Z34Q  twin of evt_1MWJ7nOokw0zxsQpVKOb1QdH  seed 7");
    assert!(output.stdout.contains("\n2 deliveries (1 thin twin) in "), "{output:?}");
}

#[test]
fn twins_are_duplicated_and_reordered_too() {
    let server = TestServer::start();
    let send = |more: &[&str]| {
        let options = ["--twin", "--seed", "7", "--json"];
        pairs(&server.run(&[&["send", "invoice.paid"], &options[..], more].concat()))
    };
    let [snapshot, twin] = &send(&[])[..] else { panic!("one event and its twin") };
    let twice = [snapshot, snapshot, twin, twin].map(Clone::clone);
    assert_eq!(send(&["--duplicate", "1"]), twice);
    let plain = send(&["--repeat", "20"]);
    let mut reordered = send(&["--repeat", "20", "--reorder"]);
    assert_ne!(reordered, plain);
    let position = |id: &String| reordered.iter().position(|(other, _)| other == id);
    let is_first = |id: &String, of: &String| position(id) < position(of);
    let twins = plain.iter().filter_map(|(id, of)| Some((id, of.as_ref()?)));
    let first = twins.filter(|(id, of)| is_first(id, of)).count();
    assert!((1..20).contains(&first), "{first}");
    reordered.sort();
    let mut sorted = plain;
    sorted.sort();
    assert_eq!(reordered, sorted);
}

#[test]
fn twins_of_events_in_a_file_are_sent() {
    let server = TestServer::start();
    let event = r#"{"id": "evt_1", "type": "invoice.paid", "object": "event", "data": {"object": {"id": "in_1"}}}"#;
    let send = |input: &str| {
        let options = ["send", "--file", "-", "--twin", "--json", "--to", &server.url];
        run_with(&options, input)
    };
    let output = send(&format!("{event}\n{}\n", event.replace("evt_1", "evt_2")));
    let sent = pairs(&output);
    let of: Vec<_> = sent.iter().map(|(_, of)| of.as_deref()).collect();
    assert_eq!(of, [None, Some("evt_1"), None, Some("evt_2")], "{output:?}");
    assert_ne!(sent[1].0, sent[3].0);
    assert_eq!(server.twins(), [sent[1].clone(), sent[3].clone()]);
    server.seen();
    let output = send(&format!("{event}\n{}\n", event.replace("invoice.paid", "coffee.made")));
    assert_eq!((output.code, server.seen()), (Some(2), vec![]), "{output:?}");
    insta::assert_snapshot!(output.stderr, @"error: there is no thin event for `coffee.made`; send it without --twin");
}

#[test]
fn rate_limits_deliveries() {
    let server = TestServer::start();
    let started = SystemClock.monotonic();
    let output = server.run(&["send", "invoice.paid", "--repeat", "6", "--rate", "10", "--json"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    // The first delivery starts at once, and the sixth at least five intervals of 0.1 s later.
    assert!(SystemClock.monotonic() - started >= Duration::from_millis(500));
}

#[test]
fn json_has_a_line_per_delivery_and_a_summary() {
    let server = TestServer::start();
    let output = server.run(&["send", "charge.failed", "invoice.paid", "--seed", "7", "--json"]);
    let [failed, paid, summary] = &output.json()[..] else { panic!("{output:?}") };
    assert_eq!((&failed["type"], &failed["status"]), (&"charge.failed".into(), &500.into()));
    assert_eq!((&failed["seed"], &failed["retry_after"]), (&7.into(), &"7".into()));
    assert_eq!(failed["answer"]["outcome"], "retry");
    assert!(
        failed["ms"].as_f64() > Some(0.0) && paid["event"] == paid["answer"]["event"],
        "{output:?}"
    );
    let summary = &summary["summary"];
    assert_eq!((&summary["sent"], &summary["answers"][0]["count"]), (&2.into(), &1.into()));
    let latency = |quantile: &str| summary["latency_ms"][quantile].as_f64().unwrap();
    assert!(latency("p50") > 0.0 && latency("p50") <= latency("max"), "{summary}");
}

#[test]
fn file_is_sent_unchanged() {
    let server = TestServer::start();
    let event =
        r#"{"type": "invoice.paid", "id": "evt_1", "object": "event", "data": {"object": {}}}"#;
    let with_id = |id: &str| event.replace("evt_1", id);
    let ids = |server: &TestServer| server.seen().into_iter().map(|(_, id)| id).collect::<Vec<_>>();
    let folder = env!("CARGO_TARGET_TMPDIR");
    // One event on several lines.
    let file = format!("{folder}/event.json");
    fs::write(&file, event.replace(", ", ",\n")).unwrap();
    assert_eq!(server.run(&["send", "--file", &file]).code, Some(0));
    assert_eq!(ids(&server), ["evt_1"]);
    // An event and a dead letter, one per line.
    let dead_letter = serde_json::json!({"event": "evt_3", "error": "no such order", "payload": with_id("evt_3")});
    let lines = format!("{}\n\n{dead_letter}\n", with_id("evt_2"));
    let output = run_with(&["send", "--file", "-", "--to", &server.url], &lines);
    assert_eq!(
        (output.code, ids(&server)),
        (Some(0), vec!["evt_2".to_owned(), "evt_3".to_owned()]),
        "{output:?}"
    );
    // Reordered, depending on the seed.
    let many: String = (10..30).map(|number| with_id(&format!("evt_{number}")) + "\n").collect();
    let shuffled = || {
        let options = ["send", "--file", "-", "--reorder", "--seed", "7", "--json"];
        let output = run_with(&[&options[..], &["--to", &server.url]].concat(), &many);
        output.json().iter().map(|line| line["event"].to_string()).collect::<Vec<_>>()
    };
    let once = shuffled();
    assert!(!once.is_sorted() && once.len() == 21, "{once:?}");
    assert_eq!(once, shuffled());
    assert_eq!(ids(&server).len(), 20);
    // A single dead letter.
    let output = run_with(&["send", "--file", "-", "--to", &server.url], &dead_letter.to_string());
    assert_eq!(output.code, Some(0), "{output:?}");
    for (input, message) in [
        (
            "",
            "error: standard input contains no event: the payload is not an event: it is not JSON",
        ),
        ("{}", "error: standard input contains no event: "),
        (
            &*format!("{}\n{{\"id\": 7}}\n", with_id("evt_4")),
            "error: standard input:2: not an event: ",
        ),
    ] {
        let output = run_with(&["send", "--file", "-", "--to", &server.url], input);
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.stderr.starts_with(message), "{output:?}");
    }
    assert_eq!(server.seen(), [], "nothing of an invalid file is sent");
    let output = server.run(&["send", "--file", &file, "--set", "amount=1"]);
    assert_eq!(output.code, Some(2));
    assert_eq!(
        output.stderr,
        "error: events from --file are sent unchanged; remove --set and the other event options\n"
    );
}

#[test]
fn scenario_is_sent_in_order() {
    let server = TestServer::start();
    let output = server.run(&["scenario", "dispute", "--seed", "7"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let types: Vec<String> = server.seen().into_iter().map(|(event_type, _)| event_type).collect();
    assert_eq!(
        types,
        [
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.succeeded",
            "charge.dispute.created",
            "charge.dispute.funds_withdrawn",
            "charge.dispute.updated",
            "charge.dispute.closed",
            "charge.dispute.funds_reinstated",
        ]
    );
    // The options for the envelope apply to all events.
    let envelope = ["--account", "acct_1", "--livemode", "--api-version", "2020-08-27"];
    let dry = ["scenario", "dispute", "--dry-run", "--json"];
    for event in run(&[&dry[..], &envelope].concat()).json() {
        assert_eq!((&event["account"], &event["livemode"]), (&"acct_1".into(), &true.into()));
        assert_eq!(event["api_version"], "2020-08-27");
    }
    // A dry run prints the same events and sends nothing.
    let dry = run(&["scenario", "dispute", "--seed", "7", "--dry-run", "--json"]).json();
    let dry: Vec<&str> = dry.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(dry, types);
    assert_eq!(server.seen(), []);
}

#[test]
fn repeated_scenario_has_objects_of_its_own() {
    let dry = ["scenario", "subscription-lifecycle", "--repeat", "9", "--dry-run", "--json"];
    let events = run(&[&dry[..], &["--seed", "7"]].concat()).json();
    let distinct = |pointer: &str, event_type: &str| {
        let matching = events.iter().filter(|event| event["type"] == event_type);
        let values = matching.map(|event| event.pointer(pointer).unwrap().to_string());
        values.collect::<BTreeSet<_>>().len()
    };
    assert_eq!(distinct("/id", "invoice.paid"), 18);
    // Each subscription is paid twice.
    assert_eq!(distinct("/data/object/id", "invoice.paid"), 18);
    assert_eq!(distinct("/data/object/id", "customer.subscription.updated"), 9);
    assert!(distinct("/data/object/amount_paid", "invoice.paid") > 1);

    // Each delivery names the seed of its run.
    let server = TestServer::start();
    let sent = ["scenario", "checkout", "--repeat", "2", "--seed", "7", "--json"];
    let deliveries = server.run(&sent).json();
    let second = run(&["scenario", "checkout", "--seed", "24", "--dry-run", "--json"]).json();
    assert_eq!(deliveries[5]["seed"], 7);
    assert_eq!((&deliveries[6]["seed"], &deliveries[6]["event"]), (&24.into(), &second[0]["id"]));
}

#[test]
fn broken_pipe_is_not_an_error() {
    let mut command = program(&["events"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = CliOutput::from(child.wait_with_output().unwrap());
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
}
