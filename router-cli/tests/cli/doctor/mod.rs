//! `event-router doctor`, against a stub of Stripe's API.

mod ping;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::PathBuf,
    process::Command,
    thread,
    time::Duration,
};

use router_stripe::testing::{Fault, STUB_KEY, StubStripe};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{CliOutput, program};

const ENDPOINTS: &str = "/v1/webhook_endpoints";
const DESTINATIONS: &str = "/v2/core/event_destinations";
const URL: &str = "https://shop.example/webhook";

/// An account at Stripe, and the routes of a program.
struct Account {
    stripe: StubStripe,
    folder: TempDir,
}

impl Account {
    async fn new(routes: Value) -> Self {
        let stripe = StubStripe::start().await.expect("a port is free");
        let folder = tempfile::tempdir().expect("a folder can be made");
        fs::write(folder.path().join("routes.json"), routes.to_string()).expect("file is written");
        Self { stripe, folder }
    }

    /// Adds an event destination for snapshot events of the account itself.
    fn add(&self, id: &str, url: &str, version: &str, events: &[&str]) {
        self.stripe.add_item(DESTINATIONS, destination(id, url, version, events));
    }

    fn routes(&self) -> PathBuf {
        self.folder.path().join("routes.json")
    }

    fn run(&self, arguments: &[&str]) -> CliOutput {
        run(self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let (base, routes) = (self.stripe.url(), self.routes());
        let routes = routes.to_str().expect("path is Unicode");
        let common = ["doctor", "--routes", routes, "--api-base", &base];
        let mut command = program(&[&common, arguments].concat());
        command.env("STRIPE_API_KEY", STUB_KEY).env("SHOP_SECRET", "changeme");
        command
    }
}

fn run(mut command: Command) -> CliOutput {
    let output: CliOutput = command.output().expect("the program runs").into();
    assert!(!format!("{output:?}").contains(STUB_KEY), "{output:?}");
    output
}

fn destination(id: &str, url: &str, version: &str, events: &[&str]) -> Value {
    json!({
        "id": id,
        "object": "v2.core.event_destination",
        "enabled_events": events,
        "event_payload": "snapshot",
        "events_from": ["@self"],
        "livemode": false,
        "snapshot_api_version": version,
        "status": "enabled",
        "type": "webhook_endpoint",
        "webhook_endpoint": {"url": url},
    })
}

/// Returns an account with ten faults.
async fn faulty_account() -> Account {
    let account = Account::new(json!([
        {"pattern": "account.updated", "handler": "shop.account", "endpoint": "connect"},
        {"pattern": "charge.succeeded", "handler": "ledger.charge"},
        {"pattern": "customer.created", "handler": "crm.customer"},
        {"pattern": "invoice.paid", "handler": "shop.fulfil"},
        {"pattern": "invoice.voided", "handler": "shop.void"},
        {"pattern": "v1.charge.succeeded", "handler": "audit.charge"},
    ]))
    .await;
    let current = "2026-10-28.endive";
    let legacy = json!({"id": "we_legacy", "object": "webhook_endpoint", "status": "disabled",
        "api_version": current, "application": null, "livemode": false,
        "enabled_events": ["invoice.paid"], "url": "https://shop.example/legacy"});
    account.stripe.add_item(ENDPOINTS, legacy);
    account.add("ed_plain", "http://shop.example/plain", current, &["customer.created"]);
    account.add("ed_copy", URL, current, &["invoice.paid"]);
    let events = ["account.updated", "charge.failed", "charge.succeeded", "invoice.paid"];
    account.add("ed_main", URL, "2025-09-30.clover", &events);
    account.stripe.set_clock_ahead(Duration::from_secs(60));
    account
}

const FAULTY: [&str; 10] = [
    "--url",
    URL,
    "--url",
    "https://shop.example/legacy",
    "--url",
    "http://shop.example/plain",
    "--expect-api-version",
    "2026-10-28.endive",
    "--secret-env",
    "SHOP_SECRET",
];

/// Replaces the measured clock skew, which can be a second less.
fn with_fixed_skew(stdout: &str) -> String {
    stdout.replace("58 s behind", "59 s behind")
}

#[tokio::test(flavor = "multi_thread")]
async fn account_with_ten_faults_has_ten_findings() {
    let account = faulty_account().await;
    let output = account.run(&[&FAULTY[..], &["--json"]].concat());
    assert_eq!(output.code, Some(1), "{output:?}");
    let codes: Vec<_> =
        output.json().iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        codes,
        [
            "not_enabled",
            "scope",
            "payload_kind",
            "disabled",
            "secret",
            "clock_skew",
            "api_version",
            "duplicate_url",
            "insecure_url",
            "unhandled"
        ]
    );
    let output = account.run(&[&FAULTY[..], &["--fix"]].concat());
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("nothing was changed; pass --fix --yes"), "{output:?}");
    assert!(account.stripe.requests().iter().all(|request| request.method == "GET"));
    insta::assert_snapshot!(with_fixed_skew(&output.stdout), @r#"
    error not_enabled: The handler shop.void takes invoice.voided, which ed_main does not send.
      impact  Stripe does not send these events, so the handlers never run.
      remedy  Enable the event types at ed_main.
      fix     POST /v2/core/event_destinations/ed_main {"enabled_events":["account.updated","charge.failed","charge.succeeded","invoice.paid","invoice.voided"]}

    error scope: The handler shop.account takes account.updated of connected accounts, which ed_main does not send.
      impact  Stripe does not send the events of connected accounts, so the handlers never run.
      remedy  Create a destination for the events of connected accounts (`events_from` with `@accounts`). The accounts of a destination cannot be changed.

    error payload_kind: The handler audit.charge takes v1.charge.succeeded, but ed_main sends snapshot events.
      impact  A snapshot event and its thin event have different types, so the handlers never run.
      remedy  Create a destination for thin events, or handle the snapshot events. The payload of a destination cannot be changed.

    error disabled: we_legacy is disabled.
      impact  Stripe sends nothing to a disabled destination.
      remedy  Enable we_legacy, or delete it if it is not needed.
      fix     POST /v1/webhook_endpoints/we_legacy disabled=false

    error secret: The signing secret cannot be used: SHOP_SECRET: this is a word that stands for a missing secret, such as `null` or `changeme`; set the secret that Stripe's dashboard shows, `whsec_…`.
      impact  The server cannot start, or refuses every event.
      remedy  Set the secret that Stripe's dashboard shows, and restart the server.

    warning clock_skew: The clock of this machine is 59 s behind Stripe's.
      impact  A signature is valid for 300 s by default, measured with the server's clock.
      remedy  Synchronize the clock with NTP, on each machine that receives events.

    warning api_version: ed_main sends events in 2025-09-30.clover; the program expects 2026-10-28.endive.
      impact  Objects may have other fields than the program's types.
      remedy  Create a destination with the expected version and disable this one; the version of a destination cannot be changed.

    warning duplicate_url: ed_main and ed_copy send some of the same events to https://shop.example/webhook.
      impact  Each event arrives twice, and each destination signs with its own secret.
      remedy  Disable all but one, or enable different event types at each.

    warning insecure_url: ed_plain sends to http://shop.example/plain.
      impact  Events are readable in transit, and Stripe refuses http in live mode.
      remedy  Change the URL to https.

    info unhandled: ed_main sends charge.failed, which no handler takes.
      impact  The server receives and ignores events that no handler takes.
      remedy  Add handlers, or remove the event types from ed_main.

    5 errors, 4 warnings, 1 info
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn fix_sends_two_requests_and_compares_again() {
    let account = faulty_account().await;
    let output = account.run(&[&FAULTY[..], &["--fix", "--yes", "--json"]].concat());
    assert_eq!(output.code, Some(1), "{output:?}");
    let lines = output.json();
    assert_eq!(lines.iter().filter(|line| line["sent"].is_object()).count(), 2, "{output:?}");
    let findings: Vec<_> = lines.iter().filter(|line| line["code"].is_string()).collect();
    assert_eq!(findings.len(), 8, "{output:?}");
    assert!(findings.iter().all(|finding| finding["fix"].is_null()), "{output:?}");
    let posts: Vec<_> = account.stripe.requests();
    let posts: Vec<_> = posts.iter().filter(|request| request.method == "POST").collect();
    assert_eq!(posts[0].path, "/v2/core/event_destinations/ed_main");
    assert_eq!(
        posts[0].body,
        json!({"enabled_events": ["account.updated", "charge.failed", "charge.succeeded",
            "invoice.paid", "invoice.voided"]})
        .to_string()
    );
    assert_eq!(
        (&*posts[1].path, &*posts[1].body),
        ("/v1/webhook_endpoints/we_legacy", &b"disabled=false"[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn correct_account_has_no_findings() {
    let account =
        Account::new(json!([{"pattern": "invoice.paid", "handler": "shop.fulfil"}])).await;
    account.add("ed_main", URL, "2026-10-28.endive", &["invoice.paid"]);
    let arguments = ["--expect-api-version", "2026-10-28.endive", "--secret-env"];
    let output = account.run(&[&arguments[..], &["STRIPE_WEBHOOK_SECRET"]].concat());
    assert_eq!((output.code, &*output.stdout), (Some(0), "no findings\n"), "{output:?}");
    account.add("ed_2", "https://shop.example/2", "2026-10-28.endive", &["charge.failed"]);
    let output = account.run(&[]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.ends_with("0 errors, 0 warnings, 1 info\n"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_key_is_an_error_that_names_the_permission() {
    let account = Account::new(json!([])).await;
    let message = format!("The key {STUB_KEY} needs 'webhook_read'.");
    account.stripe.fault(Fault::error(403, &message));
    let output = account.run(&[]);
    assert_eq!((output.code, &*output.stdout), (Some(3), ""), "{output:?}");
    insta::assert_snapshot!(output.stderr, @r#"
    error: GET /v1/webhook_endpoints failed (403): The key [API key] needs 'webhook_read'; add the permission to the restricted key in Stripe's dashboard [req_1]
      `doctor` needs the permission "Webhook Endpoints, Event Destinations" (webhook_read): Read, or Write for --fix --yes and for --ping
    "#);
}

#[test]
fn exported_destinations_need_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, json: Value| {
        let path = folder.path().join(name);
        fs::write(&path, json.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let routes = json!([{"pattern": "invoice.paid", "handler": "shop.fulfil"}]);
    let routes = file("routes.json", routes);
    let list = json!({"data": [destination("ed_1", URL, "2026-10-28.endive", &["invoice.paid"])]});
    let destinations = file("destinations.json", list);
    let run = |arguments: &[&str]| -> CliOutput {
        program(&[&["doctor"], arguments].concat()).output().unwrap().into()
    };
    let output = run(&["--routes", &routes, "--destinations", &destinations]);
    assert_eq!((output.code, &*output.stdout), (Some(0), "no findings\n"), "{output:?}");
    for (arguments, error) in [
        (&["--routes", &*routes][..], "error: STRIPE_API_KEY: the environment variable"),
        (&["--routes", &*destinations], "is not the JSON of `router.routes()`"),
        (&["--routes", "none.json"], "error: cannot read none.json: "),
        (&["--routes", &*routes, "--yes"], "--fix"),
        (
            &["--routes", &*routes, "--ping"],
            "pass it as `--inbox sqlite:FILE`, or set EVENT_ROUTER_INBOX",
        ),
        (&["--routes", &*routes, "--ping", "--inbox", "sqlite:none.db"], "none.db"),
        (
            &["--routes", &*routes, "--ping", "--destinations", &*destinations],
            "'--ping' cannot be used with '--destinations <FILE>'",
        ),
    ] {
        let output = run(arguments);
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{output:?}");
        assert!(output.stderr.contains(error), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_read_from_a_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/routes", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").unwrap();
    });
    let account = Account::new(Value::Null).await;
    account.add("ed_main", URL, "2026-10-28.endive", &["invoice.paid"]);
    let mut command = program(&["doctor", "--routes", &url, "--api-base", &account.stripe.url()]);
    let output: CliOutput = command.env("STRIPE_API_KEY", STUB_KEY).output().unwrap().into();
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.starts_with("info unhandled: ed_main sends invoice.paid"), "{output:?}");
    server.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn text_of_the_account_forges_no_finding_and_sends_no_command() {
    let account = Account::new(json!([])).await;
    let url = "http://shop.example/\nerror not_enabled: forged\u{1b}[31m\u{202e}";
    account.add("ed_1\u{7}", url, "2026-10-28.endive", &["invoice.paid\nerror"]);
    let output = account.run(&[]);
    let lines = output.stdout.lines();
    assert!(lines.clone().all(|line| !line.starts_with("error")), "{output:?}");
    assert!(!output.stdout.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{output:?}");
    account.stripe.fault(Fault::error(400, "no\nwarning: forged\u{1b}]0;title\u{7}"));
    let output = account.run(&[]);
    assert_eq!((output.code, output.stderr.lines().count()), (Some(3), 1), "{output:?}");
    let file = account.folder.path().join("destinations.json");
    let object = json!({"id": "ed_1\nwarning: \u{9b}31m", "object": "x\n", "status": "enabled"});
    fs::write(&file, object.to_string()).expect("file is written");
    let output = account.run(&["--destinations", file.to_str().expect("path is Unicode")]);
    assert_eq!((output.code, output.stderr.lines().count()), (Some(2), 1), "{output:?}");
    assert!(!output.stderr.contains('\u{9b}'), "{output:?}");
}

#[test]
fn unreachable_routes_are_an_error_with_its_cause_and_without_password() {
    let output: CliOutput = program(&["doctor", "--routes", "http://user:hunter2@127.0.0.1:1/x"])
        .output()
        .unwrap()
        .into();
    assert_eq!((output.code, &*output.stdout), (Some(3), ""), "{output:?}");
    assert!(output.stderr.contains("onnection refused"), "{output:?}");
    assert!(!output.stderr.contains("hunter2"), "{output:?}");
}
