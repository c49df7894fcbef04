//! The spans of a request, and the log lines that stand in them.

use std::{collections::BTreeSet, pin::pin};

use router_core::{Event, Router};
use router_tests::{payload, payload_with_id, signature};

use crate::{
    Full, Picky, endpoint,
    every_path::poll,
    exchange::{post, send},
    fallback, handlers,
    held::Held,
    refusals::{REASONS, refuse},
    traced::Trace,
};

/// What the span of every request of these tests begins with.
const REQUEST: &str = "endpoint otel.kind=server http.request.method=POST";

fn event_span(id: &str, event_type: &str) -> String {
    format!(
        "event otel.kind=consumer messaging.message.id={id} messaging.destination.name=default \
         stripe.event_type={event_type}"
    )
}

#[tokio::test]
async fn spans_nest_also_in_a_task_and_in_a_thread() {
    let ready = async |_: Event| tracing::info_span!("mine", at = "once").in_scope(|| ());
    let moved = async |_: Event| {
        tokio::task::yield_now().await;
        tracing::info_span!("mine", at = "later").in_scope(|| ());
    };
    let builder = handlers().handler("a.ready", ["charge.updated"], ready);
    let endpoint = endpoint(builder.handler("b.moves", ["charge.updated"], moved));
    let trace = Trace::begin();
    let body = payload("charge.updated").replacen('{', r#"{"account":"acct_1","#, 1);
    assert_eq!(send(endpoint, post(body)).await.status(), 200);
    let event = event_span("evt_1", "charge.updated");
    assert_eq!(
        trace.spans(),
        format!(
            "{REQUEST} http.response.status_code=200
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
async fn a_handler_says_how_often_it_was_tried_and_what_became_of_it() {
    let endpoint = endpoint(handlers().add::<fallback>());
    for (event_type, status, handler) in [
        ("invoice.sent", 200, "ignored stripe.attempt=1 stripe.outcome=ignored"),
        ("invoice.voided", 500, "later stripe.attempt=1 stripe.outcome=retry error.type=retry"),
        ("invoice.voided", 500, "later stripe.attempt=2 stripe.outcome=retry error.type=retry"),
        ("invoice.deleted", 200, "never stripe.attempt=1 stripe.outcome=dead error.type=dead"),
        ("charge.failed", 200, "fallback stripe.attempt=1 stripe.outcome=dead error.type=dead"),
    ] {
        let trace = Trace::begin();
        send(endpoint.clone(), post(payload_with_id(event_type, event_type))).await;
        let event = event_span(event_type, event_type);
        let spans = format!(
            "{REQUEST} http.response.status_code={status}\n  {event}\n    handler stripe.handler={handler}\n"
        );
        assert_eq!(trace.spans(), spans);
    }
    // It had finished: there is nothing to time.
    let trace = Trace::begin();
    send(endpoint, post(payload_with_id("invoice.deleted", "invoice.deleted"))).await;
    assert!(!trace.spans().contains("handler"), "{}", trace.spans());
}

#[tokio::test]
async fn each_refusal_is_an_error_type_of_its_request() {
    let trace = Trace::begin();
    refuse(&payload("invoice.paid")).await;
    let spans = trace.spans();
    let refused = spans.lines().filter_map(|span| span.split_once(" error.type="));
    let refused: Vec<(&str, &str)> = refused.collect();
    assert_eq!(refused.len(), REASONS.len());
    let reasons = refused.iter().filter_map(|(_, rest)| rest.split_once(' '));
    let reasons: BTreeSet<&str> = reasons.map(|(reason, _)| reason).collect();
    assert_eq!(reasons, BTreeSet::from(REASONS));
    // None of them is an event: all spans are those.
    assert_eq!(spans.lines().count(), REASONS.len());
    let method = "endpoint otel.kind=server http.request.method=BREW \
                  error.type=method_not_allowed http.response.status_code=405\n";
    assert!(spans.contains(method), "{spans}");
}

#[tokio::test]
async fn a_request_that_another_server_has_read_has_the_same_spans_and_no_method() {
    let endpoint = endpoint(handlers());
    let trace = Trace::begin();
    let body = payload("invoice.paid");
    endpoint.receive(Some(signature(body.as_bytes()).as_bytes()), body.into()).await;
    let spans = trace.spans();
    let begin = "endpoint otel.kind=server http.response.status_code=200\n  event ";
    assert!(spans.starts_with(begin) && spans.contains("\n    handler "), "{spans}");
}

#[tokio::test]
async fn who_hangs_up_and_who_waits_have_a_span_and_the_handler_has_one_too() {
    let (held, mut says) = Held::new();
    let endpoint =
        endpoint(Router::builder().without_linked().handler("held", ["*"], held.clone()));
    let trace = Trace::begin();
    let first = tokio::spawn(send(endpoint.clone(), post(payload("invoice.paid"))));
    assert_eq!(says.recv().await, Some("begun"));
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
            "{REQUEST}
  {event}
    handler stripe.handler=held stripe.attempt=1 stripe.outcome=done
{REQUEST} http.response.status_code=200
  {event}
"
        )
    );
    let handled = "INFO in event: event handled outcome=done handlers=1 duration=0ns";
    assert_eq!(trace.lines(&["INFO"]), [handled]);
}

#[tokio::test]
async fn an_event_is_one_line_and_a_failure_one_more() {
    let endpoint = endpoint(handlers());
    let rows: [(_, &[&str]); 6] = [
        ("invoice.paid", &["INFO in event: event handled outcome=done handlers=1 duration=0ns"]),
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
                "ERROR in handler: dead letter: the handler failed permanently, and Stripe will not \
                 redeliver the event; process it manually handler=never \
                 event.id=invoice.deleted event.type=invoice.deleted error=no such order",
                "INFO in event: event handled outcome=dead handlers=1 duration=0ns",
            ],
        ),
        // It is no second dead letter.
        ("invoice.deleted", &["INFO in event: event handled outcome=dead handlers=1 duration=0ns"]),
        (
            "charge.failed",
            &["INFO in event: no handler for this event type; logged once per type \
               event.type=charge.failed known=true"],
        ),
        ("charge.failed", &[]),
    ];
    for (event_type, lines) in rows {
        let trace = Trace::begin();
        send(endpoint.clone(), post(payload_with_id(event_type, event_type))).await;
        assert_eq!(trace.lines(&["INFO", "WARN", "ERROR"]), lines, "{event_type}");
    }
}

#[tokio::test]
async fn a_dead_letter_that_the_sink_refuses_is_one_line_with_both_reasons() {
    let refused =
        "error=the dead-letter sink did not store the event, so the handler has not finished it";
    for (endpoint, event_type, level, why) in [
        (endpoint(handlers().dead_letters(Full)), "invoice.deleted", "WARN", "no such order"),
        (
            endpoint(handlers().add::<fallback>().dead_letters(Picky)),
            "charge.failed",
            "ERROR",
            "nobody reads this",
        ),
    ] {
        let trace = Trace::begin();
        send(endpoint, post(payload(event_type))).await;
        let lines = trace.lines(&["WARN", "ERROR"]);
        let [line] = &lines[..] else { panic!("not one line: {lines:?}") };
        assert!(line.starts_with(level), "{line}");
        assert!(line.ends_with(&format!("{refused} ({why}): disk full")), "{line}");
    }
}
