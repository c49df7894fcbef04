//! Stripe's own Python library as the other side: what it signs we accept, what we sign it accepts, and
//! our sample events it reads.
//!
//! Needs `python3` with `venv`, and the package registry for the first run. Skipped, with the reason
//! printed, where those are absent; never where `CI` is set.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

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
async fn what_the_official_library_signs_our_endpoint_accepts() {
    let Some(mut peer) = Peer::start() else { return };
    let router =
        Router::builder().without_linked().handler("any", ["*"], async |_: Event| {}).build();
    let endpoint = Endpoint::new(secret(), router.unwrap());
    for body in bodies() {
        let signed = peer.ask(&json!({
            "op": "sign", "secret": SECRET, "timestamp": seconds(), "body_hex": hex(&body),
        }));
        let header = signed["header"].as_str().unwrap_or_else(|| panic!("{signed}"));
        let response = endpoint.receive(Some(header.as_bytes()), body.clone().into()).await;
        assert_eq!(response.status(), 200, "{header} {body}");

        let changed = body.replace("2000", "9000");
        let response = endpoint.receive(Some(header.as_bytes()), changed.into()).await;
        assert_eq!(response.status(), 400, "{header} {body}");
    }
}

#[test]
fn what_we_sign_the_official_library_accepts() {
    let Some(mut peer) = Peer::start() else { return };
    for body in bodies() {
        let header = sign(&secret(), seconds(), body.as_bytes());
        assert_eq!(peer.verify(&header, &body), json!({ "ok": true }), "{header} {body}");

        let changed = body.replace("2000", "9000");
        let refused = peer.verify(&header, &changed);
        assert!(refused["error"].as_str().unwrap().contains("Signature"), "{refused}");
    }
}

#[test]
fn every_sample_event_the_official_library_verifies_and_parses() {
    let Some(mut peer) = Peer::start() else { return };
    for known in router_catalog::all() {
        let payload = SyntheticEvent::new(known.name).build().unwrap();
        let (body, header) = (str::from_utf8(payload.body()).unwrap(), payload.sign(&secret()));
        let event: Value = serde_json::from_str(body).unwrap();
        let is_thin = known.kind == Kind::Thin;
        let (carried, name) = if is_thin {
            (&event["related_object"], "type")
        } else {
            (&event["data"]["object"], "object")
        };
        assert_eq!(
            peer.parse(is_thin, SECRET, &header, body),
            json!({
                "id": event["id"], "type": known.name,
                "object": carried[name], "object_id": carried["id"],
            })
        );
        let refused = peer.parse(is_thin, "whsec_other", &header, body);
        assert!(refused["error"].as_str().unwrap().contains("Signature"), "{refused}");
    }
}

/// Events as they may come: short, long, with line breaks, and beyond ASCII.
fn bodies() -> Vec<String> {
    let plain = payload("payment_intent.succeeded");
    let parsed: Value = serde_json::from_str(&plain).unwrap();
    let pretty = serde_json::to_string_pretty(&parsed).unwrap();
    let unicode = plain.replace("obj_1", "Zoë 東京 🦀");
    let long = plain.replace("obj_1", &"x".repeat(100_000));
    vec![plain, pretty, unicode, long]
}

fn seconds() -> u64 {
    SystemClock.wall().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// `interop/peer.py`, which says what it can be asked.
struct Peer {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Peer {
    fn start() -> Option<Self> {
        let interop = concat!(env!("CARGO_MANIFEST_DIR"), "/interop");
        let venv = concat!(env!("CARGO_TARGET_TMPDIR"), "/stripe-venv");
        let made = Command::new("sh").arg(format!("{interop}/venv.sh")).arg(venv).status();
        if !made.as_ref().is_ok_and(std::process::ExitStatus::success) {
            assert!(env::var_os("CI").is_none(), "no virtualenv with stripe's library: {made:?}");
            eprintln!("skipped: no virtualenv with stripe's library could be made: {made:?}");
            return None;
        }
        let mut process = Command::new(format!("{venv}/bin/python"))
            .arg(format!("{interop}/peer.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = process.stdin.take().unwrap();
        let from = BufReader::new(process.stdout.take().unwrap());
        let mut peer = Self { process, to, from };
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

    fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.to, "{request}").unwrap();
        let mut answer = String::new();
        self.from.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It has nothing to lose, and a test that failed is not to wait for it.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
