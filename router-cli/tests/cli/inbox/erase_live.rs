//! `inbox erase` while a server stores events and runs handlers.

use std::{
    future::{pending, ready},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use router_core::{
    Endpoint, Event, Router, SigningSecret,
    clock::{Clock as _, SystemClock},
    server::Server,
};
use router_inbox::Inbox;
use serde_json::{Value, json};

use super::{
    TestInbox,
    engine::{Engine, on_each_store},
};
use crate::program::run;

on_each_store!(customer_is_erased_while_a_server_runs);

/// The ids of the events for which the handler has run.
type Runs = Arc<Mutex<Vec<String>>>;

/// Events of one customer: the samples of a seed have the same customer.
const SHOP: [&str; 6] = [
    "customer.created",
    "customer.updated",
    "checkout.session.completed",
    "charge.succeeded",
    "invoice.paid",
    "customer.subscription.updated",
];

impl<E: Engine> TestInbox<E> {
    /// Starts a server with a worker and the handler `mail`, and returns its URL.
    fn serve_shop(&self, runs: &Runs) -> String {
        let runs = runs.clone();
        let router = Router::builder()
            .handler("mail", ["*"], move |event: Event| {
                let mut runs = runs.lock().unwrap_or_else(PoisonError::into_inner);
                runs.push(event.id().to_owned());
                ready(())
            })
            .delivered_by(&self.store)
            .build()
            .expect("the router is valid");
        let secret = SigningSecret::new(crate::program::SECRET).expect("the secret is valid");
        let listener = self.runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let inbox = Inbox::new(self.store.clone(), router.clone());
        self.runtime.spawn(inbox.worker(router).run(pending()));
        self.runtime.spawn(Server::new(Endpoint::new(secret, inbox)).serve(listener, pending()));
        format!("http://{address}/webhook")
    }

    /// Waits until no delivery is waiting or running.
    fn wait_until_idle(&self) {
        for _ in 0..500 {
            let open = self.run(&["list", "--state", "waiting,running", "--json"]);
            if open.json().is_empty() {
                return;
            }
            self.runtime.block_on(async { SystemClock.sleep(Duration::from_millis(20)).await });
        }
        panic!("deliveries are still open");
    }
}

fn customer_is_erased_while_a_server_runs(engine: impl Engine) {
    let inbox = TestInbox::empty(engine, Duration::ZERO);
    let runs = Runs::default();
    let to = inbox.serve_shop(&runs);
    let send = || run(&[&["send"], &SHOP[..], &["--seed", "7", "--to", &to, "--json"]].concat());
    let sent = send();
    assert_eq!(sent.code, Some(0), "{sent:?}");
    inbox.wait_until_idle();
    let events = inbox.run(&["list", "--json"]).json();
    let created = events.iter().find(|line| line["type"] == "customer.created");
    let customer = created.expect("the event is stored")["object"].clone();
    let customer = customer.as_str().expect("an id is a string");

    let output = thread::scope(|scope| {
        let others = scope.spawn(|| run(&["send", "invoice.paid", "--repeat", "300", "--to", &to]));
        let erase = ["erase", "--object", customer, "--mentioned", "--yes", "--json"];
        let output = inbox.run(&erase);
        let others = others.join().expect("the program runs");
        assert_eq!(others.code, Some(0), "{others:?}");
        output
    });
    assert_eq!(output.code, Some(0), "{output:?}");
    let summary = &output.json()[SHOP.len()]["summary"];
    assert_eq!((&summary["erased"], &summary["unfinished"]), (&json!(SHOP.len()), &json!(0)));
    for event in &events {
        let id = event["event"].as_str().expect("an id is a string");
        let shown = &inbox.run(&["show", id, "--payload", "--json"]).json()[0];
        assert_eq!((&shown["erased"], &shown["payload"]), (&json!(true), &Value::Null), "{shown}");
    }

    // Stripe redelivers the erased events. They are duplicates and run nothing.
    inbox.wait_until_idle();
    let before = runs.lock().expect("no handler panics").len();
    assert_eq!(before, SHOP.len() + 300);
    let again = send();
    assert_eq!(again.code, Some(0), "{again:?}");
    for line in &again.json()[..SHOP.len()] {
        assert_eq!(
            (&line["status"], &line["answer"]["outcome"]),
            (&json!(200), &json!("duplicate"))
        );
    }
    inbox.wait_until_idle();
    assert_eq!(runs.lock().expect("no handler panics").len(), before);
}
