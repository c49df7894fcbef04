//! A body, held against serde_json.

use std::time::UNIX_EPOCH;

use router_core::{Event, event::EnvelopeProblem};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::shown;
use crate::event;

/// What serde_json reads as an event is one, if no key that decides what it is stands there twice;
/// nothing else is; and both read the same in it.
pub fn body_is_read_as_serde_json_reads_it(body: &[u8]) {
    let ours = event(body.to_vec());
    let Ok(theirs) = serde_json::from_slice::<Value>(body) else {
        // A number out of range and half a character make no value, and yet are JSON.
        let is_json = serde_json::from_slice::<IgnoredAny>(body).is_ok();
        assert!(ours.is_err() || is_json, "{} is no JSON", shown(body));
        return;
    };
    if has_requests(body, &theirs) {
        return; // There is no telling which one counts, and Stripe never sends two.
    }
    let is_event = is_event(&theirs) && !has_key_twice(body, &theirs);
    match ours {
        Ok(event) => {
            assert!(is_event, "{} is taken", shown(body));
            is_read_alike(&event, &theirs);
        }
        Err(error) => {
            // serde_json reads no times.
            let is_time =
                matches!(error.problem, EnvelopeProblem::Unreadable { field: "created", .. });
            assert!(!is_event || is_time, "{}: {error}", shown(body));
        }
    }
}

/// Keys of which serde lets no second one pass.
#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "that it can be read is enough")]
struct Once<D> {
    id: Option<IgnoredAny>,
    object: Option<IgnoredAny>,
    r#type: Option<IgnoredAny>,
    data: Option<D>,
}

#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "that it can be read is enough")]
struct DataOnce {
    object: Option<IgnoredAny>,
}

fn has_key_twice(body: &[u8], event: &Value) -> bool {
    let read = match event["data"].is_object() {
        true => serde_json::from_slice::<Once<DataOnce>>(body).map(drop),
        false => serde_json::from_slice::<Once<IgnoredAny>>(body).map(drop),
    };
    read.is_err()
}

fn is_event(event: &Value) -> bool {
    let thin = event["object"] == "v2.core.event";
    let data = &event["data"];
    let is_text = |value: &Value| value.is_null() || value.is_string();
    let is_object = |value: &Value| value.is_null() || value.is_object();
    let is_whole = |value: &Value| value.is_null() || value.is_u64();
    let is_full = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let is_request = |value: &Value| {
        is_text(value) || value.is_object() && has_texts(value, &["id", "idempotency_key"])
    };

    (thin || event["object"] == "event" && data["object"].is_object())
        && is_full(&event["id"])
        && is_full(&event["type"])
        && if thin { is_text(&event["created"]) } else { is_whole(&event["created"]) }
        && (event["livemode"].is_null() || event["livemode"].is_boolean())
        && has_texts(event, &["api_version", "account", "context"])
        && is_whole(&event["pending_webhooks"])
        && is_object(&data["object"])
        && is_object(&data["previous_attributes"])
        && is_object(&event["related_object"])
        && has_texts(&event["related_object"], &["id", "type", "url"])
        && is_request(request(event))
}

fn has_texts(object: &Value, keys: &[&str]) -> bool {
    keys.iter().all(|key| object[*key].is_null() || object[*key].is_string())
}

/// The API request that caused the event: a thin event says it in its reason.
fn request(event: &Value) -> &Value {
    match event.get("reason") {
        None => &event["request"],
        Some(reason) => &reason["request"],
    }
}

/// Whether the event may say in more than one place what request caused it.
fn has_requests(body: &[u8], event: &Value) -> bool {
    let reasons = shown(body).matches("reason").count();
    event.get("reason").is_some() && (reasons > 1 || event.get("request").is_some())
}

fn is_read_alike(event: &Event, theirs: &Value) {
    let parsed = |json: Option<&str>| -> Value {
        let json = json.map(|json| serde_json::from_str(json).expect("it is a part of JSON"));
        json.unwrap_or_default()
    };
    let data = &theirs["data"];
    assert_eq!(event.id(), theirs["id"]);
    assert_eq!(event.event_type(), theirs["type"]);
    assert_eq!(event.is_thin(), theirs["object"] == "v2.core.event");
    assert_eq!(event.livemode(), theirs["livemode"].as_bool());
    assert_eq!(event.api_version(), theirs["api_version"].as_str());
    assert_eq!(event.account(), theirs["account"].as_str());
    assert_eq!(event.context(), theirs["context"].as_str());
    assert_eq!(event.pending_webhooks(), theirs["pending_webhooks"].as_u64());
    assert_eq!(parsed(event.object_json()), data["object"]);
    assert_eq!(parsed(event.previous_attributes_json()), data["previous_attributes"]);
    let created = event.created().and_then(|created| created.duration_since(UNIX_EPOCH).ok());
    if let (false, Some(created)) = (event.is_thin(), created) {
        assert_eq!(Some(created.as_secs()), theirs["created"].as_u64());
    }
    let request = request(theirs);
    assert_eq!(event.request_id(), request["id"].as_str().or(request.as_str()));
    assert_eq!(event.idempotency_key(), request["idempotency_key"].as_str());
    let related = event.related_object();
    assert_eq!(related.is_some(), theirs["related_object"].is_object());
    if let Some(related) = related {
        let theirs = &theirs["related_object"];
        assert_eq!(related.id(), theirs["id"].as_str());
        assert_eq!(related.object_type(), theirs["type"].as_str());
        assert_eq!(related.url(), theirs["url"].as_str());
    }
}
