//! Webhooks of other providers as events: the envelope, the handlers, and invalid webhooks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use router_core::{
    BoxError, Event, Object, Router,
    event::{
        AlreadyAuthenticated, EnvelopeProblem, JsonType, Recency, StoredEvent, TextProblem,
        WrapError, Wrapper,
    },
    on_event,
};
use serde_json::Value;
use tower::ServiceExt as _;

/// A body with white space, an escape, a duplicate key and a number, all of which must stay
/// unchanged.
const BODY: &str = "{ \"type\":\"response.completed\",\r\n\"n\":1.50e1,\"n\":2,\"data\":{\"id\":\"resp_\\u0031\"} }";

fn verified(body: &str) -> AlreadyAuthenticated {
    AlreadyAuthenticated::by_its_signature(body.to_owned())
}

fn completed() -> Wrapper<'static> {
    Wrapper::new("openai", "evt_1", "response.completed")
}

fn restored(event: &Event) -> Event {
    Event::from_store(StoredEvent::from_event(event)).expect("stored payload is an event")
}

#[test]
fn event_has_the_wrapper_and_the_body() {
    let created = UNIX_EPOCH + Duration::from_millis(1_750_287_078_900);
    let wrapper = completed().created(created).livemode(true).object_id("resp_1");
    let wrapped = Event::wrapped(verified(&format!("\n {BODY}\t")), wrapper).unwrap();
    for event in [&wrapped, &restored(&wrapped)] {
        assert_eq!(event.object_json(), Some(BODY));
        assert_eq!((event.id(), event.event_type()), ("evt_1", "openai.response.completed"));
        assert_eq!(event.created(), Some(UNIX_EPOCH + Duration::from_secs(1_750_287_078)));
        assert_eq!((event.livemode(), event.is_thin()), (Some(true), false));
        assert_eq!(event.object_id().unwrap().as_str(), "resp_1");
        assert_eq!(Recency::from_event(event), Recency::from_event(&wrapped));
        assert!(Recency::from_event(event).is_some());
        assert_eq!((event.endpoint().as_str(), event.signed_at()), ("openai", None));
        assert_eq!(event.key(), wrapped.key());
        assert_eq!(event.payload(), wrapped.payload());
    }
    let named = verified(BODY).endpoint("openai_eu").account("org_1");
    let named = Event::wrapped(named, completed()).unwrap();
    assert_eq!(named.key().to_string(), "openai_eu/org_1/evt_1/openai.response.completed");
    assert_eq!((named.created(), named.livemode()), (None, None));
    assert_eq!(named.object_id(), None, "the body has no id");
    let default = Event::wrapped(verified(r#"{"id":"order_1"}"#), completed()).unwrap();
    assert_eq!(default.object_id().unwrap().as_str(), "order_1");
}

#[derive(serde::Deserialize)]
struct Completed {
    data: Data,
}

#[derive(serde::Deserialize)]
struct Data {
    id: String,
}

#[on_event("openai.response.completed", unlisted, name = "exact", endpoint = "openai")]
async fn exact(body: Object<Completed>) -> Result<(), BoxError> {
    if body.data.id == "resp_1" { Ok(()) } else { Err("another response".into()) }
}

#[on_event("openai.*", unlisted, name = "prefix", livemode = true)]
async fn prefix(_: Event) {}

#[on_event("invoice.*", name = "stripe")]
async fn stripe(_: Event) {}

#[tokio::test]
async fn handlers_are_matched_by_type_endpoint_and_mode() {
    let builder = Router::builder().only::<exact>().only::<prefix>().only::<stripe>();
    let router = builder.build().unwrap();
    let run = async |verified, wrapper| {
        let report = router.clone().oneshot(Event::wrapped(verified, wrapper).unwrap());
        let report = report.await.unwrap();
        report
            .handlers()
            .iter()
            .map(|run| (run.name().to_owned(), run.is_done()))
            .collect::<Vec<_>>()
    };
    let done = |name: &str| (name.to_owned(), true);
    assert_eq!(run(verified(BODY), completed()).await, [done("exact")]);
    let live = Wrapper::new("openai", "evt_2", "response.completed").livemode(true);
    assert_eq!(run(verified(BODY), live).await, [done("exact"), done("prefix")]);
    let other = Wrapper::new("openai", "evt_3", "response.completed").livemode(true);
    assert_eq!(run(verified(BODY).endpoint("eu"), other).await, [done("prefix")]);
    let foreign = Wrapper::new("paddle", "evt_4", "invoice.paid");
    assert_eq!(run(verified(BODY), foreign).await, []);
}

#[test]
fn invalid_text_is_refused_with_its_field() {
    let long = "a".repeat(10_000);
    let wrap = |wrapper| Event::wrapped(verified("{}"), wrapper).unwrap_err();
    let text = |field, problem| WrapError::Text { field, problem };
    let new = Wrapper::new;
    for (wrapper, expected) in [
        (new("openai", "", "a.b"), text("id", TextProblem::Empty)),
        (new("openai", &long, "a.b"), text("id", TextProblem::TooLong(10_000))),
        (new("openai", "a\0b", "a.b"), text("id", TextProblem::Control('\0'))),
        (new("openai", "a", ""), text("event type", TextProblem::Empty)),
        (new("openai", "a", &long), text("event type", TextProblem::TooLong(10_000))),
        (new("openai", "a", &long[..249]), text("event type", TextProblem::TooLong(256))),
        (new("openai", "a", "a\nb"), text("event type", TextProblem::Control('\n'))),
        (completed().object_id(""), text("object id", TextProblem::Empty)),
        (completed().object_id("\u{85}"), text("object id", TextProblem::Control('\u{85}'))),
        (completed().created(UNIX_EPOCH - Duration::from_nanos(1)), WrapError::Created),
    ] {
        assert_eq!(wrap(wrapper), expected);
    }
    // The default of the object id is in the body.
    for (object_id, problem) in
        [(&*long, TextProblem::TooLong(10_000)), ("\u{1b}[2J", TextProblem::Control('\u{1b}'))]
    {
        let body = serde_json::json!({ "id": object_id }).to_string();
        let error = Event::wrapped(verified(&body), completed()).unwrap_err();
        assert_eq!(error, text("object id", problem));
        assert!(Event::wrapped(verified(&body), completed().object_id("order_1")).is_ok());
    }
    let account = Event::wrapped(verified("{}").account(&*long), completed()).unwrap_err();
    assert_eq!(account, text("account", TextProblem::TooLong(10_000)));
    assert!(Event::wrapped(verified("{}"), new("openai", &long[..255], &long[..248])).is_ok());
    for event_type in ["orders/create", "*", "a.*", "a..b", ".", "a b", "é", "a\"b"] {
        let error = wrap(new("openai", "a", event_type));
        assert!(matches!(error, WrapError::EventType(_)), "{event_type}: {error}");
    }
    for provider in ["", "a.b", "open ai", "invoice", "customer", "v1", &long, "\0"] {
        let error = wrap(new(provider, "a", "a.b"));
        assert!(matches!(error, WrapError::Provider(_)), "{provider}: {error}");
        assert!(error.to_string().len() < 300, "{error}");
    }
    let slash = wrap(new("shopify", "a", "orders/create")).to_string();
    assert!(slash.contains("'/'") && slash.contains("`orders.create`"), "{slash}");
    let quotes = Event::wrapped(verified("{}"), new("openai", r#"a"\"#, "a.b")).unwrap();
    assert_eq!((quotes.id(), restored(&quotes).id()), (r#"a"\"#, r#"a"\"#));
}

#[test]
fn invalid_body_is_refused_with_its_position() {
    let nested = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let (deepest, too_deep) = (nested(125), nested(126));
    assert!(Event::wrapped(verified(&deepest), completed()).is_ok());
    let not_an_object = EnvelopeProblem::NotAnObject;
    for (body, problem, line, column) in [
        ("", EnvelopeProblem::Syntax("expected a JSON value"), 1, 1),
        ("{}}", EnvelopeProblem::TrailingBytes, 1, 3),
        (r#"{}},"type":"invoice.paid","x":{"y":{}"#, EnvelopeProblem::TrailingBytes, 1, 3),
        ("\n[{}]", not_an_object(JsonType::Array), 2, 1),
        ("\"text\"", not_an_object(JsonType::String), 1, 1),
        ("null", not_an_object(JsonType::Null), 1, 1),
        (&*too_deep, EnvelopeProblem::TooDeep, 1, 131),
    ] {
        let error = Event::wrapped(verified(body), completed()).unwrap_err();
        assert_eq!(error, WrapError::Body { problem, line, column }, "{body}");
    }
    let bytes = AlreadyAuthenticated::by_its_signature(b"{\"\xff\"}".as_slice());
    let error = Event::wrapped(bytes, completed()).unwrap_err();
    assert_eq!(error, WrapError::Body { problem: EnvelopeProblem::NotUtf8, line: 1, column: 3 });
    assert_eq!(
        Event::wrapped(verified("[{}]"), completed()).unwrap_err().to_string(),
        "the webhook's body cannot be wrapped: it should be an object, but is an array (line 1, \
         column 1); wrap each event of a batch by itself, with an id of its own"
    );
}

/// Generates a text that is usually valid.
fn text(valid: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![6 => valid, 1 => any::<String>()]
}

/// Generates a body: JSON, nearly JSON, or any text.
fn body() -> impl Strategy<Value = String> {
    let json_like = r#"\{("[a-c]":("[a-c\\\\"]{0,3}"|[0-9]{1,3}|\{\}|\[\]),?){0,3}\}[ ,}]{0,2}"#;
    prop_oneof![json_like, Just(BODY.to_owned()), any::<String>()]
}

proptest! {
    /// Any webhook is refused, or becomes an event that a store restores and that any JSON reader
    /// reads alike.
    #[test]
    fn wrapped_event_is_valid_or_refused(
        provider in text("[a-z]{1,3}"),
        id in text(r#"[a-z"\\ ]{1,8}"#),
        event_type in text("[a-z]{1,3}"),
        object_id in prop::option::of(any::<String>()),
        created in prop::option::of(any::<i64>()),
        body in body(),
    ) {
        let created = created.and_then(|seconds| match seconds {
            0.. => UNIX_EPOCH.checked_add(Duration::from_secs(seconds.unsigned_abs())),
            _ => UNIX_EPOCH.checked_sub(Duration::from_secs(seconds.unsigned_abs())),
        });
        let wrapper = Wrapper::new(&provider, &id, &event_type);
        let wrapper = wrapper.created(created).object_id(object_id.as_deref());
        let expected = serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok()
            && body.trim_start().starts_with('{');
        match Event::wrapped(verified(&body), wrapper) {
            Ok(event) => {
                prop_assert!(expected, "{body}");
                prop_assert_eq!(event.object_json(), Some(body.trim_matches([' ', '\t', '\r', '\n'])));
                prop_assert_eq!(event.created(), created);
                let json: Value = serde_json::from_slice(event.payload()).unwrap();
                prop_assert_eq!(json["id"].as_str(), Some(&*id));
                prop_assert_eq!(json["type"].as_str(), Some(&*format!("{provider}.{event_type}")));
                let restored = restored(&event);
                prop_assert_eq!(restored.key(), event.key());
                prop_assert_eq!(restored.object_id(), event.object_id());
                prop_assert_eq!(restored.created(), event.created());
            }
            Err(WrapError::Body { .. }) => prop_assert!(!expected, "{body}"),
            Err(WrapError::Created) => prop_assert!(created < Some(SystemTime::UNIX_EPOCH)),
            Err(error) => prop_assert!(error.to_string().len() < 300, "{error}"),
        }
    }
}
