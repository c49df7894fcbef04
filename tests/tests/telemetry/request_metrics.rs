//! Metrics of requests, with or without an event.

use std::{collections::BTreeSet, pin::pin};

use router_core::Router;
use router_tests::{
    NOW,
    exchange::{post, send},
    held::Held,
    payload, payload_with_id,
};

use crate::{
    endpoint,
    every_path::poll,
    handlers,
    metrics_recorder::MetricsRecorder,
    refusals::{REASONS, StalledBody, refuse_for_every_reason, signed_at},
};

#[tokio::test]
async fn refusal_is_counted_by_a_fixed_reason() {
    let recorder = MetricsRecorder::install();
    refuse_for_every_reason(&payload("invoice.paid")).await;
    let reasons = REASONS.map(|reason| format!("refused_total{{reason=\"{reason}\"}} 1"));
    let others = [
        r#"api_version_mismatch_total{found="2024-06-20"} 1"#,
        r#"request_duration_seconds{status="400"} [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]"#,
        r#"request_duration_seconds{status="404"} [0.0]"#,
        r#"request_duration_seconds{status="405"} [0.0]"#,
        r#"request_duration_seconds{status="408"} [60.0]"#,
        r#"request_duration_seconds{status="413"} [0.0]"#,
        r#"request_duration_seconds{status="503"} [0.0, 0.0, 0.0, 60.0]"#,
        r#"requests_total 16"#,
    ];
    let all = reasons.into_iter().chain(others.map(str::to_owned));
    // These are all metrics: no label holds text from the request.
    assert_eq!(BTreeSet::from_iter(recorder.changes()), all.collect());
}

#[tokio::test]
async fn signature_ahead_of_clock_is_accepted_and_counted() {
    let recorder = MetricsRecorder::install();
    let endpoint = endpoint(handlers());
    for (ahead, changes) in [(0, None), (1, None), (2, Some("signature_ahead_total 1"))] {
        let request = signed_at(NOW + ahead, &payload("invoice.paid"));
        assert_eq!(send(endpoint.clone(), request).await.status(), 200);
        let counted = recorder.changes_of(&["signature_ahead_total", "refused_total"]);
        assert_eq!(counted, Vec::from_iter(changes), "{ahead}");
    }
}

#[tokio::test]
async fn api_versions_beyond_64_are_labeled_other() {
    let expected = "2026-10-28.endive";
    let warning = endpoint(handlers()).expect_api_version(expected);
    let refusing = endpoint(handlers()).require_api_version(expected);
    for (endpoint, status) in [(warning, 200), (refusing, 400)] {
        let recorder = MetricsRecorder::install();
        let deliver = async |version: &str| {
            let versioned = format!(r#"{{"api_version":"{version}","#);
            let body = payload_with_id(version, "invoice.paid").replacen('{', &versioned, 1);
            send(endpoint.clone(), post(body)).await.status()
        };
        assert_eq!(deliver("2026-01-01.endive").await, 200);
        for number in 0..70 {
            assert_eq!(deliver(&format!("version_{number:02}")).await, status);
        }
        assert_eq!(deliver("version_00").await, status);
        let series = |number| {
            let times = if number == 0 { 2 } else { 1 };
            format!("api_version_mismatch_total{{found=\"version_{number:02}\"}} {times}")
        };
        let other = r#"api_version_mismatch_total{found="other"} 6"#.to_owned();
        let all: Vec<String> = [other].into_iter().chain((0..64).map(series)).collect();
        assert_eq!(recorder.changes_of(&["api_version_mismatch_total"]), all);
    }
}

#[tokio::test]
async fn request_is_in_flight_until_answer_or_disconnect() {
    let recorder = MetricsRecorder::install();
    let gauge = ["requests_in_flight"];
    let (held, mut messages) = Held::new();
    let endpoint =
        endpoint(Router::builder().without_linked().handler("held", ["*"], held.clone()));
    {
        // The client disconnects before its body ends.
        let mut call = pin!(send(endpoint.clone(), post("").map(|_| StalledBody(None))));
        assert!(poll(call.as_mut()).is_pending());
        assert_eq!(recorder.changes_of(&gauge), ["requests_in_flight +1"]);
    }
    assert_eq!(recorder.changes_of(&gauge), ["requests_in_flight -1"]);

    let call = tokio::spawn(send(endpoint, post(payload("invoice.paid"))));
    assert_eq!(messages.recv().await, Some("begun"));
    assert_eq!(recorder.changes_of(&gauge), ["requests_in_flight +1"]);
    call.abort();
    assert!(call.await.is_err_and(|error| error.is_cancelled()));
    // Without an answer no duration is recorded. The handler goes on and is counted.
    assert_eq!(recorder.changes(), ["requests_in_flight -1"]);
    held.release();
    assert_eq!(messages.recv().await, Some("done"));
    assert_eq!(
        recorder.changes(),
        [
            r#"event_duration_seconds [0.0]"#,
            r#"events_total{outcome="done"} 1"#,
            r#"handler_duration_seconds{handler="held"} [0.0]"#,
            r#"handlers_total{handler="held",outcome="done"} 1"#,
        ]
    );
}
