//! Log lines of endpoint and router: everything that needs attention is logged at a fitting level.

use std::{collections::HashMap, future::ready};

use http::{HeaderValue, Request};
use router_core::{
    BoxError, Endpoint, Event, Failure, Outcome, Router, Secrets,
    endpoint::Answer,
    handler::HandlerResult,
    signature::{Tolerance, sign},
    testing::ManualClock,
};
use router_tests::{
    NOW,
    exchange::{post, send},
    logged::{log, logged},
    now, payload, secret,
};
use tower::service_fn;
use tracing_subscriber::filter::LevelFilter;

fn endpoint(result: fn() -> HandlerResult) -> Endpoint<Router> {
    log(LevelFilter::DEBUG);
    let handler = move |_: Event| ready(result());
    let router = Router::builder().handler("shop", ["invoice.paid"], handler).build();
    assert!(logged().contains("router built: 1 registered by hand handlers=1"));
    Endpoint::new(secret(), router.expect("router is valid")).clock(ManualClock::at(now()))
}

fn signed_at(seconds: u64) -> Request<http_body_util::Full<bytes::Bytes>> {
    let body = payload("invoice.paid");
    let header = sign(&secret(), seconds, body.as_bytes());
    let mut request = post(body);
    let header = HeaderValue::try_from(header).expect("signature is a valid header value");
    request.headers_mut().insert("stripe-signature", header);
    request
}

#[tokio::test]
async fn signature_ahead_of_clock_is_accepted_with_warning() {
    let endpoint = endpoint(|| Ok(Outcome::Done));
    // A time in whole seconds can be one second ahead of a clock that lags by milliseconds.
    for (ahead, warned) in [(0, false), (1, false), (2, true), (86_400, true)] {
        assert_eq!(send(endpoint.clone(), signed_at(NOW + ahead)).await.status(), 200, "{ahead}");
        let log = logged();
        let warning = format!("the signature's time is {ahead} s ahead of our clock");
        assert_eq!(log.contains("WARN"), warned, "{log}");
        assert_eq!(log.contains(&warning), warned, "{log}");
    }
}

#[tokio::test]
async fn signature_mismatch_names_content_encoding() {
    let endpoint = endpoint(|| Ok(Outcome::Done));
    let request = |encodings: &[&str]| {
        let mut request = signed_at(NOW);
        *request.body_mut() = "compressed".into();
        for encoding in encodings {
            let encoding = HeaderValue::from_str(encoding).expect("header value is valid");
            request.headers_mut().append("content-encoding", encoding);
        }
        request
    };
    for (encodings, name) in [
        (&["gzip"][..], "gzip"),
        (&["GZIP"], "gzip"),
        (&["br"], "br"),
        (&["gzip, br"], "unknown"),
        (&["identity", "gzip"], "gzip"),
        (&["whsec_a1b2c3"], "unknown"),
    ] {
        assert_eq!(send(endpoint.clone(), request(encodings)).await.status(), 400);
        let log = logged();
        let cause = format!(
            "signing secret(s): the request has a `Content-Encoding` ({name}), so a proxy has \
             probably compressed the body that Stripe signed"
        );
        assert!(log.contains("WARN") && log.contains(&cause), "{encodings:?}: {log}");
        assert!(!log.contains("a1b2c3"), "{log}");
    }
    for encodings in [&[][..], &["identity"], &[""]] {
        send(endpoint.clone(), request(encodings)).await;
        let log = logged();
        assert!(log.contains("WARN") && !log.contains("Content-Encoding"), "{encodings:?}: {log}");
    }
}

#[tokio::test]
async fn secret_without_stripe_prefix_is_logged_once_without_its_text() {
    log(LevelFilter::DEBUG);
    let secrets = Secrets::parse("whsec_a,other=a1b2c3d4").expect("secrets are valid");
    let inner = service_fn(async |_: Event| Ok::<_, BoxError>(Answer::accepted(&"stored")));
    let endpoint = Endpoint::new(secrets, inner).clock(ManualClock::at(now()));
    let start = logged();
    assert!(start.starts_with(" WARN") && start.contains("endpoint=\"other\""), "{start}");
    assert!(start.contains("does not begin with `whsec_`") && !start.contains("a1b2"), "{start}");
    send(endpoint, post(payload("invoice.paid"))).await;
    let log = logged();
    assert!(!log.contains("does not begin"), "{log}");
    for cause in ["`stripe listen` has a secret of its own", "`event-router verify`"] {
        assert!(log.contains(cause), "{log}");
    }
}

#[test]
fn equal_secrets_of_two_endpoints_are_logged_at_start() {
    log(LevelFilter::DEBUG);
    let secrets = ["platform", "connect"].map(|endpoint| secret().named(endpoint));
    let inner = service_fn(async |_: Event| Ok::<_, BoxError>(Answer::accepted(&"stored")));
    drop(Endpoint::new(Secrets::from_iter(secrets), inner));
    let log = logged();
    assert!(log.starts_with("ERROR") && log.contains("two endpoints have the same"), "{log}");
    assert!(log.contains("first=platform second=connect"), "{log}");
}

#[tokio::test]
async fn answer_that_does_not_serialize_is_logged() {
    log(LevelFilter::DEBUG);
    // The keys of a JSON object cannot be arrays.
    let body = || HashMap::from([([1, 2], 3)]);
    type MakeAnswer = fn(&HashMap<[i32; 2], i32>) -> Answer;
    let answers: [(MakeAnswer, _); 2] =
        [(|body| Answer::accepted(body), 200), (|body| Answer::retry(body, None), 500)];
    for (answer, status) in answers {
        let inner = service_fn(move |_: Event| ready(Ok::<_, BoxError>(answer(&body()))));
        let endpoint = Endpoint::new(secret(), inner).clock(ManualClock::at(now()));
        let response = send(endpoint, post(payload("invoice.paid"))).await;
        assert_eq!(response.status(), status);
        let log = logged();
        let text =
            "failed to serialize the body of an answer; the response has the answer's status";
        assert!(log.contains("ERROR") && log.contains(text), "{log}");
        assert!(log.contains("error=key must be a string"), "{log}");
    }
}

#[tokio::test]
async fn handler_outcome_decides_the_log_level() {
    let rows: [(fn() -> HandlerResult, _, _); 5] = [
        (|| Ok(Outcome::Done), "DEBUG", "handler done"),
        (|| Ok(Outcome::ignored("not ours")), " INFO", "reason=not ours"),
        (|| Err("not now".into()), " WARN", "error=not now"),
        (|| Err(Failure::permanent("never")), "ERROR", "error=never"),
        (|| panic!("a bug"), " WARN", "error=the handler panicked: a bug"),
    ];
    for (result, level, text) in rows {
        let body = payload("invoice.paid").replacen('{', r#"{"api_version":"2024-06-20","#, 1);
        send(endpoint(result), post(body)).await;
        let log = logged();
        let line = log.lines().find(|line| line.contains(text));
        let line = line.unwrap_or_else(|| panic!("no {text} in {log}"));
        assert!(line.starts_with(level), "{line}");
        // The line names the event and the handler at every level.
        assert!(line.contains("evt_1") && line.contains("handler=\"shop\""), "{line}");
        // A failure may be due to the version of the object.
        let is_failure = text.starts_with("error=");
        assert_eq!(line.contains("event.api_version=\"2024-06-20\""), is_failure, "{line}");
    }
}

#[tokio::test]
async fn unhandled_event_type_is_logged_once() {
    let endpoint = endpoint(|| Ok(Outcome::Done));
    let count = |log: &str| log.lines().filter(|line| line.starts_with(" INFO")).count();
    for (event_type, lines) in
        [("invoice.voided", 1), ("invoice.voided", 0), ("charge.failed", 1), ("invoice.paid", 1)]
    {
        send(endpoint.clone(), post(payload(event_type))).await;
        let log = logged();
        assert_eq!(count(&log), lines, "{event_type}: {log}");
        assert_eq!(log.contains("no handler"), event_type != "invoice.paid", "{log}");
    }
}

#[tokio::test]
async fn refusals_are_logged_with_reason_and_severity() {
    let endpoint = endpoint(|| Ok(Outcome::Done)).tolerance(Tolerance::default());
    let mut get = post(payload("invoice.paid"));
    *get.method_mut() = http::Method::GET;
    let rows = [
        (get, " WARN", "a webhook endpoint accepts only POST, but the method is GET"),
        (signed_at(NOW - 301), " WARN", "header is 301 s old"),
        (post(vec![b'x'; 2 << 20]), " WARN", "`Endpoint::body_limit` sets this limit"),
        (post("[]"), "ERROR", "the payload is not an event"),
    ];
    for (request, level, reason) in rows {
        send(endpoint.clone(), request).await;
        let log = logged();
        let [line] = log.lines().collect::<Vec<_>>()[..] else { panic!("not one line: {log}") };
        assert!(line.starts_with(level) && line.contains(reason), "{line}");
    }

    let failing = service_fn(async |_: Event| {
        Err::<router_core::endpoint::Answer, BoxError>("disk full".into())
    });
    send(Endpoint::new(secret(), failing).clock(ManualClock::at(now())), signed_at(NOW)).await;
    let log = logged();
    assert!(log.starts_with("ERROR") && log.contains("disk full"), "{log}");
}

#[tokio::test]
async fn refusal_names_path() {
    let endpoint = endpoint(|| Ok(Outcome::Done));
    let signed_by_another = |uri: &str| {
        let body = payload("invoice.paid");
        let mut request = post(body.replace("evt_1", "evt_2"));
        *request.body_mut() = body.into();
        *request.uri_mut() = uri.parse().expect("URI is valid");
        request
    };
    let long = format!("/{}", "x".repeat(2_000));
    for (uri, path) in [
        ("/webhook/acme?token=a1b2c3", "path=\"/webhook/acme\""),
        ("https://hooks.example.com/webhook/acme", "path=\"/webhook/acme\""),
        ("/\u{202e}", r#"path="/\\u{202e}""#),
        (&long, "x… (977 more bytes)\""),
    ] {
        send(endpoint.clone(), signed_by_another(uri)).await;
        let log = logged();
        assert!(log.starts_with(" WARN") && log.contains(path), "{log}");
        assert!(!log.contains("a1b2c3"), "{log}");
    }

    // The method is the sender's text too.
    let mut long_method = signed_by_another("/webhook");
    *long_method.method_mut() = "A".repeat(2_000).parse().expect("method is valid");
    send(endpoint.clone(), long_method).await;
    let log = logged();
    assert!(log.contains("the method is AAAA") && log.len() < 400, "{log}");

    // Refused before and after the signature is checked.
    let mut get = signed_by_another("/webhook/acme");
    *get.method_mut() = http::Method::GET;
    let mut not_an_event = post("[]");
    *not_an_event.uri_mut() = "/webhook/acme".parse().expect("URI is valid");
    for request in [get, not_an_event] {
        send(endpoint.clone(), request).await;
        let log = logged();
        assert!(log.contains("path=\"/webhook/acme\""), "{log}");
    }
}

#[tokio::test]
async fn unexpected_api_version_is_warned_about_once() {
    let endpoint = endpoint(|| Ok(Outcome::Done)).expect_api_version("2026-10-28.endive");
    for (version, lines) in [
        ("2025-09-30.clover", 1),
        ("2025-09-30.clover", 0),
        ("2024-06-20", 1),
        ("2026-01-01.endive", 0),
    ] {
        let version = format!(r#""api_version":"{version}","created""#);
        send(endpoint.clone(), post(payload("invoice.paid").replace(r#""created""#, &version)))
            .await;
        let log = logged();
        let warned = log.lines().filter(|line| line.starts_with(" WARN"));
        assert_eq!(warned.count(), lines, "{version}: {log}");
    }
}
