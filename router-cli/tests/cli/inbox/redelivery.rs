//! Events that the inbox receives again.

use router_core::{
    Endpoint, Event, Router, SigningSecret, server::Server, testing::SyntheticEvent,
};
use router_inbox::{
    Inbox, Store as _,
    store::{DeliveryOutcome, NewEvent, Redelivery, Stored},
};
use serde_json::json;

use super::{
    MINUTE, TestInbox, build_event,
    engine::{Engine, on_each_store},
    new_delivery, redact,
};
use crate::program::{CliOutput, SECRET, run};

on_each_store!(
    duplicates_and_restarts_count_as_successes,
    show_prints_redelivered_versions_without_payloads,
    event_is_found_by_both_ids_of_its_twins,
);

impl<E: Engine> TestInbox<E> {
    /// Starts a server that stores events for the handlers `audit` and `mail` in this inbox, and
    /// returns its URL. No worker runs the handlers.
    fn serve(&self) -> String {
        let router = Router::builder()
            .handler("audit", ["*"], async |_: Event| {})
            .handler("mail", ["invoice.*", "v1.invoice.*"], async |_: Event| {})
            .delivered_by(&self.store)
            .build()
            .expect("the router is valid");
        let secret = SigningSecret::new(SECRET).expect("the secret is valid");
        let listener = self.runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let server = Server::new(Endpoint::new(secret, Inbox::new(self.store.clone(), router)));
        self.runtime.spawn(server.serve(listener, std::future::pending()));
        format!("http://{address}/webhook")
    }

    /// Stores a redelivery of an event for these handlers.
    fn redeliver(&self, event: SyntheticEvent, handlers: &[&str]) -> Vec<Redelivery> {
        let deliveries = handlers.iter().map(|handler| new_delivery(handler, None)).collect();
        let new = [NewEvent::new(build_event(event), deliveries)];
        let stored = self.runtime.block_on(self.store.store(&new)).expect("the store works");
        match &stored[..] {
            [Stored::Redelivered(results)] => results.clone(),
            other => panic!("the event was stored before: {other:?}"),
        }
    }
}

/// Returns the counts of the answers in the summary, as `3  200 OK stored`.
fn answers(output: &CliOutput) -> Vec<&str> {
    let lines = output.stdout.lines().map(str::trim_start);
    lines.filter(|line| line.contains("  200 OK")).collect()
}

fn duplicates_and_restarts_count_as_successes(engine: impl Engine) {
    let inbox = TestInbox::empty(engine, MINUTE);
    let to = inbox.serve();
    let send = |more: &[&str]| {
        let types = ["send", "invoice.paid", "charge.failed", "--seed", "7", "--to", &to];
        run(&[&types[..], more].concat())
    };
    let output = send(&[]);
    assert_eq!((output.code, answers(&output)), (Some(0), vec!["2  200 OK stored"]), "{output:?}");
    let output = send(&["--duplicate", "1"]);
    assert_eq!((output.code, answers(&output)), (Some(0), vec!["4  200 OK duplicate"]));
    assert!(output.stdout.contains("\n  duplicate mail\n"), "{output:?}");
    inbox.complete("mail", DeliveryOutcome::Dead { error: "no such address".into() });
    let output = send(&[]);
    let expected = vec!["1  200 OK duplicate", "1  200 OK redelivered"];
    assert_eq!((output.code, answers(&output)), (Some(0), expected));
    assert!(output.stdout.contains("\n  duplicate audit\n  restarted mail\n"), "{output:?}");
    let output = run(&["send", "invoice.paid", "--twin", "--to", &to, "--repeat", "3"]);
    let expected = vec!["3  200 OK duplicate", "3  200 OK stored"];
    assert_eq!((output.code, answers(&output)), (Some(0), expected), "{output:?}");
    assert!(output.stdout.contains("\n6 deliveries (3 thin twins) in "), "{output:?}");
}

fn show_prints_redelivered_versions_without_payloads(engine: impl Engine) {
    let inbox = TestInbox::empty(engine, MINUTE * 120);
    inbox.store("evt_1", "invoice.paid", "in_1", &["mail"]);
    inbox.complete("mail", DeliveryOutcome::Dead { error: "no such address".into() });
    let event = |version: &str| {
        SyntheticEvent::new("invoice.paid").id("evt_1").set("id", "in_1").api_version(version)
    };
    let restarted = inbox.redeliver(event("2026-11-25.fynbos"), &["mail"]);
    assert_eq!(restarted, [Redelivery::Restarted]);
    assert_eq!(inbox.redeliver(event("2027-01-27.fynbos"), &["audit"]), [Redelivery::Added]);
    let output = inbox.run(&["show", "evt_1"]);
    insta::assert_snapshot!(redact(&output.stdout), @r"
    invoice.paid  evt_1
      object     in_1
      endpoint   default
      received   2h ago, at TIME
      payload    5300 bytes, API version 2026-10-28.endive
      again      5300 bytes, API version 2026-11-25.fynbos
      again      5300 bytes, API version 2027-01-27.fynbos
      waiting    audit  due for 2h, not attempted yet
      waiting    mail  due for 2h, not attempted yet
          1  TIME  dead         0ms  shop-1
             no such address
    ");
    let output = inbox.run(&["show", "evt_1", "--json"]);
    let line = &output.json()[0];
    assert_eq!(line["api_version"], router_catalog::API_VERSION);
    let versions = ["2026-11-25.fynbos", "2027-01-27.fynbos"].map(|version| {
        json!({"event": "evt_1", "type": "invoice.paid", "api_version": version, "signed_at": null})
    });
    assert_eq!(line["redelivered"], json!(versions));
    // The payloads are printed on request, and `send` accepts each of them.
    let output = inbox.run(&["show", "evt_1", "--payload"]);
    assert_eq!(output.stdout.matches("\n\n{\n  \"id\": \"evt_1\",\n").count(), 3, "{output:?}");
    let output = inbox.run(&["show", "evt_1", "--payload", "--json"]);
    let newest = &output.json()[0]["redelivered"][1];
    let server = crate::test_server::TestServer::start();
    let options = ["send", "--file", "-", "--to", &server.url];
    let sent = crate::program::run_with(&options, &newest.to_string());
    assert_eq!(server.seen(), [("invoice.paid".to_owned(), "evt_1".to_owned())], "{sent:?}");
    assert!(newest["payload"].as_str().unwrap().contains("2027-01-27.fynbos"));
}

fn event_is_found_by_both_ids_of_its_twins(engine: impl Engine) {
    let inbox = TestInbox::empty(engine, MINUTE);
    let to = inbox.serve();
    let output =
        run(&["send", "invoice.paid", "--twin", "--seed", "7", "--to", &to, "--json"]).json();
    let ids = [0, 1].map(|index| output[index]["event"].as_str().unwrap().to_owned());
    for id in &ids {
        let output = inbox.run(&["show", id, "--json"]);
        let [line] = &output.json()[..] else { panic!("one event: {output:?}") };
        assert_eq!((&line["event"], &line["type"]), (&json!(ids[0]), &json!("invoice.paid")));
        assert_eq!(line["redelivered"][0]["event"], json!(ids[1]));
        assert_eq!(line["redelivered"][0]["api_version"], json!(null));
        assert_eq!(line["deliveries"].as_array().unwrap().len(), 2);
    }
    let output = inbox.run(&["show", &ids[1]]);
    let again = format!("  again      as v1.invoice.paid {}, ", ids[1]);
    assert!(output.stdout.contains(&again), "{output:?}");
    // `just now`, or `1s ago` on a slow machine.
    assert!(output.stdout.contains(" bytes, signed "), "{output:?}");
    // The list has the deliveries of one event.
    let listed: Vec<_> =
        inbox.run(&["list", "--json"]).json().iter().map(|line| line["event"].clone()).collect();
    assert_eq!(listed, [&*ids[0], &ids[0]]);
}
