//! `doctor --ping`, with a server that stores the ping events in an inbox.

use std::{future::pending, time::Duration};

use router_core::{
    Endpoint, Event, Router, SigningSecret,
    clock::{Clock as _, SystemClock},
    server::Server,
    testing::Payload,
};
use router_inbox::{Inbox, SqliteStore};
use router_stripe::testing::Fault;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    task::{JoinHandle, spawn_blocking},
};

use super::{Account, DESTINATIONS, URL, destination, run};
use crate::program::{CliOutput, SECRET, run as run_program};

const VERSION: &str = "2026-10-28.endive";
const OTHER_URL: &str = "https://shop.example/other";

/// A server with an inbox, whose one handler takes no ping event.
struct InboxServer {
    url: String,
    inbox: String,
    task: JoinHandle<()>,
    _folder: TempDir,
}

impl InboxServer {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let inbox = format!("sqlite:{}/inbox.db", folder.path().display());
        let store = SqliteStore::open(&inbox).await.expect("the inbox can be created");
        let router = Router::builder()
            .handler("shop.fulfil", ["invoice.paid"], async |_: Event| {})
            .delivered_by(&store)
            .build()
            .expect("the router is valid");
        let secret = SigningSecret::new(SECRET).expect("the secret is valid");
        let endpoint = Endpoint::new(secret, Inbox::new(store, router));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url =
            format!("http://{}/webhook", listener.local_addr().expect("the listener is bound"));
        let task = tokio::spawn(Server::new(endpoint).serve(listener, pending()));
        Self { url, inbox, task, _folder: folder }
    }

    /// Delivers an event as Stripe does. Returns the status of the answer.
    async fn deliver(&self, event: &Payload, secret: &str) -> u16 {
        let secret = SigningSecret::new(secret).expect("the secret is valid");
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().build().expect("settings are valid");
        let request = client.post(&self.url).header("stripe-signature", event.sign(&secret));
        let answer = request.body(event.body().clone()).send().await.expect("the server answers");
        answer.status().as_u16()
    }
}

impl Drop for InboxServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns an account without findings, whose only destination is `ed_main`.
async fn account() -> Account {
    let account =
        Account::new(json!([{"pattern": "invoice.paid", "handler": "shop.fulfil"}])).await;
    account.add("ed_main", URL, VERSION, &["invoice.paid"]);
    account
}

/// Runs `doctor --ping` while the test delivers the events.
async fn ping<T>(
    account: &Account,
    server: &InboxServer,
    arguments: &[&str],
    delivery: impl Future<Output = T>,
) -> (CliOutput, T) {
    let mut command = account.command(&[&["--ping"], arguments].concat());
    command.env("EVENT_ROUTER_INBOX", &server.inbox);
    let (output, delivered) = tokio::join!(spawn_blocking(|| run(command)), delivery);
    (output.expect("the program runs"), delivered)
}

async fn next_ping(account: &Account) -> Payload {
    tokio::select! {
        event = account.stripe.next_ping() => event,
        // The limit only guards against hanging.
        () = SystemClock.sleep(Duration::from_secs(60)) => panic!("no ping for a minute"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_of_all_destinations_are_sent_and_then_awaited() {
    let (account, server) = (account().await, InboxServer::start().await);
    account.add("ed_other", OTHER_URL, VERSION, &["customer.created"]);
    let mut bus = destination("ed_bus", URL, VERSION, &["invoice.paid"]);
    bus["webhook_endpoint"] = Value::Null;
    account.stripe.add_item(DESTINATIONS, bus);
    // The last event arrives first, so the program waits for both at once.
    let delivery = async {
        let events = [next_ping(&account).await, next_ping(&account).await];
        for event in events.iter().rev() {
            assert_eq!(server.deliver(event, SECRET).await, 200);
        }
        events
    };
    let (output, events) = ping(&account, &server, &["--json"], delivery).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let received: Vec<_> = output.json().iter().map(|line| line["received"].clone()).collect();
    let line = |event: &Payload, id: &str, url: &str| json!({"event": event.id(), "destination": id, "url": url});
    let lines = [line(&events[0], "ed_other", OTHER_URL), line(&events[1], "ed_main", URL)];
    for line in &lines {
        assert!(received.contains(line), "{output:?}");
    }
    insta::assert_snapshot!(output.stderr, @r"
    ed_bus was not pinged: it is a cloud platform, whose rules may drop a ping event
    waiting for 2 ping events in the inbox, for up to 1m
    ");
    let stored = run_program(&["inbox", "show", events[0].id(), "--inbox", &server.inbox]);
    assert_eq!(stored.code, Some(0), "{stored:?}");
    assert!(stored.stdout.contains("unhandled: no handler matched"), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ping_of_one_url_is_reported() {
    let (account, server) = (account().await, InboxServer::start().await);
    account.add("ed_other", OTHER_URL, VERSION, &["invoice.paid"]);
    let delivery = async {
        let event = next_ping(&account).await;
        assert_eq!(server.deliver(&event, SECRET).await, 200);
        event
    };
    let (output, event) = ping(&account, &server, &["--url", URL], delivery).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    insta::assert_snapshot!(output.stdout.replace(event.id(), "evt_1"), @r"
    received  ping event evt_1 of ed_main, https://shop.example/webhook

    no findings
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn ping_that_does_not_arrive_is_a_finding() {
    let (account, server) = (account().await, InboxServer::start().await);
    let timeout = ["--ping-timeout", "100ms"];
    let (output, event) = ping(&account, &server, &timeout, next_ping(&account)).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    insta::assert_snapshot!(output.stdout.replace(event.id(), "evt_1"), @r"
    error ping: The ping event evt_1 of ed_main to https://shop.example/webhook did not arrive within 0.1 s.
      impact  Events may not reach the program.
      remedy  Check that https://shop.example/webhook reaches the server, that the server has the signing secret of ed_main, and that it stores events in this inbox. The recent deliveries of ed_main in Stripe's dashboard show the server's answer.

    1 error, 0 warnings, 0 info
    ");
    let (output, _) =
        ping(&account, &server, &[&timeout[..], &["--json"]].concat(), next_ping(&account)).await;
    let lines = output.json();
    assert_eq!((lines.len(), &lines[0]["code"]), (1, &json!("ping")), "{output:?}");
    assert_eq!(
        (&lines[0]["severity"], &lines[0]["destinations"]),
        (&json!("error"), &json!(["ed_main"]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ping_with_another_secret_is_a_finding() {
    let (account, server) = (account().await, InboxServer::start().await);
    let delivery = async {
        let event = next_ping(&account).await;
        (server.deliver(&event, "whsec_of_another_destination").await, event)
    };
    let (output, (status, event)) =
        ping(&account, &server, &["--ping-timeout", "1s"], delivery).await;
    assert_eq!((output.code, status), (Some(1), 400), "{output:?}");
    let message = format!("error ping: The ping event {} of ed_main to {URL} did not", event.id());
    assert!(output.stdout.starts_with(&message), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn account_without_webhook_endpoint_fails_the_ping() {
    let (account, server) = (Account::new(json!([])).await, InboxServer::start().await);
    let mut bus = destination("ed_bus", URL, VERSION, &["invoice.paid"]);
    bus["webhook_endpoint"] = Value::Null;
    account.stripe.add_item(DESTINATIONS, bus);
    let (output, ()) = ping(&account, &server, &[], async {}).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    let message = "\nerror ping: No destination was pinged: none is an enabled webhook endpoint.\n";
    assert!(output.stdout.contains(message), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_ping_names_the_permission_after_the_findings() {
    let (account, server) = (account().await, InboxServer::start().await);
    account.stripe.fault_at(
        &format!("{DESTINATIONS}/ed_main/ping"),
        Fault::error(403, "The key needs 'webhook_write'."),
    );
    account.add("ed_plain", "http://shop.example/plain", VERSION, &["invoice.paid"]);
    let (output, ()) = ping(&account, &server, &[], async {}).await;
    assert_eq!(output.code, Some(3), "{output:?}");
    assert!(output.stdout.starts_with("warning insecure_url: ed_plain"), "{output:?}");
    assert!(output.stderr.contains("Write for --fix --yes and for --ping"), "{output:?}");
}
