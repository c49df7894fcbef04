//! From what became of a request to the response: each row of the table.

use std::{collections::BTreeSet, future::ready, pin::Pin, time::Duration};

use http::{HeaderValue, Method, Response, StatusCode};
use router_core::{
    Endpoint, Event, Failure, Handler, HandlerResult, Object, Outcome, Refusal, Report, Router,
    Tolerance, event::EnvelopeError, on_event, signature::SignatureError, testing::ManualClock,
};
use router_tests::{NOW, now, payload, secret, signature};

use crate::exchange::{post, send};

mod exchange;

/// What the tests below send, and the one handler that they register handles.
const PAID: &str = "invoice.paid";

fn endpoint(handler: impl Handler) -> Endpoint<Router> {
    let router = Router::builder().without_linked().handler("shop", [PAID], handler).build();
    over(router.expect("it is correct"))
}

fn over<S>(inner: S) -> Endpoint<S> {
    Endpoint::new(secret(), inner).clock(ManualClock::at(now()))
}

/// A handler that fails the test's status if it is called.
async fn unwanted(_: Event) {
    panic!("called")
}

fn retry_after(response: &Response<String>) -> Option<&HeaderValue> {
    response.headers().get("retry-after")
}

fn refusal(response: &Response<String>) -> &Refusal {
    assert!(response.extensions().get::<Report>().is_none(), "refused, and yet reported");
    response.extensions().get().expect("a refused request says why in its extensions")
}

fn signature_error(response: &Response<String>) -> SignatureError {
    match refusal(response) {
        Refusal::Signature(error) => *error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_status_is_what_became_of_the_event() {
    fn after(millis: u64) -> HandlerResult {
        Err(Failure::retry_in("busy", Duration::from_millis(millis)))
    }
    let rows: [(fn() -> HandlerResult, _, _, _); 7] = [
        (|| Ok(Outcome::Done), 200, "done", None),
        (|| Ok(Outcome::ignored("not ours")), 200, "ignored", None),
        (|| Err(Failure::permanent("never")), 200, "dead", None),
        (|| Err(Failure::retry("not now")), 500, "retry", None),
        (|| after(0), 500, "retry", Some("0")),
        (|| after(2_000), 500, "retry", Some("2")),
        (|| after(2_001), 500, "retry", Some("3")),
    ];
    for (result, status, handler, wait) in rows {
        let endpoint = endpoint(move |_: Event| ready(result()));
        let response = send(endpoint, post(payload(PAID))).await;
        assert_eq!(response.status(), status, "{handler}");
        assert_eq!(retry_after(&response), wait.map(HeaderValue::from_static).as_ref());
        // To have left an event alone is to be done with it.
        let sum = if handler == "ignored" { "done" } else { handler };
        assert_eq!(
            response.body(),
            &format!(
                r#"{{"event":"evt_1","outcome":"{sum}","handlers":[{{"name":"shop","outcome":"{handler}"}}]}}"#
            )
        );
        let report: &Report = response.extensions().get().unwrap();
        assert_eq!(report.handler("shop").unwrap().is_done(), handler == "done");
    }
}

#[tokio::test]
async fn an_event_that_nobody_handles_is_accepted_and_says_so() {
    let endpoint = endpoint(unwanted);
    let response = send(endpoint, post(payload("invoice.voided"))).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.body(), r#"{"event":"evt_1","outcome":"unhandled","handlers":[]}"#);
    assert!(response.extensions().get::<Report>().unwrap().is_unhandled());
}

#[derive(serde::Deserialize)]
struct Charge {
    #[expect(dead_code, reason = "that it must be there is enough")]
    receipt_number: u64,
}

#[on_event("charge.succeeded", name = "charge")]
async fn charge(_: Object<Charge>) {}

#[tokio::test]
async fn an_object_that_does_not_decode_is_a_dead_letter() {
    let endpoint = over(Router::builder().build().unwrap());
    let response = send(endpoint, post(payload("charge.succeeded"))).await;
    assert_eq!(response.status(), 200);
    let report: &Report = response.extensions().get().unwrap();
    let failure = report.handler("charge").unwrap().result().unwrap_err();
    assert!(report.has_dead_letters());
    assert!(failure.to_string().contains("receipt_number"), "{failure}");
    // The operator's log says which field; the sender is told the outcome alone.
    assert!(!response.body().contains("receipt_number"), "{}", response.body());
}

#[tokio::test]
async fn the_worst_outcome_decides_and_the_longest_wait_counts() {
    let after = |seconds| Err::<(), _>(Failure::retry_in("busy", Duration::from_secs(seconds)));
    let router = Router::builder()
        .without_linked()
        .handler("a", [PAID], async |_: Event| {})
        .handler("b", [PAID], async |_: Event| Err::<(), _>(Failure::permanent("never")))
        .handler("c", [PAID], move |_: Event| ready(after(7)))
        .handler("d", [PAID], move |_: Event| ready(after(60)))
        .handler("e", [PAID], async |_: Event| Err::<(), _>("at any time"));
    let response = send(over(router.build().unwrap()), post(payload(PAID))).await;
    assert_eq!(response.status(), 500);
    assert_eq!(retry_after(&response).unwrap(), "60");
    let outcomes = ["done", "dead", "retry", "retry", "retry"];
    let body: serde_json::Value = serde_json::from_str(response.body()).unwrap();
    assert_eq!(body["outcome"], "retry");
    assert!((0..5).all(|at| body["handlers"][at]["outcome"] == outcomes[at]), "{body}");
}

/// Panics before it has made a future, as one can that does without `async_trait`.
struct NoFuture;

impl Handler for NoFuture {
    fn call<'h, 'f>(&'h self, _: Event) -> Pin<Box<dyn Future<Output = HandlerResult> + Send + 'f>>
    where
        'h: 'f,
    {
        panic!("too early")
    }
}

async fn before_await(_: Event) {
    panic!("before the first await")
}

async fn after_await(_: Event) {
    tokio::task::yield_now().await;
    panic!("after it")
}

#[tokio::test]
async fn a_panic_is_tried_again_and_harms_no_other_handler() {
    let router = Router::builder()
        .without_linked()
        .handler("a", [PAID], NoFuture)
        .handler("b", [PAID], before_await)
        .handler("c", [PAID], after_await)
        .handler("d", [PAID], async |_: Event| {});
    let response = send(over(router.build().unwrap()), post(payload(PAID))).await;
    assert_eq!(response.status(), 500);
    assert_eq!(retry_after(&response), None);
    let report: &Report = response.extensions().get().unwrap();
    let said = ["a", "b", "c"].map(|name| report.handler(name).unwrap().result().unwrap_err());
    let said = said.map(ToString::to_string);
    let expected = ["too early", "before the first await", "after it"];
    assert_eq!(said, expected.map(|text| format!("the handler panicked: {text}")));
    assert!(report.handler("d").unwrap().is_done());
}

#[tokio::test]
async fn whatever_is_wrong_with_a_signature_the_sender_is_told_the_same() {
    use SignatureError as E;

    let body = payload(PAID);
    let good = signature(body.as_bytes());
    let (t, v1) = good.split_once(',').unwrap();
    let at = |seconds| router_core::signature::sign(&secret(), seconds, body.as_bytes());
    let no_match = E::NoMatch { secrets: 1, signatures: 1, body_bytes: body.len() };
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
        (Some(at(NOW - 301)), E::TooOld { signed_at: NOW - 301, now: NOW, limit: 300 }),
        (Some(at(NOW + 61)), E::TooFarAhead { signed_at: NOW + 61, now: NOW, limit: 60 }),
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
async fn a_header_that_is_not_even_text_is_refused_like_any_other() {
    let mut request = post(payload(PAID));
    let value = HeaderValue::from_bytes(b"t=\xff,v1=\xff").unwrap();
    request.headers_mut().insert("stripe-signature", value);
    let response = send(endpoint(unwanted), request).await;
    assert_eq!(response.status(), 400);
    assert_eq!(signature_error(&response), SignatureError::UnreadableTimestamp);
}

#[tokio::test]
async fn an_authentic_body_that_is_no_event_is_refused_with_what_is_wrong_and_where() {
    let rows: [(&[u8], _); 5] = [
        (b"", "line 1, column 1"),
        (b"{\"id\":\"evt_1\",\n  \"object\":\"event\" \"type\"}", "line 2, column 20"),
        (br#"{"id":"evt_1","object":"event","data":{"object":{}}}"#, "the field `type` is missing"),
        (br#"{"id":"ch_1","object":"charge"}"#, r#"its `object` is \"charge\""#),
        (b"{\"id\":\"\xff\"}", "it is not UTF-8 (line 1, column 8)"),
    ];
    for (body, wrong) in rows {
        let response = send(endpoint(unwanted), post(body)).await;
        assert_eq!(response.status(), 400);
        assert!(response.body().starts_with(r#"{"error":"the payload is not an event: "#));
        assert!(response.body().contains(wrong), "{}", response.body());
        let Refusal::Envelope(EnvelopeError { line, column, .. }) = refusal(&response) else {
            panic!("{:?}", refusal(&response))
        };
        let place = format!("(line {line}, column {column})");
        assert!(response.body().contains(&place), "{} {place}", response.body());
    }
}

#[tokio::test]
async fn anything_but_a_post_is_told_which_method_is_allowed() {
    let methods = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "post", "STRIPE"];
    for method in methods.map(|method| method.parse::<Method>().unwrap()) {
        let mut request = post(payload(PAID));
        *request.method_mut() = method.clone();
        let response = send(endpoint(unwanted), request).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(response.headers()["allow"], "POST");
        assert_eq!(response.body(), r#"{"error":"method not allowed"}"#);
        assert!(matches!(refusal(&response), Refusal::MethodNotAllowed(of) if *of == method));
    }
}

#[tokio::test]
async fn an_event_in_another_api_version_is_refused_where_one_is_required() {
    let of = |version: &str| {
        payload(PAID).replace(r#""created""#, &format!(r#""api_version":"{version}","created""#))
    };
    let done = async |_: Event| Outcome::Done;
    let required = || endpoint(done).require_api_version("2026-10-28.endive");
    // A later release of the train, and no version at all.
    for body in [of("2026-10-28.endive"), of("2027-01-31.endive"), payload(PAID)] {
        assert_eq!(send(required(), post(body)).await.status(), 200);
    }
    for other in ["2025-09-30.clover", "2024-06-20", "endive.2026"] {
        let response = send(required(), post(of(other))).await;
        assert_eq!(response.status(), 400);
        assert!(matches!(refusal(&response), Refusal::ApiVersion { found, .. } if found == other));
        assert!(response.body().contains(other), "{}", response.body());
        let expected = endpoint(done).expect_api_version("2026-10-28.endive");
        assert_eq!(send(expected, post(of(other))).await.status(), 200, "it only warns");
    }
    // Before there were trains a version was a date.
    let dated = || endpoint(done).require_api_version("2024-06-20");
    assert_eq!(send(dated(), post(of("2024-06-20"))).await.status(), 200);
    assert_eq!(send(dated(), post(of("2024-04-10"))).await.status(), 400);
}
