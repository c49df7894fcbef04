//! Signs every sample snapshot event, with every object that it can carry, and verifies and decodes
//! it with async-stripe's webhook crate.

use std::collections::BTreeMap;

use router_catalog::Kind;
use router_core::{SigningSecret, testing::SyntheticEvent};
use stripe_webhook::{Event, EventType, Webhook, WebhookError};

const SECRET: &str = "whsec_test";

/// The prefix of the event types that are newer than this release of async-stripe.
const NEWER: &str = "three_d_secure.authentication.";

/// The events that do not decode: event type, object and reason, separated by tabs.
const EXCEPTIONS: &str = include_str!("exceptions.tsv");

#[test]
fn all_events_decode_except_listed_ones() {
    let mut exceptions: BTreeMap<_, _> = EXCEPTIONS
        .lines()
        .map(|line| line.rsplit_once('\t').expect("line has type, object and reason"))
        .collect();
    let listed = exceptions.len();
    let (mut events, mut failures) = (0, Vec::new());
    for (event_type, object) in types_and_objects() {
        events += 1;
        let name = format!("{event_type}\t{object}");
        match (decode(event_type, object), exceptions.remove(name.as_str())) {
            (Ok(()), None) | (Err(_), Some(_)) => {}
            (Ok(()), Some(_)) => {
                failures.push(format!("{name}\tlisted as an exception, but decodes"))
            }
            (Err(error), None) => failures.push(format!("{name}\t{error}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(exceptions.is_empty(), "listed exceptions do not exist: {exceptions:?}");
    assert!(listed * 100 <= events * 3, "{listed} of {events} are exceptions");
    println!("{} of {events} events decode", events - listed);
}

#[test]
fn all_event_types_are_known_except_newer_ones() {
    for known in snapshots() {
        let unknown = matches!(known.name.parse(), Ok(EventType::Unknown(_)));
        assert_eq!(unknown, known.name.starts_with(NEWER), "{}", known.name);
    }
}

#[test]
fn wrong_secret_is_rejected() {
    let (body, signature) = signed("invoice.paid", "invoice");
    let result = Webhook::construct_event(&body, &signature, "whsec_other");
    assert!(matches!(result, Err(WebhookError::BadSignature)), "{result:?}");
}

/// Decodes an event with serde, whose errors are detailed, and with miniserde.
fn decode(event_type: &str, object: &str) -> Result<(), String> {
    let (body, signature) = signed(event_type, object);
    let by_serde: Event = serde_json::from_str(&body).map_err(|error| error.to_string())?;
    let by_miniserde =
        Webhook::construct_event(&body, &signature, SECRET).map_err(|error| error.to_string())?;
    for event in [by_serde, by_miniserde] {
        assert_eq!(event.type_.as_str(), event_type);
        let decoded = format!("{:?}", event.data.object);
        let variant = decoded.split('(').next().unwrap_or_default();
        if variant.to_lowercase() != event_type.replace(['.', '_'], "") {
            return Err(format!("decoded as `{variant}`"));
        }
        if let Some((_, unknown)) = decoded.split_once("Unknown(") {
            let value = unknown.split(')').next().unwrap_or_default();
            return Err(format!("unknown value {value}"));
        }
    }
    Ok(())
}

/// Returns each event type that async-stripe can know, with each object that it can carry.
fn types_and_objects() -> impl Iterator<Item = (&'static str, &'static str)> {
    let known = snapshots().filter(|known| !known.name.starts_with(NEWER));
    known.flat_map(|known| known.objects().map(|object| (known.name, object)))
}

fn snapshots() -> impl Iterator<Item = &'static router_catalog::EventType> {
    router_catalog::all().iter().filter(|known| known.kind == Kind::Snapshot)
}

/// Returns the body of an event and its `Stripe-Signature` header.
fn signed(event_type: &str, object: &str) -> (String, String) {
    let payload = SyntheticEvent::new(event_type)
        .carrying(object)
        .build()
        .expect("event type is in the catalog");
    let secret = SigningSecret::new(SECRET).expect("secret is valid");
    let body = String::from_utf8(payload.body().to_vec()).expect("body is UTF-8");
    (body, payload.sign(&secret))
}
