//! Interoperability with Stripe's Python library: signatures in both directions, and the library
//! parses our sample events.
//!
//! The tests need `python3` with `venv`, and for the first run the package registry. Without them
//! the tests print the reason and are skipped, or fail if `CI` is set.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::UNIX_EPOCH,
};

use router_catalog::Kind;
use router_core::{
    Endpoint, Event, Router,
    clock::{Clock as _, SystemClock},
    signature::sign,
    testing::SyntheticEvent,
};
use router_tests::{SECRET, payload, secret};
use serde_json::{Value, json};

#[tokio::test]
async fn endpoint_accepts_signatures_of_stripe_library() {
    let Some(mut peer) = Peer::start() else { return };
    let router =
        Router::builder().without_linked().handler("any", ["*"], async |_: Event| {}).build();
    let endpoint = Endpoint::new(secret(), router.unwrap());
    for body in bodies() {
        let signed = peer.ask(&json!({
            "op": "sign", "secret": SECRET, "timestamp": unix_now(), "body_hex": hex(&body),
        }));
        let header = signed["header"].as_str().unwrap_or_else(|| panic!("{signed}"));
        let response = endpoint.receive(Some(header.as_bytes()), body.clone().into()).await;
        assert_eq!(response.status(), 200, "{header} {body}");

        let tampered = body.replace("2000", "9000");
        let response = endpoint.receive(Some(header.as_bytes()), tampered.into()).await;
        assert_eq!(response.status(), 400, "{header} {body}");
    }
}

#[test]
fn stripe_library_accepts_our_signatures() {
    let Some(mut peer) = Peer::start() else { return };
    for body in bodies() {
        let header = sign(&secret(), unix_now(), body.as_bytes());
        assert_eq!(peer.verify(&header, &body), json!({ "ok": true }), "{header} {body}");

        let tampered = body.replace("2000", "9000");
        let refused = peer.verify(&header, &tampered);
        assert!(refused["error"].as_str().unwrap().contains("Signature"), "{refused}");
    }
}

#[test]
fn stripe_library_parses_every_sample_event() {
    let Some(mut peer) = Peer::start() else { return };
    for known in router_catalog::all() {
        let payload = SyntheticEvent::new(known.name).build().unwrap();
        let (body, header) = (str::from_utf8(payload.body()).unwrap(), payload.sign(&secret()));
        let event: Value = serde_json::from_str(body).unwrap();
        let is_thin = known.kind == Kind::Thin;
        let (object, type_key) = if is_thin {
            (&event["related_object"], "type")
        } else {
            (&event["data"]["object"], "object")
        };
        assert_eq!(
            peer.parse(is_thin, SECRET, &header, body),
            json!({
                "id": event["id"], "type": known.name,
                "object": object[type_key], "object_id": object["id"],
            })
        );
        let refused = peer.parse(is_thin, "whsec_other", &header, body);
        assert!(refused["error"].as_str().unwrap().contains("Signature"), "{refused}");
    }
}

/// Returns events that are short, long, with line breaks, and with non-ASCII text.
fn bodies() -> Vec<String> {
    let plain = payload("payment_intent.succeeded");
    let parsed: Value = serde_json::from_str(&plain).unwrap();
    let pretty = serde_json::to_string_pretty(&parsed).unwrap();
    let unicode = plain.replace("obj_1", "Zoë 東京 🦀");
    let long = plain.replace("obj_1", &"x".repeat(100_000));
    vec![plain, pretty, unicode, long]
}

/// Returns the current time in seconds since the Unix epoch.
fn unix_now() -> u64 {
    SystemClock.wall().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// A running `interop/peer.py`, which documents its requests.
struct Peer {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Peer {
    /// Returns `None` if the virtualenv cannot be created and `CI` is not set.
    fn start() -> Option<Self> {
        let interop = concat!(env!("CARGO_MANIFEST_DIR"), "/interop");
        let venv = concat!(env!("CARGO_TARGET_TMPDIR"), "/stripe-venv");
        let created = Command::new("sh").arg(format!("{interop}/venv.sh")).arg(venv).status();
        if !created.as_ref().is_ok_and(std::process::ExitStatus::success) {
            assert!(
                env::var_os("CI").is_none(),
                "no virtualenv with Stripe's library: {created:?}"
            );
            eprintln!("skipped: failed to create a virtualenv with Stripe's library: {created:?}");
            return None;
        }
        let mut process = Command::new(format!("{venv}/bin/python"))
            .arg(format!("{interop}/peer.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let mut peer = Self { process, stdin, stdout };
        assert_eq!(peer.ask(&json!({ "op": "version" })), json!({ "version": "16.1.0" }));
        Some(peer)
    }

    fn verify(&mut self, header: &str, body: &str) -> Value {
        self.ask(&json!({
            "op": "verify", "secret": SECRET, "header": header, "body_hex": hex(body),
            "tolerance": 300,
        }))
    }

    fn parse(&mut self, thin: bool, secret: &str, header: &str, body: &str) -> Value {
        self.ask(&json!({
            "op": "parse", "thin": thin, "secret": secret, "header": header, "body_hex": hex(body),
        }))
    }

    /// Sends a request and returns the answer.
    fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.stdin, "{request}").unwrap();
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The peer has no state, and a failed test must not wait for it.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
