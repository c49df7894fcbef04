//! Events are sent as Stripe sends them, and what the server answers is told.

use std::{collections::BTreeMap, fs, process::Stdio, time::Duration};

use router_core::clock::{Clock as _, SystemClock};

use crate::{
    program::{Ran, program, run, run_with},
    shop::Shop,
};

#[test]
fn one_event_and_its_answer() {
    let shop = Shop::open();
    let ran = shop.run(&["send", "payment_intent.succeeded", "--seed", "7"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    insta::assert_snapshot!(shop.steady(&ran.stdout), @r"
    payment_intent.succeeded  evt_1tveaEJVkmiJnEjWKO2WmN2t  seed 7
      200 OK in · ms
      done    audit
    ");
    let ran = shop.run(&["send", "charge.failed", "--seed", "7"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(1), ""));
    insta::assert_snapshot!(shop.steady(&ran.stdout), @r"
    charge.failed  evt_1wgKeetk2wM96enB83suckyO  seed 7
      500 Internal Server Error in · ms, retry after 7 s
      done    audit
      retry   fails
    ");
    // Stripe hears 200, since sending it again would not help; whoever tries it out wants to know.
    let ran = shop.run(&["send", "charge.expired", "charge.pending", "--seed", "7"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(1), ""));
    let (each, summary) = ran.stdout.split_once("\n\n").unwrap();
    insta::assert_snapshot!(shop.steady(each), @r"
    charge.expired  evt_1o7yGHOnDUE0eftZ4F4QY2wa  seed 7
      200 OK in · ms
      done    audit
      dead    buries
    charge.pending  evt_1QnvNqQEydcfqschUXSaaqDf  seed 7
      200 OK in · ms
      done    audit
      ignored ignores
    ");
    assert!(summary.contains("       1  200 OK dead\n       1  200 OK done\n"), "{summary}");
}

#[test]
fn what_is_set_is_what_arrives() {
    let shop = Shop::open();
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
    // The same options make the same event.
    let ran = shop.run(&[&["send", "invoice.paid"], &event[..]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let id = sample[0]["id"].as_str().unwrap();
    assert_eq!(shop.seen(), [("invoice.paid".to_owned(), id.to_owned())]);
    let ran = shop.run(&["send", "invoice.paid", "--thin"]);
    assert_eq!((ran.code, &*shop.seen()[0].0), (Some(0), "v1.invoice.paid"), "{ran:?}");
}

#[test]
fn events_are_new_unless_a_seed_says_which_they_are() {
    let shop = Shop::open();
    for seed in [&[][..], &[], &["--seed", "7"], &["--seed", "7"]] {
        assert_eq!(shop.run(&[&["send", "invoice.paid"], seed].concat()).code, Some(0));
    }
    // The fourth is a duplicate of the third.
    let ids: Vec<String> = shop.seen().into_iter().map(|(_, id)| id).collect();
    assert!(ids.len() == 3 && ids[0] != ids[1], "{ids:?}");
}

#[test]
fn many_are_counted_and_each_is_its_own() {
    let shop = Shop::open();
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
    let ran = shop.run(&many);
    assert_eq!((ran.code, &*ran.stderr), (Some(1), ""), "no bar, since it is no terminal");
    // The first few that went wrong, and a summary.
    let (wrong, summary) = ran.stdout.split_once("\n\n").unwrap();
    assert_eq!(wrong.matches("\n  retry   fails").count(), 5, "{wrong}");
    assert_eq!(wrong.matches("charge.failed  evt_1").count(), 5, "{wrong}");
    let lines: Vec<&str> = summary.lines().collect();
    assert!(lines[0].starts_with("200 deliveries in "), "{lines:?}");
    assert_eq!(lines[1..3], ["     100  200 OK done", "     100  500 Internal Server Error retry"]);
    assert!(lines[3].starts_with("answered in ") && lines.len() == 4, "{lines:?}");
    let seen = shop.seen();
    let each: BTreeMap<_, _> = seen.iter().map(|(event_type, id)| (id, event_type)).collect();
    assert_eq!((seen.len(), each.len()), (200, 200));
}

#[test]
fn duplicates_and_another_order_are_what_they_say() {
    let shop = Shop::open();
    let options = ["--repeat", "200", "--seed", "7", "--json"];
    let ids = |more: &[&str]| -> Vec<String> {
        let ran = shop.run(&[&["send", "invoice.paid"], &options[..], more].concat());
        let lines = ran.json();
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
    // The server has seen each once.
    assert_eq!(shop.seen().len(), 200);
}

#[test]
fn a_rate_is_kept() {
    let shop = Shop::open();
    let begun = SystemClock.monotonic();
    let ran = shop.run(&["send", "invoice.paid", "--repeat", "6", "--rate", "10", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // The first at once, and the last five tenths of a second later: never sooner.
    assert!(SystemClock.monotonic() - begun >= Duration::from_millis(500));
}

#[test]
fn json_is_a_line_for_each_delivery_and_one_for_all() {
    let shop = Shop::open();
    let ran = shop.run(&["send", "charge.failed", "invoice.paid", "--seed", "7", "--json"]);
    let [failed, paid, summary] = &ran.json()[..] else { panic!("{ran:?}") };
    assert_eq!((&failed["type"], &failed["status"]), (&"charge.failed".into(), &500.into()));
    assert_eq!((&failed["seed"], &failed["retry_after"]), (&7.into(), &"7".into()));
    assert_eq!(failed["answer"]["outcome"], "retry");
    assert!(
        failed["ms"].as_f64() > Some(0.0) && paid["event"] == paid["answer"]["event"],
        "{ran:?}"
    );
    let summary = &summary["summary"];
    assert_eq!((&summary["sent"], &summary["answers"][0]["count"]), (&2.into(), &1.into()));
    let latency = |of: &str| summary["latency_ms"][of].as_f64().unwrap();
    assert!(latency("p50") > 0.0 && latency("p50") <= latency("max"), "{summary}");
}

#[test]
fn a_file_is_sent_as_it_is() {
    let shop = Shop::open();
    let event =
        r#"{"type": "invoice.paid", "id": "evt_1", "object": "event", "data": {"object": {}}}"#;
    let of = |id: &str| event.replace("evt_1", id);
    let ids = |shop: &Shop| shop.seen().into_iter().map(|(_, id)| id).collect::<Vec<_>>();
    let folder = env!("CARGO_TARGET_TMPDIR");
    // An event, over several lines.
    let file = format!("{folder}/event.json");
    fs::write(&file, event.replace(", ", ",\n")).unwrap();
    assert_eq!(shop.run(&["send", "--file", &file]).code, Some(0));
    assert_eq!(ids(&shop), ["evt_1"]);
    // A line for each; and what the router could not handle.
    let letter =
        serde_json::json!({"event": "evt_3", "error": "no such order", "payload": of("evt_3")});
    let lines = format!("{}\n\n{letter}\n", of("evt_2"));
    let ran = run_with(&["send", "--file", "-", "--to", &shop.url], &lines);
    assert_eq!(
        (ran.code, ids(&shop)),
        (Some(0), vec!["evt_2".to_owned(), "evt_3".to_owned()]),
        "{ran:?}"
    );
    // In another order, which a seed says.
    let many: String = (10..30).map(|number| of(&format!("evt_{number}")) + "\n").collect();
    let shuffled = || {
        let options = ["send", "--file", "-", "--reorder", "--seed", "7", "--json"];
        let ran = run_with(&[&options[..], &["--to", &shop.url]].concat(), &many);
        ran.json().iter().map(|line| line["event"].to_string()).collect::<Vec<_>>()
    };
    let once = shuffled();
    assert!(!once.is_sorted() && once.len() == 21, "{once:?}");
    assert_eq!(once, shuffled());
    assert_eq!(ids(&shop).len(), 20);
    // A dead letter alone.
    let ran = run_with(&["send", "--file", "-", "--to", &shop.url], &letter.to_string());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for (input, said) in [
        ("", "error: standard input holds no event: the payload is not an event: it is not JSON"),
        ("{}", "error: standard input holds no event: "),
        (&*format!("{}\n{{\"id\": 7}}\n", of("evt_4")), "error: standard input:2 is no event: "),
    ] {
        let ran = run_with(&["send", "--file", "-", "--to", &shop.url], input);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.starts_with(said), "{ran:?}");
    }
    assert_eq!(shop.seen(), [], "nothing is sent of a file that is wrong");
    let ran = shop.run(&["send", "--file", &file, "--set", "amount=1"]);
    assert_eq!(ran.code, Some(2));
    assert_eq!(
        ran.stderr,
        "error: an event from a file is sent as it is: leave out what would change it\n"
    );
}

#[test]
fn a_scenario_is_sent_in_its_order() {
    let shop = Shop::open();
    let ran = shop.run(&["scenario", "dispute", "--seed", "7"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let types: Vec<String> = shop.seen().into_iter().map(|(event_type, _)| event_type).collect();
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
    // Of a connected account, in live mode, in another API version.
    let more = ["--account", "acct_1", "--livemode", "--api-version", "2020-08-27"];
    let dry = ["scenario", "dispute", "--dry-run", "--json"];
    for event in run(&[&dry[..], &more].concat()).json() {
        assert_eq!((&event["account"], &event["livemode"]), (&"acct_1".into(), &true.into()));
        assert_eq!(event["api_version"], "2020-08-27");
    }
    // What it would send, and nothing is.
    let dry = run(&["scenario", "dispute", "--seed", "7", "--dry-run", "--json"]).json();
    let dry: Vec<&str> = dry.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(dry, types);
    assert_eq!(shop.seen(), []);
}

#[test]
fn whoever_reads_only_the_beginning_is_not_scolded() {
    let mut command = program(&["events"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
}
