//! Events delivered and authenticated by a cloud platform: opening its envelope, and running the
//! handlers.

use std::time::{Duration, UNIX_EPOCH};

use router_core::{
    Event, Failure, Router,
    event::{
        AlreadyAuthenticated, EnvelopeError, EnvelopeProblem, JsonType, RelatedObject, SourceError,
    },
    handler::{HandlerReport, Report},
};
use router_tests::event;
use tower::ServiceExt as _;

/// A snapshot event with all kinds of white space, an escape and non-ASCII text, all of which must
/// stay unchanged.
const SNAPSHOT: &str = "{ \"id\":\"evt_1\",\t\"object\":\"event\",\r\n \"type\":\"customer.cre\\u0061ted\",\"created\":1700000000,\n\n\"livemode\":true,\"pending_webhooks\":0,\"request\":{\"id\":\"req_1\",\"idempotency_key\":null},\"data\":{\"object\":{\"id\":\"cus_1\",\"object\":\"customer\",\"name\":\"Zoë\"}} }";
/// A thin event.
const THIN: &str = r#"{"id":"evt_2","object":"v2.core.event","type":"v2.core.event_destination.ping","created":"2026-01-31T12:00:00.000Z","livemode":true,"context":"acct_1","related_object":{"id":"ed_123","type":"v2.core.event_destination","url":"/v2/core/event_destinations/ed_123"}}"#;

/// Returns an Amazon EventBridge envelope as AWS documents it, with Stripe's source.
fn event_bridge(detail: &str) -> String {
    format!(
        r#"{{
  "version": "0",
  "id": "17e8dff5-d6cd-3770-ace9-aeac02b6ac3f",
  "detail-type": "customer.created",
  "source": "aws.partner/stripe.com/ed_123",
  "account": "111122223333",
  "time": "2026-01-31T12:00:00Z",
  "region": "us-west-2",
  "resources": [],
  "detail":   {detail}
}}"#
    )
}

/// Returns an Azure Event Grid envelope: a CloudEvent 1.0 with Stripe's source.
fn event_grid(data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","type":"customer.created","source":"/providers/stripe/ed_123","id":"9aeb0fdf-c01e-0131-0922-9eb54906e209","time":"2026-01-31T12:00:00Z","subject":null,"dataContentType":"application/cloudevents+json","data":{data}}}"#
    )
}

fn from_event_bridge<B: Into<String>>(body: B) -> Result<Event, SourceError> {
    Event::from_event_bridge(AlreadyAuthenticated::by_the_platform(body.into()))
}

fn from_event_grid<B: Into<String>>(body: B) -> Result<Event, SourceError> {
    Event::from_event_grid(AlreadyAuthenticated::by_the_platform(body.into()))
}

async fn run(router: &Router, event: Event) -> Report {
    router.clone().oneshot(event).await.expect("the router is not closed")
}

#[tokio::test]
async fn platform_event_runs_matching_handlers() {
    #[derive(serde::Deserialize)]
    struct Customer {
        name: String,
    }

    let router = Router::builder()
        .handler("snapshot", ["customer.created"], async |event: Event| {
            let customer: Customer = event.decode_object()?;
            assert_eq!(customer.name, "Zoë");
            assert_eq!(event.created(), Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
            Ok::<(), Failure>(())
        })
        .handler("thin", ["v2.core.*"], async |event: Event| {
            let related = event.related_object();
            assert_eq!(related.as_ref().and_then(RelatedObject::id), Some("ed_123"));
            assert_eq!((event.is_thin(), event.context()), (true, Some("acct_1")));
        })
        .build()
        .unwrap();
    for (handler, payload) in [("snapshot", SNAPSHOT), ("thin", THIN)] {
        for (endpoint, event) in [
            ("event_bridge", from_event_bridge(event_bridge(payload))),
            ("event_grid", from_event_grid(event_grid(payload))),
        ] {
            let report = run(&router, event.unwrap()).await;
            let ran: Vec<&str> = report.handlers().iter().map(HandlerReport::name).collect();
            assert_eq!(ran, [handler], "{endpoint}");
            assert!(report.handlers()[0].is_done(), "{report:?}");
            assert_eq!(report.event().endpoint().as_str(), endpoint);
        }
    }
}

#[test]
fn payload_is_a_slice_of_the_envelope() {
    for payload in [SNAPSHOT, THIN] {
        for (envelope, open) in [
            (event_bridge(payload), from_event_bridge as fn(String) -> Result<Event, SourceError>),
            (event_grid(payload), from_event_grid),
            (format!("\r\n\t [ {} ] ", event_grid(payload)), from_event_grid),
        ] {
            let envelope_range = envelope.as_bytes().as_ptr_range();
            let event = open(envelope).unwrap();
            assert_eq!(event.payload(), payload);
            let payload_range = event.payload().as_ptr_range();
            assert!(
                envelope_range.start <= payload_range.start
                    && payload_range.end <= envelope_range.end,
                "the payload was copied"
            );
        }
    }
}

#[test]
fn envelope_key_order_and_escapes_do_not_matter() {
    let envelope = r#"{"detail":{"id":"evt_1","object":"event","type":"a.b","data":{"object":{}}},"\u0073ource":"aws.partner\/stripe.com\/ed_123","detail-type":"a.b"}"#;
    assert_eq!(from_event_bridge(envelope).unwrap().id(), "evt_1");
}

#[test]
fn platform_event_is_unsigned_with_named_endpoint() {
    let delivered = AlreadyAuthenticated::by_the_platform(event_bridge(SNAPSHOT));
    assert_eq!(
        format!("{:?}", delivered.clone().endpoint("connect")),
        format!(
            "AlreadyAuthenticated {{ bytes: {}, endpoint: Some(EndpointName(\"connect\")), account: None }}",
            event_bridge(SNAPSHOT).len()
        )
    );
    let named = Event::from_event_bridge(delivered.endpoint("connect")).unwrap();
    assert_eq!((named.endpoint().as_str(), named.signed_at()), ("connect", None));

    let signed = event(SNAPSHOT).unwrap();
    assert_eq!(signed.signed_at(), Some(router_tests::now()));
}

/// Returns the platform, the problem, its line and its column. Panics if the envelope was opened.
fn envelope_error(
    opened: Result<Event, SourceError>,
) -> (&'static str, EnvelopeProblem, usize, usize) {
    match opened {
        Err(SourceError::NotAnEnvelope { platform, problem, line, column, .. }) => {
            (platform, problem, line, column)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn invalid_envelope_error_has_problem_and_position() {
    const BRIDGE: &str = "Amazon EventBridge";
    const GRID: &str = "Azure Event Grid";
    let syntax = EnvelopeProblem::Syntax;
    let not_an_object = EnvelopeProblem::NotAnObject;
    let not_a_string =
        |field, found| EnvelopeProblem::WrongType { field, expected: JsonType::String, found };
    let too_deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(128), "]".repeat(128));
    let grid = event_grid("0");
    let duplicate_source =
        event_bridge(SNAPSHOT).replacen("\"region\"", "\"detail\":{},\n\"source\"", 1);
    for (body, problem, line, column) in [
        ("", syntax("expected a JSON value"), 1, 1),
        ("not JSON", syntax("expected a JSON value"), 1, 1),
        ("7", not_an_object(JsonType::Number), 1, 1),
        ("[7]", not_an_object(JsonType::Number), 1, 2),
        ("{}", EnvelopeProblem::Missing("detail-type"), 1, 2),
        ("{} x", EnvelopeProblem::TrailingBytes, 1, 4),
        (&too_deep, EnvelopeProblem::TooDeep, 1, 133),
        (&duplicate_source, EnvelopeProblem::Duplicate("source"), 9, 1),
        (
            &event_bridge(SNAPSHOT).replace("\"detail-type\"", "\"type\""),
            EnvelopeProblem::Missing("detail-type"),
            14,
            1,
        ),
        (&event_bridge(SNAPSHOT).replace("source", "x"), EnvelopeProblem::Missing("source"), 14, 1),
        (
            &event_bridge(SNAPSHOT).replace("detail\"", "x\""),
            EnvelopeProblem::Missing("detail"),
            14,
            1,
        ),
        (
            &event_bridge(SNAPSHOT).replace(r#""aws.partner/stripe.com/ed_123""#, "null"),
            not_a_string("source", JsonType::Null),
            5,
            13,
        ),
        (&grid, EnvelopeProblem::Missing("detail-type"), 1, grid.len()),
    ] {
        assert_eq!(
            envelope_error(from_event_bridge(body)),
            (BRIDGE, problem, line, column),
            "{body}"
        );
    }
    let version = EnvelopeProblem::Unreadable {
        field: "specversion",
        expected: "\"1.0\", the version of CloudEvents",
    };
    for (body, problem, line, column) in [
        (event_bridge(THIN), EnvelopeProblem::Missing("specversion"), 11, 1),
        (event_grid(THIN).replace("\"1.0\"", "\"0.3\""), version, 1, 16),
        (
            event_grid(THIN).replace("\"1.0\"", "1"),
            not_a_string("specversion", JsonType::Number),
            1,
            16,
        ),
        (grid.replace("data\"", "atad\""), EnvelopeProblem::Missing("data"), 1, grid.len()),
    ] {
        assert_eq!(
            envelope_error(from_event_grid(&body[..])),
            (GRID, problem, line, column),
            "{body}"
        );
    }
    let not_utf8 = AlreadyAuthenticated::by_the_platform(b"{\"source\":\n\"\xff\"}".as_slice());
    let problem = envelope_error(Event::from_event_bridge(not_utf8));
    assert_eq!(problem, (BRIDGE, EnvelopeProblem::NotUtf8, 2, 2));

    let text = from_event_bridge("{}").unwrap_err().to_string();
    assert_eq!(
        text,
        "the input is not an Amazon EventBridge envelope: the field `detail-type` is missing \
         (line 1, column 2); pass the platform's delivery unmodified"
    );
}

#[test]
fn event_from_another_source_is_refused() {
    for source in [
        "aws.partner/auth0.com/ed_123",
        "aws.partner/stripe.com.example/ed_123",
        "AWS.partner/stripe.com/ed_123",
        "stripe.com",
        "",
    ] {
        let envelope = event_bridge(SNAPSHOT).replace("aws.partner/stripe.com/ed_123", source);
        let error = from_event_bridge(envelope).unwrap_err();
        let text = format!(
            "the source of the Amazon EventBridge envelope is {source:?}, not Stripe's \
             `aws.partner/stripe.com/…`: change the rule or subscription to deliver only Stripe's \
             events here"
        );
        assert_eq!(error.to_string(), text);
    }
    let envelope = event_grid(SNAPSHOT).replace("providers/stripe", "providers/stripes");
    match from_event_grid(envelope) {
        Err(SourceError::NotFromStripe { platform, expected, found, .. }) => {
            assert_eq!(platform, "Azure Event Grid");
            assert_eq!((expected, &found[..]), ("/providers/stripe", "/providers/stripes/ed_123"));
        }
        other => panic!("{other:?}"),
    }
}

/// An EventBridge target with an input path strips the envelope, and a webhook's body never has
/// one.
#[test]
fn event_without_envelope_is_refused_with_advice() {
    for payload in [SNAPSHOT, THIN] {
        for open in [from_event_bridge::<&str>, from_event_grid::<&str>] {
            let error = open(payload).unwrap_err();
            assert!(matches!(error, SourceError::NoEnvelope { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains("input path") && text.contains("`Endpoint`"), "{text}");
        }
    }
}

#[test]
fn event_grid_array_must_hold_one_event() {
    let event = event_grid(THIN);
    assert_eq!(from_event_grid(format!("[{event}]")).unwrap().id(), "evt_2");
    for (body, events) in [("[]".to_owned(), 0), (format!("[{event},{event},{event}]"), 3)] {
        let platform = "Azure Event Grid";
        assert_eq!(from_event_grid(body).unwrap_err(), SourceError::Batch { platform, events });
    }
}

#[test]
fn invalid_event_in_envelope_is_refused_with_cause() {
    let rows = [
        ("null", "it should be an object, but is null", 1, 1),
        (r#""{}""#, "it should be an object, but is a string", 1, 1),
        ("{\n}", "the field `object` is missing", 2, 1),
        (
            r#"{"object":"charge"}"#,
            r#"its `object` is "charge", neither "event" nor "v2.core.event""#,
            1,
            11,
        ),
        (r#"{"object":"event","object":"event"}"#, "the key `object` occurs twice", 1, 19),
    ];
    for (inner, problem, line, column) in rows {
        for (field, platform, opened) in [
            ("detail", "Amazon EventBridge", from_event_bridge(event_bridge(inner))),
            ("data", "Azure Event Grid", from_event_grid(event_grid(inner))),
        ] {
            let error = opened.unwrap_err();
            let text = format!("the `{field}` of the {platform} envelope is not an event");
            assert_eq!(error.to_string(), text);
            let cause = std::error::Error::source(&error).expect("the error has a source");
            let cause: &EnvelopeError =
                cause.downcast_ref().expect("the source is an `EnvelopeError`");
            let actual = (cause.problem.to_string(), cause.line, cause.column);
            assert_eq!(actual, (problem.to_owned(), line, column), "{inner}");
        }
    }
}
