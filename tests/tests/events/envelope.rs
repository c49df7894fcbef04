//! Parsing of the event envelope: its fields, its rules, and the position of errors.

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use router_core::event::{EnvelopeError, EnvelopeProblem, JsonType};
use router_tests::{event, invariant::check_body_against_serde_json};
use serde_json::{Value, json};

#[test]
fn snapshot_event_fields_are_read() {
    let payload = json!({
        "id": "evt_1",
        "object": "event",
        "type": "customer.updated",
        "created": 1_700_000_000,
        "livemode": true,
        "api_version": "2026-10-28.endive",
        "account": "acct_1",
        "context": "acct_2",
        "pending_webhooks": 2,
        "request": { "id": "req_1", "idempotency_key": "key_1" },
        "data": { "object": { "id": "cus_1" }, "previous_attributes": { "email": null } },
        "an_unknown_field": [{ "type": 1 }],
    })
    .to_string();
    let event = event(payload.clone()).unwrap();
    assert_eq!(event.id(), "evt_1");
    assert_eq!(event.event_type(), "customer.updated");
    assert!(!event.is_thin());
    assert_eq!(event.created(), Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
    assert_eq!(event.livemode(), Some(true));
    assert_eq!(event.api_version(), Some("2026-10-28.endive"));
    assert_eq!(event.account(), Some("acct_1"));
    assert_eq!(event.context(), Some("acct_2"));
    assert_eq!(event.pending_webhooks(), Some(2));
    assert_eq!(event.request_id(), Some("req_1"));
    assert_eq!(event.idempotency_key(), Some("key_1"));
    assert_eq!(event.object_json(), Some(r#"{"id":"cus_1"}"#));
    assert_eq!(event.previous_attributes_json(), Some(r#"{"email":null}"#));
    assert!(event.related_object().is_none());
    assert_eq!(event.payload(), payload.as_bytes());
}

#[test]
fn thin_event_fields_are_read() {
    let event = event(
        json!({
            "id": "evt_test_1",
            "object": "v2.core.event",
            "type": "v2.core.account[identity].updated",
            "created": "2023-11-14T22:13:20.123Z",
            "livemode": false,
            "context": "acct_1",
            "reason": { "type": "request", "request": { "id": "req_1", "idempotency_key": "key_1" } },
            "related_object": { "id": "acct_2", "type": "v2.core.account", "url": "/v2/core/accounts/acct_2" },
        })
        .to_string(),
    )
    .unwrap();
    assert!(event.is_thin());
    assert_eq!(event.event_type(), "v2.core.account[identity].updated");
    assert_eq!(event.created(), Some(UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)));
    assert_eq!(event.context(), Some("acct_1"));
    assert_eq!(event.request_id(), Some("req_1"));
    assert_eq!(event.idempotency_key(), Some("key_1"));
    let related = event.related_object().unwrap();
    assert_eq!(related.id(), Some("acct_2"));
    assert_eq!(related.object_type(), Some("v2.core.account"));
    assert_eq!(related.url(), Some("/v2/core/accounts/acct_2"));
    assert_eq!(event.object_json(), None);
}

#[test]
fn optional_fields_may_be_absent_or_null() {
    let minimal = r#"{"id":"evt_1","object":"event","type":"a.b","data":{"object":{}}}"#;
    let nulls = r#"{"id":"evt_1","object":"event","type":"a.b","created":null,"livemode":null,"api_version":null,"account":null,"context":null,"request":null,"pending_webhooks":null,"related_object":null,"data":{"object":{},"previous_attributes":null}}"#;
    // An empty text names nothing.
    let empty = r#"{"id":"evt_1","object":"event","type":"a.b","api_version":"","account":"","context":"","request":{"id":"","idempotency_key":""},"data":{"object":{}}}"#;
    for payload in [minimal, nulls, empty] {
        let event = event(payload).unwrap();
        assert_eq!((event.created(), event.livemode()), (None, None));
        assert_eq!((event.api_version(), event.account(), event.context()), (None, None, None));
        assert_eq!((event.request_id(), event.idempotency_key()), (None, None));
        assert_eq!((event.pending_webhooks(), event.previous_attributes_json()), (None, None));
        assert!(event.related_object().is_none());
    }
    let thin = event(r#"{"id":"evt_1","object":"v2.core.event","type":"v2.a"}"#).unwrap();
    assert!(thin.related_object().is_none() && thin.created().is_none());
}

/// The balance is a singleton, so a thin event names its type and URL but no id.
#[test]
fn related_object_may_have_no_id() {
    let payload = r#"{"id":"evt_1","object":"v2.core.event","type":"v2.a","related_object":{"type":"balance","url":"/v1/balance"}}"#;
    let event = event(payload).unwrap();
    let related = event.related_object().unwrap();
    assert_eq!((related.id(), related.object_type()), (None, Some("balance")));
}

/// Events of old accounts have the request as a string.
#[test]
fn request_may_be_a_string() {
    let payload =
        r#"{"id":"evt_1","object":"event","type":"a.b","request":"req_1","data":{"object":{}}}"#;
    assert_eq!(event(payload).unwrap().request_id(), Some("req_1"));
}

#[test]
fn escapes_and_white_space_are_decoded() {
    let payload = " {\"\\u0069d\" : \"evt\\u005f1\",\r\n\t\"object\":\"ev\\u0065nt\",\"type\":\"a\\u002eb\",\"data\":{\"object\": { } } }\n";
    let event = event(payload).unwrap();
    assert_eq!((event.id(), event.event_type()), ("evt_1", "a.b"));
    assert_eq!(event.object_json(), Some("{ }"));
}

#[test]
fn last_of_duplicate_optional_keys_wins() {
    let payload = r#"{"id":"evt_1","object":"event","type":"a.b","account":"acct_1","account":"acct_2","data":{"object":{}}}"#;
    assert_eq!(event(payload).unwrap().account(), Some("acct_2"));
}

#[test]
fn event_clone_shares_the_payload() {
    let event =
        event(r#"{"id":"evt_1","object":"event","type":"a.b","data":{"object":{}}}"#).unwrap();
    assert_eq!(event.payload().as_ptr(), event.clone().payload().as_ptr());
}

#[test]
fn last_reason_wins_even_if_it_has_no_request() {
    let payload = r#"{"id":"evt_1","object":"v2.core.event","type":"a.b","reason":{"request":{"id":"req_1"}},"reason":{}}"#;
    assert_eq!(event(payload).unwrap().request_id(), None);
}

#[test]
fn non_event_error_has_problem_and_position() {
    let wrong_type = |field, expected, found| EnvelopeProblem::WrongType { field, expected, found };
    // The payload, its problem, and the line and column of the error.
    let rows: [(&[u8], EnvelopeProblem, (usize, usize)); _] = [
        (b"", EnvelopeProblem::Syntax("expected a JSON value"), (1, 1)),
        (b"hello", EnvelopeProblem::Syntax("expected a JSON value"), (1, 1)),
        (b"\xef\xbb\xbf{}", EnvelopeProblem::Syntax("expected a JSON value"), (1, 1)),
        (b"{}", EnvelopeProblem::Missing("object"), (1, 2)),
        (b"[]", EnvelopeProblem::NotAnObject(JsonType::Array), (1, 1)),
        (b"{'id':1}", EnvelopeProblem::Syntax("expected a key in double quotes"), (1, 2)),
        (br#"{"id":"a","id":"a"}"#, EnvelopeProblem::Duplicate("id"), (1, 11)),
        (br#"{"id":"a","\u0069d":"b"}"#, EnvelopeProblem::Duplicate("id"), (1, 11)),
        (br#"{"object":"event","object":"event"}"#, EnvelopeProblem::Duplicate("object"), (1, 19)),
        (br#"{"type":"a","type":"b"}"#, EnvelopeProblem::Duplicate("type"), (1, 13)),
        (br#"{"data":{},"data":{}}"#, EnvelopeProblem::Duplicate("data"), (1, 12)),
        (
            br#"{"data":{"object":{},"object":{}}}"#,
            EnvelopeProblem::Duplicate("data.object"),
            (1, 22),
        ),
        (br#"{"object":"charge"}"#, EnvelopeProblem::NotAnEvent("charge".into()), (1, 11)),
        (br#"{"object":7}"#, wrong_type("object", JsonType::String, JsonType::Number), (1, 11)),
        (br#"{"object":"event"}"#, EnvelopeProblem::Missing("data"), (1, 18)),
        (
            br#"{"object":"event","data":[]}"#,
            wrong_type("data", JsonType::Object, JsonType::Array),
            (1, 26),
        ),
        (br#"{"object":"event","data":{}}"#, EnvelopeProblem::Missing("data.object"), (1, 28)),
        (
            br#"{"object":"event","data":{"object":"x"}}"#,
            wrong_type("data.object", JsonType::Object, JsonType::String),
            (1, 36),
        ),
        (br#"{"object":"v2.core.event"}"#, EnvelopeProblem::Missing("id"), (1, 26)),
        (br#"{"object":"v2.core.event","id":""}"#, EnvelopeProblem::Empty("id"), (1, 32)),
        (
            b"{\"object\":\"v2.core.event\",\n\"id\":null}",
            wrong_type("id", JsonType::String, JsonType::Null),
            (2, 6),
        ),
        (br#"{"object":"v2.core.event","id":"a"}"#, EnvelopeProblem::Missing("type"), (1, 35)),
    ];
    for (payload, problem, (line, column)) in rows {
        let error = event(payload).unwrap_err();
        let text = String::from_utf8_lossy(payload);
        assert_eq!(error.problem, problem, "{text}");
        assert_eq!((error.line, error.column), (line, column), "{text}");
    }
}

#[test]
fn wrong_type_error_names_the_field() {
    let snapshot =
        json!({ "id": "evt_1", "object": "event", "type": "a.b", "data": { "object": {} } });
    let thin = json!({ "id": "evt_1", "object": "v2.core.event", "type": "v2.a" });
    let string = "\"text\"";
    for (base, field, value) in [
        (&snapshot, "id", "1"),
        (&snapshot, "type", "{}"),
        (&snapshot, "created", string),
        (&snapshot, "created", "1.5"),
        (&snapshot, "created", "-1"),
        (&snapshot, "livemode", string),
        (&snapshot, "api_version", "20261028"),
        (&snapshot, "account", "[]"),
        (&snapshot, "context", "{}"),
        (&snapshot, "request", "7"),
        (&snapshot, "pending_webhooks", string),
        (&snapshot, "pending_webhooks", "1e400"),
        (&thin, "created", "1700000000"),
        (&thin, "created", "\"yesterday\""),
        (&thin, "related_object", string),
        (&thin, "account", r#""\ud800""#),
    ] {
        let mut payload = base.clone();
        payload[field] = Value::Null;
        let payload =
            payload.to_string().replace(&format!("{field}\":null"), &format!("{field}\":{value}"));
        let error = event(payload.clone()).unwrap_err().to_string();
        assert!(error.contains(&format!("`{field}")), "{payload}: {error}");
        assert!(error.contains("line 1, column "), "{payload}: {error}");
    }
}

#[test]
fn depth_trailing_bytes_and_utf8_are_checked() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let with = |extra: &str| {
        format!(
            r#"{{"id":"evt_1","object":"event","type":"a.b","data":{{"object":{{"deep":{extra}}}}}}}"#
        )
    };
    // The limit is 128 levels; the event, `data` and `data.object` are three of them.
    assert!(event(with(&nested(125))).is_ok());
    assert_eq!(problem(with(&nested(126))), EnvelopeProblem::TooDeep);
    assert_eq!(problem(with(&nested(5_000))), EnvelopeProblem::TooDeep);
    assert_eq!(problem(with("1") + "x"), EnvelopeProblem::TrailingBytes);
    assert_eq!(problem(with("1") + &with("1")), EnvelopeProblem::TrailingBytes);

    let mut not_utf8 = with("\"?\"").into_bytes();
    let position = not_utf8.iter().position(|byte| *byte == b'?').unwrap();
    not_utf8[position] = 0xff;
    let error = event(not_utf8).unwrap_err();
    assert_eq!((error.problem, error.column), (EnvelopeProblem::NotUtf8, position + 1));
}

#[test]
fn deepest_accepted_object_decodes_with_serde_json() {
    // The levels of the envelope count towards our limit, so an accepted object is within the limit
    // of serde_json.
    let deep = format!("{}{}", "[".repeat(125), "]".repeat(125));
    let payload = format!(
        r#"{{"id":"evt_1","object":"event","type":"a.b","data":{{"object":{{"deep":{deep}}}}}}}"#
    );
    event(payload).unwrap().decode_object::<Value>().unwrap();
}

/// Returns the problem of an invalid payload.
fn problem(payload: String) -> EnvelopeProblem {
    event(payload)
        .map(|event| panic!("{event:?}"))
        .unwrap_or_else(|error: EnvelopeError| error.problem)
}

/// Returns a strategy for JSON values; half of the objects have the required fields of an event.
fn event_like() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "id",
        "object",
        "type",
        "created",
        "livemode",
        "account",
        "request",
        "reason",
        "data",
        "related_object",
        "previous_attributes",
        "other",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        prop::sample::select(vec!["event", "v2.core.event", "a.b"]).prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(key.clone(), inner, 0..6)
                .prop_map(|fields| fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    });
    (value, any::<bool>()).prop_map(|(value, complete)| match value {
        // With the required fields, the value passes more than the first check.
        Value::Object(mut fields) if complete => {
            fields.insert("object".into(), "event".into());
            fields.insert("id".into(), "evt_1".into());
            fields.insert("type".into(), "a.b".into());
            let object = fields.remove("data").unwrap_or_default();
            fields.insert("data".into(), json!({ "object": { "other": object } }));
            Value::Object(fields)
        }
        value => value,
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body: Vec<u8>) {
        drop(event(body));
    }

    #[test]
    fn accepted_event_matches_serde_json(value in event_like(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        check_body_against_serde_json(text.unwrap().as_bytes());
    }

    #[test]
    fn truncated_payload_is_refused(value in event_like(), length: prop::sample::Index) {
        let text = value.to_string();
        let truncated = &text.as_bytes()[..length.index(text.len())];
        // A truncated number can be valid JSON, but is not an event.
        prop_assert!(event(truncated.to_vec()).is_err());
    }
}
