//! Metrics of events and their handlers.

use std::{pin::pin, time::Duration};

use router_core::{
    Endpoint, Event, Failure, Router, completions::InMemoryCompletions, testing::ManualClock,
};
use router_tests::{
    event,
    exchange::{post, send},
    held::Held,
    now, payload, payload_with_id, secret,
};
use tower::ServiceExt as _;

use crate::{
    FallbackRefusingSink, RefusingSink, endpoint,
    every_path::{poll, run_every_path},
    fallback, handlers,
    metrics_recorder::MetricsRecorder,
};

/// The counters of the outcomes of events and handlers.
const OUTCOME_METRICS: [&str; 5] = [
    "events_total",
    "handlers_total",
    "dead_letters_total",
    "unrecorded_failures_total",
    "unhandled_total",
];

#[tokio::test]
async fn docs_table_lists_every_metric() {
    let recorder = MetricsRecorder::install();
    run_every_path().await;
    let docs = include_str!("../../../router-core/src/docs/metrics.md");
    let rows = docs.lines().filter(|line| line.starts_with("| `")).map(str::to_owned);
    assert_eq!(recorder.table(), rows.collect());
}

#[tokio::test]
async fn handled_event_is_counted_and_timed() {
    let recorder = MetricsRecorder::install();
    let clock = ManualClock::at(now());
    let slow = {
        let clock = clock.clone();
        move |_: Event| {
            clock.advance(Duration::from_millis(250));
            std::future::ready(())
        }
    };
    let router = Router::builder().without_linked().handler("shop", ["invoice.paid"], slow);
    let router = router.clock(clock.clone()).build().unwrap();
    let endpoint = Endpoint::new(secret(), router).clock(clock);
    assert_eq!(send(endpoint, post(payload("invoice.paid"))).await.status(), 200);
    assert_eq!(
        recorder.changes(),
        [
            r#"event_duration_seconds [0.25]"#,
            r#"events_total{outcome="done"} 1"#,
            r#"handler_duration_seconds{handler="shop"} [0.25]"#,
            r#"handlers_total{handler="shop",outcome="done"} 1"#,
            r#"request_duration_seconds{status="200"} [0.25]"#,
            r#"requests_total 1"#,
        ]
    );
}

#[tokio::test]
async fn event_outcome_is_a_label() {
    let recorder = MetricsRecorder::install();
    let endpoint = endpoint(handlers());
    let rows: [(_, &[&str]); 6] = [
        (
            "invoice.sent",
            &[
                r#"events_total{outcome="done"} 1"#,
                r#"handlers_total{handler="ignored",outcome="ignored"} 1"#,
            ],
        ),
        (
            "invoice.voided",
            &[
                r#"events_total{outcome="retry"} 1"#,
                r#"handlers_total{handler="later",outcome="retry"} 1"#,
            ],
        ),
        (
            "invoice.created",
            &[
                r#"events_total{outcome="retry"} 1"#,
                r#"handlers_total{handler="panics",outcome="retry"} 1"#,
            ],
        ),
        (
            "invoice.deleted",
            &[
                r#"dead_letters_total{handler="never"} 1"#,
                r#"events_total{outcome="dead"} 1"#,
                r#"handlers_total{handler="never",outcome="dead"} 1"#,
            ],
        ),
        (
            "charge.failed",
            &[
                r#"events_total{outcome="unhandled"} 1"#,
                r#"unhandled_total{event_type="charge.failed"} 1"#,
            ],
        ),
        (
            "charge.failed",
            &[
                r#"events_total{outcome="unhandled"} 1"#,
                r#"unhandled_total{event_type="charge.failed"} 1"#,
            ],
        ),
    ];
    for (event_type, changes) in rows {
        send(endpoint.clone(), post(payload_with_id(event_type, event_type))).await;
        assert_eq!(recorder.changes_of(&OUTCOME_METRICS), changes, "{event_type}");
    }
}

#[tokio::test]
async fn refused_dead_letter_is_counted_as_retry() {
    let recorder = MetricsRecorder::install();
    let endpoint = endpoint(handlers().dead_letters(RefusingSink));
    for _ in 0..2 {
        let response = send(endpoint.clone(), post(payload("invoice.deleted"))).await;
        assert_eq!(response.status(), 500);
        assert_eq!(
            recorder.changes_of(&OUTCOME_METRICS),
            [
                r#"events_total{outcome="retry"} 1"#,
                r#"handlers_total{handler="never",outcome="retry"} 1"#,
            ]
        );
    }
}

#[tokio::test]
async fn refused_dead_letter_without_retry_is_unrecorded() {
    let recorder = MetricsRecorder::install();
    let endpoint = endpoint(handlers().add::<fallback>().dead_letters(FallbackRefusingSink));
    assert_eq!(send(endpoint, post(payload("charge.failed"))).await.status(), 200);
    assert_eq!(
        recorder.changes_of(&OUTCOME_METRICS),
        [
            r#"events_total{outcome="unhandled"} 1"#,
            r#"handlers_total{handler="fallback",outcome="retry"} 1"#,
            r#"unhandled_total{event_type="charge.failed"} 1"#,
            r#"unrecorded_failures_total{handler="fallback"} 1"#,
        ]
    );
}

#[tokio::test]
async fn redelivery_counts_skipped_handlers() {
    let recorder = MetricsRecorder::install();
    let fails = async |_: Event| Err::<(), _>("not now");
    let fails_permanently = async |_: Event| Err::<(), _>(Failure::permanent("never"));
    let builder = handlers().handler("fails", ["invoice.paid"], fails);
    let endpoint =
        endpoint(builder.handler("fails_permanently", ["invoice.paid"], fails_permanently));
    for (skipped, dead) in [
        (None, Some(r#"dead_letters_total{handler="fails_permanently"} 1"#)),
        (Some(r#"duplicates_total{reason="finished"} 2"#), None),
    ] {
        assert_eq!(send(endpoint.clone(), post(payload("invoice.paid"))).await.status(), 500);
        let changes = recorder.changes_of(&["duplicates_total", "dead_letters_total"]);
        assert_eq!(changes, Vec::from_iter(skipped.or(dead)));
    }
}

#[tokio::test]
async fn duplicate_in_flight_is_not_a_second_event() {
    let recorder = MetricsRecorder::install();
    let (held, mut messages) = Held::new();
    let endpoint =
        endpoint(Router::builder().without_linked().handler("held", ["*"], held.clone()));
    let mut first = pin!(send(endpoint.clone(), post(payload("invoice.paid"))));
    assert!(poll(first.as_mut()).is_pending());
    assert_eq!(messages.recv().await, Some("begun"));
    let mut second = pin!(send(endpoint, post(payload("invoice.paid"))));
    assert!(poll(second.as_mut()).is_pending());
    assert_eq!(
        recorder.changes_of(&["duplicates_total"]),
        [r#"duplicates_total{reason="in_flight"} 1"#]
    );
    held.release();
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.status(), second.status()), (http::StatusCode::OK, http::StatusCode::OK));
    assert_eq!(
        recorder.changes_of(&["duplicates_total", "events_total", "handlers_total"]),
        [r#"events_total{outcome="done"} 1"#, r#"handlers_total{handler="held",outcome="done"} 1"#,]
    );
}

#[tokio::test]
async fn unhandled_types_beyond_4096_are_labeled_other() {
    let recorder = MetricsRecorder::install();
    let router = handlers().build().unwrap();
    let deliver = async |number: u32| {
        let event_type = format!("made.up_{number}");
        let event = event(payload_with_id(&event_type, &event_type)).unwrap();
        assert!(router.clone().oneshot(event).await.unwrap().is_unhandled());
    };
    for number in 0..4096 {
        deliver(number).await;
    }
    let changes = recorder.changes_of(&["unhandled_total"]);
    assert_eq!(changes.len(), 4096);
    assert!(changes.contains(&r#"unhandled_total{event_type="made.up_4095"} 1"#.into()));
    for number in [4096, 4097, 4095, 0] {
        deliver(number).await;
    }
    assert_eq!(
        recorder.changes_of(&["unhandled_total"]),
        [
            r#"unhandled_total{event_type="made.up_0"} 1"#,
            r#"unhandled_total{event_type="made.up_4095"} 1"#,
            r#"unhandled_total{event_type="other"} 2"#,
        ]
    );
}

#[tokio::test]
async fn evicted_completions_are_counted() {
    let recorder = MetricsRecorder::install();
    let endpoint = endpoint(handlers().completions(InMemoryCompletions::new().max_entries(2)));
    let evicted = ["completions_evicted_total"];
    for (id, changes) in [
        ("evt_1", None),
        ("evt_2", None),
        ("evt_2", None),
        ("evt_3", Some("completions_evicted_total 1")),
        ("evt_1", Some("completions_evicted_total 1")),
    ] {
        send(endpoint.clone(), post(payload_with_id(id, "invoice.paid"))).await;
        assert_eq!(recorder.changes_of(&evicted), Vec::from_iter(changes), "{id}");
    }
}
