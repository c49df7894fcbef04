//! What is counted of events and their handlers.

use std::{pin::pin, time::Duration};

use router_core::{Endpoint, Event, Failure, InMemoryCompletions, Router, testing::ManualClock};
use router_tests::{event, now, payload, payload_with_id, secret};
use tower::ServiceExt as _;

use crate::{
    Full, Picky, endpoint,
    every_path::{poll, walk},
    exchange::{post, send},
    fallback, handlers,
    held::Held,
    metered::Metered,
};

/// What is counted of an event's outcome.
const OUTCOME: [&str; 5] = [
    "events_total",
    "handlers_total",
    "dead_letters_total",
    "unrecorded_failures_total",
    "unhandled_total",
];

#[tokio::test]
async fn the_docs_table_is_all_that_is_counted() {
    let metered = Metered::begin();
    walk().await;
    let docs = include_str!("../../../router-core/src/docs/metrics.md");
    let rows = docs.lines().filter(|line| line.starts_with("| `")).map(str::to_owned);
    assert_eq!(metered.table(), rows.collect());
}

#[tokio::test]
async fn a_handled_event_is_counted_and_timed() {
    let metered = Metered::begin();
    let clock = ManualClock::at(now());
    let takes_time = {
        let clock = clock.clone();
        move |_: Event| {
            clock.advance(Duration::from_millis(250));
            std::future::ready(())
        }
    };
    let router = Router::builder().without_linked().handler("shop", ["invoice.paid"], takes_time);
    let router = router.clock(clock.clone()).build().unwrap();
    let endpoint = Endpoint::new(secret(), router).clock(clock);
    assert_eq!(send(endpoint, post(payload("invoice.paid"))).await.status(), 200);
    assert_eq!(
        metered.changes(),
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
async fn what_became_of_an_event_is_a_label() {
    let metered = Metered::begin();
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
        assert_eq!(metered.changes_of(&OUTCOME), changes, "{event_type}");
    }
}

#[tokio::test]
async fn a_dead_letter_that_the_sink_refuses_is_none_as_long_as_stripe_tries_again() {
    let metered = Metered::begin();
    let endpoint = endpoint(handlers().dead_letters(Full));
    for _ in 0..2 {
        let response = send(endpoint.clone(), post(payload("invoice.deleted"))).await;
        assert_eq!(response.status(), 500);
        assert_eq!(
            metered.changes_of(&OUTCOME),
            [
                r#"events_total{outcome="retry"} 1"#,
                r#"handlers_total{handler="never",outcome="retry"} 1"#,
            ]
        );
    }
}

#[tokio::test]
async fn what_nobody_tries_again_is_lost_if_the_sink_refuses_it() {
    let metered = Metered::begin();
    let endpoint = endpoint(handlers().add::<fallback>().dead_letters(Picky));
    assert_eq!(send(endpoint, post(payload("charge.failed"))).await.status(), 200);
    assert_eq!(
        metered.changes_of(&OUTCOME),
        [
            r#"events_total{outcome="unhandled"} 1"#,
            r#"handlers_total{handler="fallback",outcome="retry"} 1"#,
            r#"unrecorded_failures_total{handler="fallback"} 1"#,
            r#"unhandled_total{event_type="charge.failed"} 1"#,
        ]
    );
}

#[tokio::test]
async fn a_redelivery_counts_the_handlers_that_are_spared() {
    let metered = Metered::begin();
    let fails = async |_: Event| Err::<(), _>("not now");
    let dies = async |_: Event| Err::<(), _>(Failure::permanent("never"));
    let builder = handlers().handler("fails", ["invoice.paid"], fails);
    let endpoint = endpoint(builder.handler("dies", ["invoice.paid"], dies));
    for (spared, dead) in [
        (None, Some(r#"dead_letters_total{handler="dies"} 1"#)),
        (Some(r#"duplicates_total{reason="finished"} 2"#), None),
    ] {
        assert_eq!(send(endpoint.clone(), post(payload("invoice.paid"))).await.status(), 500);
        let changes = metered.changes_of(&["duplicates_total", "dead_letters_total"]);
        assert_eq!(changes, Vec::from_iter(spared.or(dead)));
    }
}

#[tokio::test]
async fn a_duplicate_in_flight_is_counted_and_is_no_second_event() {
    let metered = Metered::begin();
    let (held, mut says) = Held::new();
    let endpoint =
        endpoint(Router::builder().without_linked().handler("held", ["*"], held.clone()));
    let mut first = pin!(send(endpoint.clone(), post(payload("invoice.paid"))));
    assert!(poll(first.as_mut()).is_pending());
    assert_eq!(says.recv().await, Some("begun"));
    let mut second = pin!(send(endpoint, post(payload("invoice.paid"))));
    assert!(poll(second.as_mut()).is_pending());
    assert_eq!(
        metered.changes_of(&["duplicates_total"]),
        [r#"duplicates_total{reason="in_flight"} 1"#]
    );
    held.release();
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.status(), second.status()), (http::StatusCode::OK, http::StatusCode::OK));
    assert_eq!(
        metered.changes_of(&["duplicates_total", "events_total", "handlers_total"]),
        [r#"events_total{outcome="done"} 1"#, r#"handlers_total{handler="held",outcome="done"} 1"#,]
    );
}

#[tokio::test]
async fn event_types_that_nobody_handles_are_4096_labels_and_then_other() {
    let metered = Metered::begin();
    let router = handlers().build().unwrap();
    let deliver = async |number: u32| {
        let event_type = format!("made.up_{number}");
        let event = event(payload_with_id(&event_type, &event_type)).unwrap();
        assert!(router.clone().oneshot(event).await.unwrap().is_unhandled());
    };
    for number in 0..4096 {
        deliver(number).await;
    }
    let changes = metered.changes_of(&["unhandled_total"]);
    assert_eq!(changes.len(), 4096);
    assert!(changes.contains(&r#"unhandled_total{event_type="made.up_4095"} 1"#.into()));
    for number in [4096, 4097, 4095, 0] {
        deliver(number).await;
    }
    assert_eq!(
        metered.changes_of(&["unhandled_total"]),
        [
            r#"unhandled_total{event_type="made.up_0"} 1"#,
            r#"unhandled_total{event_type="made.up_4095"} 1"#,
            r#"unhandled_total{event_type="other"} 2"#,
        ]
    );
}

#[tokio::test]
async fn what_a_full_memory_forgets_is_counted() {
    let metered = Metered::begin();
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
        assert_eq!(metered.changes_of(&evicted), Vec::from_iter(changes), "{id}");
    }
}
