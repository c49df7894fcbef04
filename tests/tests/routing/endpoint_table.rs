//! The response for each outcome of a request: status, headers, body and extensions.

use std::{collections::BTreeSet, future::ready, pin::Pin, time::Duration};

use http::{HeaderValue, Method, Response, StatusCode};
use router_core::{
    Endpoint, Event, Failure, Object, Outcome, Router,
    endpoint::{EventService, Refusal},
    event::EnvelopeError,
    handler::{Handler, HandlerResult, IntoHandler, Report},
    on_event,
    signature::{SignatureError, Tolerance},
    testing::ManualClock,
};
use router_tests::{NOW, now, payload, secret, signature};

use router_tests::exchange::{post, send};

/// The event type that the tests send and their handlers handle.
const PAID: &str = "invoice.paid";

fn endpoint<A>(handler: impl IntoHandler<A>) -> Endpoint<Router> {
    let router = Router::builder().without_linked().handler("shop", [PAID], handler).build();
    endpoint_for(router.expect("the router is valid"))
}

fn endpoint_for<S: EventService>(inner: S) -> Endpoint<S> {
    Endpoint::new(secret(), inner).clock(ManualClock::at(now()))
}

/// A handler that must not be called.
async fn unwanted(_: Event) {
    panic!("the handler was called")
}

fn retry_after(response: &Response<String>) -> Option<&HeaderValue> {
    response.headers().get("retry-after")
}

fn refusal(response: &Response<String>) -> &Refusal {
    assert!(response.extensions().get::<Report>().is_none(), "a refused request has a report");
    response.extensions().get().expect("a refused request has a refusal in its extensions")
}

fn signature_error(response: &Response<String>) -> SignatureError {
    match refusal(response) {
        Refusal::Signature(error) => *error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn status_follows_handler_outcome() {
    fn retry_after_millis(millis: u64) -> HandlerResult {
        Err(Failure::retry_in("busy", Duration::from_millis(millis)))
    }
    let rows: [(fn() -> HandlerResult, _, _, _); 7] = [
        (|| Ok(Outcome::Done), 200, "done", None),
        (|| Ok(Outcome::ignored("not ours")), 200, "ignored", None),
        (|| Err(Failure::permanent("never")), 200, "dead", None),
        (|| Err(Failure::retry("not now")), 500, "retry", None),
        (|| retry_after_millis(0), 500, "retry", Some("0")),
        (|| retry_after_millis(2_000), 500, "retry", Some("2")),
        (|| retry_after_millis(2_001), 500, "retry", Some("3")),
    ];
    for (result, status, outcome, wait) in rows {
        let endpoint = endpoint(move |_: Event| ready(result()));
        let response = send(endpoint, post(payload(PAID))).await;
        assert_eq!(response.status(), status, "{outcome}");
        assert_eq!(retry_after(&response), wait.map(HeaderValue::from_static).as_ref());
        // An ignored event counts as done.
        let total = if outcome == "ignored" { "done" } else { outcome };
        assert_eq!(
            response.body(),
            &format!(
                r#"{{"event":"evt_1","outcome":"{total}","handlers":[{{"name":"shop","outcome":"{outcome}"}}]}}"#
            )
        );
        let report: &Report = response.extensions().get().unwrap();
        assert_eq!(report.handler("shop").unwrap().is_done(), outcome == "done");
    }
}

#[tokio::test]
async fn unhandled_event_is_accepted_and_reported() {
    let endpoint = endpoint(unwanted);
    let response = send(endpoint, post(payload("invoice.voided"))).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.body(), r#"{"event":"evt_1","outcome":"unhandled","handlers":[]}"#);
    assert!(response.extensions().get::<Report>().unwrap().is_unhandled());
}

#[derive(serde::Deserialize)]
struct Charge {
    #[expect(dead_code, reason = "only decoding is tested")]
    receipt_number: u64,
}

#[on_event("charge.succeeded", name = "charge")]
async fn charge(_: Object<Charge>) {}

#[tokio::test]
async fn undecodable_object_is_a_dead_letter() {
    let endpoint = endpoint_for(Router::builder().only::<charge>().build().unwrap());
    let response = send(endpoint, post(payload("charge.succeeded"))).await;
    assert_eq!(response.status(), 200);
    let report: &Report = response.extensions().get().unwrap();
    let failure = report.handler("charge").unwrap().result().unwrap_err();
    assert!(report.has_dead_letters());
    assert!(failure.to_string().contains("receipt_number"), "{failure}");
    // The log names the field; the response has only the outcome.
    assert!(!response.body().contains("receipt_number"), "{}", response.body());
}

#[tokio::test]
async fn worst_outcome_and_longest_retry_after_win() {
    let retry_after_seconds =
        |seconds| Err::<(), _>(Failure::retry_in("busy", Duration::from_secs(seconds)));
    let router = Router::builder()
        .without_linked()
        .handler("a", [PAID], async |_: Event| {})
        .handler("b", [PAID], async |_: Event| Err::<(), _>(Failure::permanent("never")))
        .handler("c", [PAID], move |_: Event| ready(retry_after_seconds(7)))
        .handler("d", [PAID], move |_: Event| ready(retry_after_seconds(60)))
        .handler("e", [PAID], async |_: Event| Err::<(), _>("no delay given"));
    let response = send(endpoint_for(router.build().unwrap()), post(payload(PAID))).await;
    assert_eq!(response.status(), 500);
    assert_eq!(retry_after(&response).unwrap(), "60");
    let outcomes = ["done", "dead", "retry", "retry", "retry"];
    let body: serde_json::Value = serde_json::from_str(response.body()).unwrap();
    assert_eq!(body["outcome"], "retry");
    assert!((0..5).all(|index| body["handlers"][index]["outcome"] == outcomes[index]), "{body}");
}

/// A handler without `async_trait` that panics before it returns a future.
struct PanicsInCall;

impl Handler for PanicsInCall {
    fn call<'h, 'f>(&'h self, _: Event) -> Pin<Box<dyn Future<Output = HandlerResult> + Send + 'f>>
    where
        'h: 'f,
    {
        panic!("before the future")
    }
}

async fn before_await(_: Event) {
    panic!("before the first await")
}

async fn after_await(_: Event) {
    tokio::task::yield_now().await;
    panic!("after the first await")
}

#[tokio::test]
async fn handler_panic_is_retried_and_isolated() {
    let router = Router::builder()
        .without_linked()
        .handler("a", [PAID], PanicsInCall)
        .handler("b", [PAID], before_await)
        .handler("c", [PAID], after_await)
        .handler("d", [PAID], async |_: Event| {});
    let response = send(endpoint_for(router.build().unwrap()), post(payload(PAID))).await;
    assert_eq!(response.status(), 500);
    assert_eq!(retry_after(&response), None);
    let report: &Report = response.extensions().get().unwrap();
    let failures = ["a", "b", "c"].map(|name| report.handler(name).unwrap().result().unwrap_err());
    let texts = failures.map(ToString::to_string);
    let expected = ["before the future", "before the first await", "after the first await"];
    assert_eq!(texts, expected.map(|text| format!("the handler panicked: {text}")));
    assert!(report.handler("d").unwrap().is_done());
}

#[tokio::test]
async fn all_signature_errors_have_the_same_body() {
    use SignatureError as E;

    let body = payload(PAID);
    let valid = signature(body.as_bytes());
    let (t, v1) = valid.split_once(',').unwrap();
    let signed_at = |seconds| router_core::signature::sign(&secret(), seconds, body.as_bytes());
    let no_match =
        E::NoMatch { secrets: 1, signatures: 1, body_bytes: body.len(), content_encoding: None };
    let rows = [
        (None, E::MissingHeader),
        (Some(String::new()), E::UnreadableHeader),
        (Some("nonsense".into()), E::UnreadableHeader),
        (Some(v1.to_owned()), E::NoTimestamp),
        (Some(format!("t=noon,{v1}")), E::UnreadableTimestamp),
        (Some(format!("{t},{t},{v1}")), E::RepeatedTimestamp),
        (Some(format!("{t},{}", v1.replace("v1", "v0"))), E::NoSignature),
        (Some(format!("{t},v1=abc")), E::UnreadableSignature),
        (Some(format!("t={},{v1}", NOW - 1)), no_match),
        (Some(signed_at(NOW - 301)), E::TooOld { signed_at: NOW - 301, now: NOW, limit: 300 }),
        (Some(signed_at(NOW + 61)), E::TooFarAhead { signed_at: NOW + 61, now: NOW, limit: 60 }),
    ];
    let endpoint =
        endpoint(unwanted).tolerance(Tolerance::default().max_ahead(Duration::from_secs(60)));
    let mut bodies = BTreeSet::new();
    for (header, expected) in rows {
        let mut request = post(body.clone());
        request.headers_mut().remove("stripe-signature");
        if let Some(header) = header {
            request.headers_mut().insert("stripe-signature", header.parse().unwrap());
        }
        let response = send(endpoint.clone(), request).await;
        assert_eq!(response.status(), 400, "{expected}");
        assert_eq!(signature_error(&response), expected);
        bodies.insert(response.into_body());
    }
    assert_eq!(bodies, BTreeSet::from([r#"{"error":"signature verification failed"}"#.into()]));
}

#[tokio::test]
async fn non_utf8_signature_header_is_refused() {
    let mut request = post(payload(PAID));
    let value = HeaderValue::from_bytes(b"t=\xff,v1=\xff").unwrap();
    request.headers_mut().insert("stripe-signature", value);
    let response = send(endpoint(unwanted), request).await;
    assert_eq!(response.status(), 400);
    assert_eq!(signature_error(&response), SignatureError::UnreadableTimestamp);
}

#[tokio::test]
async fn signed_non_event_is_refused_with_the_position() {
    let rows: [(&[u8], _); 5] = [
        (b"", "line 1, column 1"),
        (b"{\"id\":\"evt_1\",\n  \"object\":\"event\" \"type\"}", "line 2, column 20"),
        (br#"{"id":"evt_1","object":"event","data":{"object":{}}}"#, "the field `type` is missing"),
        (br#"{"id":"ch_1","object":"charge"}"#, r#"its `object` is \"charge\""#),
        (b"{\"id\":\"\xff\"}", "it is not UTF-8 (line 1, column 8)"),
    ];
    for (body, problem) in rows {
        let response = send(endpoint(unwanted), post(body)).await;
        assert_eq!(response.status(), 400);
        assert!(response.body().starts_with(r#"{"error":"the payload is not an event: "#));
        assert!(response.body().contains(problem), "{}", response.body());
        let Refusal::Envelope(EnvelopeError { line, column, .. }) = refusal(&response) else {
            panic!("{:?}", refusal(&response))
        };
        let position = format!("(line {line}, column {column})");
        assert!(response.body().contains(&position), "{} {position}", response.body());
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_allow_header() {
    let methods = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "post", "STRIPE"];
    for method in methods.map(|method| method.parse::<Method>().unwrap()) {
        let mut request = post(payload(PAID));
        *request.method_mut() = method.clone();
        let response = send(endpoint(unwanted), request).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(response.headers()["allow"], "POST");
        assert_eq!(response.body(), r#"{"error":"method not allowed"}"#);
        assert!(
            matches!(refusal(&response), Refusal::MethodNotAllowed(refused) if *refused == method)
        );
    }
}

#[tokio::test]
async fn other_api_version_is_refused_if_one_is_required() {
    let with_version = |version: &str| {
        payload(PAID).replace(r#""created""#, &format!(r#""api_version":"{version}","created""#))
    };
    let done = async |_: Event| Outcome::Done;
    let requiring = || endpoint(done).require_api_version("2026-10-28.endive");
    // The required version, a later release of the same train, flags, and no version.
    for body in [
        with_version("2026-10-28.endive"),
        with_version("2027-01-31.endive"),
        with_version("2026-10-28.endive;managed_payments_preview=v1"),
        payload(PAID),
    ] {
        assert_eq!(send(requiring(), post(body)).await.status(), 200);
    }
    for other in ["2025-09-30.clover", "2024-06-20", "endive.2026"] {
        let response = send(requiring(), post(with_version(other))).await;
        assert_eq!(response.status(), 400);
        assert!(matches!(refusal(&response), Refusal::ApiVersion { found, .. } if found == other));
        assert!(response.body().contains(other), "{}", response.body());
        let expecting = endpoint(done).expect_api_version("2026-10-28.endive");
        assert_eq!(
            send(expecting, post(with_version(other))).await.status(),
            200,
            "`expect_api_version` refuses the event"
        );
    }
    // Older versions are dates without a release train.
    let dated = || endpoint(done).require_api_version("2024-06-20");
    assert_eq!(send(dated(), post(with_version("2024-06-20"))).await.status(), 200);
    assert_eq!(send(dated(), post(with_version("2024-04-10"))).await.status(), 400);
    // A preview equals only itself.
    let preview = || endpoint(done).require_api_version("2025-03-31.preview");
    assert_eq!(send(preview(), post(with_version("2025-03-31.preview;a=v1"))).await.status(), 200);
    assert_eq!(send(preview(), post(with_version("2024-01-01.preview"))).await.status(), 400);
}

#[test]
#[should_panic(expected = "\"2026-10-28,endive\" is not an API version of Stripe: write a date")]
fn malformed_expected_api_version_panics() {
    drop(endpoint(async |_: Event| Outcome::Done).require_api_version("2026-10-28,endive"));
}
