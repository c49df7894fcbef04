//! Compares how a body is read with serde_json.

use std::time::UNIX_EPOCH;

use router_core::{Event, event::EnvelopeProblem};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::lossy;
use crate::event;

/// Checks that a body is accepted if and only if serde_json reads it as an event without repeated
/// significant keys, and that all fields have the same values.
pub fn check_body_against_serde_json(body: &[u8]) {
    let ours = event(body.to_vec());
    let Ok(theirs) = serde_json::from_slice::<Value>(body) else {
        // serde_json cannot represent numbers out of range and unpaired surrogates as a `Value`,
        // although they are JSON.
        let is_json = serde_json::from_slice::<IgnoredAny>(body).is_ok();
        assert!(ours.is_err() || is_json, "accepted although it is not JSON: {}", lossy(body));
        return;
    };
    if has_ambiguous_request(body, &theirs) {
        return; // Stripe never sends two, and the result is unspecified.
    }
    let is_event = is_event(&theirs) && !has_repeated_key(body, &theirs);
    match ours {
        Ok(event) => {
            assert!(is_event, "accepted although it is not an event: {}", lossy(body));
            assert_same_fields(&event, &theirs);
        }
        Err(error) => {
            // serde_json does not parse timestamps.
            let is_timestamp =
                matches!(error.problem, EnvelopeProblem::Unreadable { field: "created", .. });
            assert!(!is_event || is_timestamp, "{}: {error}", lossy(body));
        }
    }
}

/// The significant keys. serde refuses a struct field that occurs twice.
#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "only the result of deserializing is used")]
struct UniqueKeys<D> {
    id: Option<IgnoredAny>,
    object: Option<IgnoredAny>,
    r#type: Option<IgnoredAny>,
    data: Option<D>,
}

#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "only the result of deserializing is used")]
struct UniqueDataKeys {
    object: Option<IgnoredAny>,
}

fn has_repeated_key(body: &[u8], event: &Value) -> bool {
    let result = match event["data"].is_object() {
        true => serde_json::from_slice::<UniqueKeys<UniqueDataKeys>>(body).map(drop),
        false => serde_json::from_slice::<UniqueKeys<IgnoredAny>>(body).map(drop),
    };
    result.is_err()
}

fn is_event(event: &Value) -> bool {
    let thin = event["object"] == "v2.core.event";
    let data = &event["data"];
    let is_optional_string = |value: &Value| value.is_null() || value.is_string();
    let is_optional_object = |value: &Value| value.is_null() || value.is_object();
    let is_optional_integer = |value: &Value| value.is_null() || value.is_u64();
    let is_nonempty_string = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let is_request = |value: &Value| {
        is_optional_string(value)
            || value.is_object() && has_optional_strings(value, &["id", "idempotency_key"])
    };

    (thin || event["object"] == "event" && data["object"].is_object())
        && is_nonempty_string(&event["id"])
        && is_nonempty_string(&event["type"])
        && if thin {
            is_optional_string(&event["created"])
        } else {
            is_optional_integer(&event["created"])
        }
        && (event["livemode"].is_null() || event["livemode"].is_boolean())
        && has_optional_strings(event, &["api_version", "account", "context"])
        && is_optional_integer(&event["pending_webhooks"])
        && is_optional_object(&data["object"])
        && is_optional_object(&data["previous_attributes"])
        && is_optional_object(&event["related_object"])
        && has_optional_strings(&event["related_object"], &["id", "type", "url"])
        && is_request(request(event))
}

fn has_optional_strings(object: &Value, keys: &[&str]) -> bool {
    keys.iter().all(|key| object[*key].is_null() || object[*key].is_string())
}

/// Returns the API request that caused the event. A thin event has it in its `reason`.
fn request(event: &Value) -> &Value {
    match event.get("reason") {
        None => &event["request"],
        Some(reason) => &reason["request"],
    }
}

/// Returns whether the event may name the request that caused it in more than one place.
fn has_ambiguous_request(body: &[u8], event: &Value) -> bool {
    let reasons = lossy(body).matches("reason").count();
    event.get("reason").is_some() && (reasons > 1 || event.get("request").is_some())
}

/// Returns an optional text, of which an empty one counts as absent.
fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

fn assert_same_fields(event: &Event, theirs: &Value) {
    let parsed = |json: Option<&str>| -> Value {
        let json = json.map(|json| serde_json::from_str(json).expect("a part of an event is JSON"));
        json.unwrap_or_default()
    };
    let data = &theirs["data"];
    assert_eq!(event.id(), theirs["id"]);
    assert_eq!(event.event_type(), theirs["type"]);
    assert_eq!(event.is_thin(), theirs["object"] == "v2.core.event");
    assert_eq!(event.livemode(), theirs["livemode"].as_bool());
    assert_eq!(event.api_version(), text(&theirs["api_version"]));
    assert_eq!(event.account(), text(&theirs["account"]));
    assert_eq!(event.context(), text(&theirs["context"]));
    assert_eq!(event.pending_webhooks(), theirs["pending_webhooks"].as_u64());
    assert_eq!(parsed(event.object_json()), data["object"]);
    assert_eq!(parsed(event.previous_attributes_json()), data["previous_attributes"]);
    let created = event.created().and_then(|created| created.duration_since(UNIX_EPOCH).ok());
    if let (false, Some(created)) = (event.is_thin(), created) {
        assert_eq!(Some(created.as_secs()), theirs["created"].as_u64());
    }
    let request = request(theirs);
    assert_eq!(event.request_id(), text(&request["id"]).or(text(request)));
    assert_eq!(event.idempotency_key(), text(&request["idempotency_key"]));
    let related = event.related_object();
    assert_eq!(related.is_some(), theirs["related_object"].is_object());
    if let Some(related) = related {
        let theirs = &theirs["related_object"];
        assert_eq!(related.id(), text(&theirs["id"]));
        assert_eq!(related.object_type(), text(&theirs["type"]));
        assert_eq!(related.url(), text(&theirs["url"]));
    }
}
