//! The spans of a request, and the log lines in them.

use std::{collections::BTreeSet, pin::pin};

use router_core::{Event, Router};
use router_tests::{
    exchange::{post, send},
    held::Held,
    payload, payload_with_id, signature,
};

use crate::{
    FallbackRefusingSink, RefusingSink, endpoint,
    every_path::poll,
    fallback, handlers,
    refusals::{REASONS, refuse_for_every_reason},
    trace::Trace,
};

/// The beginning of the span of each request.
const REQUEST_SPAN: &str = "endpoint otel.kind=server http.request.method=POST";

fn event_span(id: &str, event_type: &str) -> String {
    format!(
        "event otel.kind=consumer messaging.message.id={id} messaging.destination.name=default \
         stripe.event_type={event_type}"
    )
}

#[tokio::test]
async fn spans_nest_across_tasks_and_threads() {
    let ready = async |_: Event| tracing::info_span!("mine", at = "once").in_scope(|| ());
    let yielding = async |_: Event| {
        tokio::task::yield_now().await;
        tracing::info_span!("mine", at = "later").in_scope(|| ());
    };
    let builder = handlers().handler("a.ready", ["charge.updated"], ready);
    let endpoint = endpoint(builder.handler("b.moves", ["charge.updated"], yielding));
    let trace = Trace::install();
    let body = payload("charge.updated").replacen('{', r#"{"account":"acct_1","#, 1);
    assert_eq!(send(endpoint, post(body)).await.status(), 200);
    let event = event_span("evt_1", "charge.updated");
    assert_eq!(
        trace.spans(),
        format!(
            "{REQUEST_SPAN} http.response.status_code=200
  {event} stripe.account=acct_1
    handler stripe.handler=a.ready stripe.attempt=1 stripe.outcome=done
      mine at=once
    handler stripe.handler=b.moves stripe.attempt=1 stripe.outcome=done
      mine at=later
    handler stripe.handler=in_a_thread stripe.attempt=1 stripe.outcome=done
      mine
"
        )
    );
    assert!(trace.lines(&["INFO"]).contains(&"INFO in mine: blocking".to_owned()));
}

#[tokio::test]
async fn handler_span_has_attempt_and_outcome() {
    let endpoint = endpoint(handlers().add::<fallback>());
    for (event_type, status, handler) in [
        ("invoice.sent", 200, "ignored stripe.attempt=1 stripe.outcome=ignored"),
        ("invoice.voided", 500, "later stripe.attempt=1 stripe.outcome=retry error.type=retry"),
        ("invoice.voided", 500, "later stripe.attempt=2 stripe.outcome=retry error.type=retry"),
        ("invoice.deleted", 200, "never stripe.attempt=1 stripe.outcome=dead error.type=dead"),
        // The dead letter starts over with attempt 1.
        ("invoice.deleted", 200, "never stripe.attempt=1 stripe.outcome=dead error.type=dead"),
        ("charge.failed", 200, "fallback stripe.attempt=1 stripe.outcome=dead error.type=dead"),
    ] {
        let trace = Trace::install();
        send(endpoint.clone(), post(payload_with_id(event_type, event_type))).await;
        let event = event_span(event_type, event_type);
        let spans = format!(
            "{REQUEST_SPAN} http.response.status_code={status}\n  {event}\n    handler stripe.handler={handler}\n"
        );
        assert_eq!(trace.spans(), spans);
    }
    // The handler has finished this event, so a redelivery does not run it.
    let trace = Trace::install();
    send(endpoint, post(payload_with_id("invoice.sent", "invoice.sent"))).await;
    assert!(!trace.spans().contains("handler"), "{}", trace.spans());
}

#[tokio::test]
async fn refusal_reason_is_the_request_span_error_type() {
    let trace = Trace::install();
    refuse_for_every_reason(&payload("invoice.paid")).await;
    let spans = trace.spans();
    let refused = spans.lines().filter_map(|span| span.split_once(" error.type="));
    let refused: Vec<(&str, &str)> = refused.collect();
    assert_eq!(refused.len(), REASONS.len());
    let reasons = refused.iter().filter_map(|(_, rest)| rest.split_once(' '));
    let reasons: BTreeSet<&str> = reasons.map(|(reason, _)| reason).collect();
    assert_eq!(reasons, BTreeSet::from(REASONS));
    // No refused request has an event span.
    assert_eq!(spans.lines().count(), REASONS.len());
    let method = "endpoint otel.kind=server http.request.method=_OTHER \
                  error.type=method_not_allowed http.response.status_code=405\n";
    assert!(spans.contains(method), "{spans}");
}

#[tokio::test]
async fn receive_has_the_same_spans_without_method() {
    let endpoint = endpoint(handlers());
    let trace = Trace::install();
    let body = payload("invoice.paid");
    endpoint.receive(Some(signature(body.as_bytes()).as_bytes()), body.into()).await;
    let spans = trace.spans();
    let begin = "endpoint otel.kind=server http.response.status_code=200\n  event ";
    assert!(spans.starts_with(begin) && spans.contains("\n    handler "), "{spans}");
}

#[tokio::test]
async fn disconnected_and_waiting_requests_have_spans() {
    let (held, mut messages) = Held::new();
    let endpoint =
        endpoint(Router::builder().without_linked().handler("held", ["*"], held.clone()));
    let trace = Trace::install();
    let first = tokio::spawn(send(endpoint.clone(), post(payload("invoice.paid"))));
    assert_eq!(messages.recv().await, Some("begun"));
    let mut second = pin!(send(endpoint, post(payload("invoice.paid"))));
    assert!(poll(second.as_mut()).is_pending());
    first.abort();
    assert!(first.await.is_err_and(|error| error.is_cancelled()));
    held.release();
    assert_eq!(second.await.status(), 200);
    let event = event_span("evt_1", "invoice.paid");
    assert_eq!(
        trace.spans(),
        format!(
            "{REQUEST_SPAN}
  {event}
    handler stripe.handler=held stripe.attempt=1 stripe.outcome=done
{REQUEST_SPAN} http.response.status_code=200
  {event}
"
        )
    );
    let duplicate = "INFO in event: duplicate event: the first delivery is still in flight, and both \
                     get the same answer event.id=evt_1 event.type=invoice.paid";
    let handled = "INFO in event: event handled outcome=done handlers=1 duration=0ns";
    assert_eq!(trace.lines(&["INFO"]), [duplicate, handled]);
}

#[tokio::test]
async fn event_logs_one_line_and_a_failure_one_more() {
    let endpoint = endpoint(handlers());
    let rows: [(_, &[&str]); 7] = [
        ("invoice.paid", &["INFO in event: event handled outcome=done handlers=1 duration=0ns"]),
        (
            "invoice.paid",
            &[
                "INFO in event: duplicate event: already handled by this handler, not run again \
                 handler=done event.id=invoice.paid event.type=invoice.paid",
                "INFO in event: event handled outcome=duplicate handlers=1 duration=0ns",
            ],
        ),
        (
            "invoice.voided",
            &[
                "WARN in handler: handler failed; Stripe will redeliver the event handler=later \
                 event.id=invoice.voided event.type=invoice.voided \
                 error=the warehouse is unreachable: connection refused",
                "INFO in event: event handled outcome=retry handlers=1 duration=0ns",
            ],
        ),
        (
            "invoice.deleted",
            &[
                "ERROR in handler: dead letter: the handler failed permanently and is not retried; \
                 fix the cause, then resend the event, and the handler starts over handler=never \
                 event.id=invoice.deleted event.type=invoice.deleted error=no such order",
                "INFO in event: event handled outcome=dead handlers=1 duration=0ns",
            ],
        ),
        (
            "invoice.deleted",
            &[
                "INFO in event: event received again: the handler's dead letter starts over with \
                 this event handler=never event.id=invoice.deleted event.type=invoice.deleted",
                "ERROR in handler: dead letter: the handler failed permanently and is not retried; \
                 fix the cause, then resend the event, and the handler starts over handler=never \
                 event.id=invoice.deleted event.type=invoice.deleted error=no such order",
                "INFO in event: event handled outcome=dead handlers=1 duration=0ns",
            ],
        ),
        (
            "charge.failed",
            &["INFO in event: no handler for this event type; logged once per type \
               event.type=charge.failed known=true"],
        ),
        ("charge.failed", &[]),
    ];
    for (event_type, lines) in rows {
        let trace = Trace::install();
        send(endpoint.clone(), post(payload_with_id(event_type, event_type))).await;
        assert_eq!(trace.lines(&["INFO", "WARN", "ERROR"]), lines, "{event_type}");
    }
}

#[tokio::test]
async fn refused_dead_letter_logs_both_errors_in_one_line() {
    let refused =
        "error=the dead-letter sink did not store the event, so the handler has not finished it";
    for (endpoint, event_type, level, error) in [
        (
            endpoint(handlers().dead_letters(RefusingSink)),
            "invoice.deleted",
            "WARN",
            "no such order",
        ),
        (
            endpoint(handlers().add::<fallback>().dead_letters(FallbackRefusingSink)),
            "charge.failed",
            "ERROR",
            "the queue is full",
        ),
    ] {
        let trace = Trace::install();
        send(endpoint, post(payload(event_type))).await;
        let lines = trace.lines(&["WARN", "ERROR"]);
        let [line] = &lines[..] else { panic!("not one line: {lines:?}") };
        assert!(line.starts_with(level), "{line}");
        assert!(line.ends_with(&format!("{refused} ({error}): disk full")), "{line}");
    }
}
