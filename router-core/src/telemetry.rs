#![doc = include_str!("docs/telemetry.md")]
#![doc = include_str!("docs/metrics.md")]

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};
use metrics::{Key, Label, Level, Metadata, counter, gauge, histogram, with_recorder};
use tracing::{Span, field::Empty};

use self::catalogue as metric;
use crate::{
    event::Event,
    handler::{HandlerReport, Report},
};

/// The log line of an event that comes again, for a handler that has handled it. A
/// [`Router`](crate::Router) and an inbox use the same line.
pub const ALREADY_HANDLED: &str = "duplicate event: already handled by this handler, not run again";

/// The log line of an event that comes again, for a handler that had failed it permanently. A
/// [`Router`](crate::Router) and an inbox use the same line.
pub const DEAD_LETTER_RESTARTED: &str =
    "event received again: the handler's dead letter starts over with this event";

/// All metrics.
mod catalogue {
    pub(super) struct Metric {
        pub(super) name: &'static str,
        pub(super) kind: Kind,
        /// Label names, separated by commas.
        #[cfg_attr(not(test), expect(dead_code, reason = "only used for the docs"))]
        pub(super) labels: &'static str,
        pub(super) help: &'static str,
    }

    #[derive(Clone, Copy)]
    pub(super) enum Kind {
        Counter,
        Gauge,
        /// In seconds.
        Histogram,
    }

    macro_rules! metrics {
        ($($const:ident = $kind:ident $name:literal [$labels:literal] $help:literal;)+) => {
            $(pub(super) const $const: &str = concat!("stripe_webhook_", $name);)+

            pub(super) const ALL: &[Metric] = &[$(
                Metric { name: $const, kind: Kind::$kind, labels: $labels, help: $help },
            )+];
        };
    }

    metrics! {
        REQUESTS = Counter "requests_total" [""] "HTTP requests, including refused ones";
        REQUESTS_IN_FLIGHT = Gauge "requests_in_flight" [""] "HTTP requests that are not answered yet";
        REQUEST_DURATION = Histogram "request_duration_seconds" ["status"] "Time from the head of an HTTP request to its answer";
        REFUSED = Counter "refused_total" ["reason"] "Refused HTTP requests";
        SIGNATURE_AHEAD = Counter "signature_ahead_total" [""] "Accepted signatures with a timestamp in the future: this machine's clock is slow";
        API_VERSION = Counter "api_version_mismatch_total" ["found"] "Events whose API version is not the expected one";
        EVENTS = Counter "events_total" ["outcome"] "Answered events by outcome: done, duplicate, unhandled, retry, dead";
        EVENT_DURATION = Histogram "event_duration_seconds" [""] "Time to run the handlers of an event until it is answered";
        UNHANDLED = Counter "unhandled_total" ["event_type"] "Events without a handler; other_mode counts those of the mode that the router does not handle";
        DUPLICATES = Counter "duplicates_total" ["reason"] "Duplicates: in_flight counts events delivered again while in flight; finished counts handler runs skipped because the handler had finished the event";
        HANDLED = Counter "handlers_total" ["handler, outcome"] "Handler runs by outcome: done, ignored, later, retry, dead";
        HANDLER_DURATION = Histogram "handler_duration_seconds" ["handler"] "Duration of a handler run";
        DEAD_LETTERS = Counter "dead_letters_total" ["handler"] "Events that a handler failed permanently";
        LOST = Counter "unrecorded_failures_total" ["handler"] "Failures that are neither retried nor stored in the dead-letter sink";
        EVICTED = Counter "completions_evicted_total" [""] "Events that the full in-memory completion store evicted before they expired";
    }
}

/// Registers the descriptions of all metrics with the installed recorder. `build()` calls it too.
pub fn describe() {
    for metric in metric::ALL {
        match metric.kind {
            metric::Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            metric::Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            metric::Kind::Histogram => {
                metrics::describe_histogram!(metric.name, metrics::Unit::Seconds, metric.help);
            }
        }
    }
}

/// Initializes a handler's failure counters with 0.
///
/// Alerts on these counters need it: Prometheus' `increase` does not see a counter whose first
/// sample is 1.
pub(crate) fn init_failure_counters(handler: &Arc<str>) {
    counter!(metric::DEAD_LETTERS, "handler" => handler.clone()).increment(0);
    counter!(metric::LOST, "handler" => handler.clone()).increment(0);
}

/// Creates a metric handle with a label. The common label values are static, so only other values
/// are allocated.
macro_rules! labelled {
    ($kind:ident, $metric:expr, $label:literal => $value:expr, common $($known:literal)+) => {
        match $value {
            $($known => $kind!($metric, $label => $known),)+
            other => $kind!($metric, $label => other.to_owned()),
        }
    };
}

/// Counts an HTTP request and measures it from its head to its answer.
pub(crate) struct Request {
    started: std::time::Instant,
}

impl Request {
    pub(crate) fn begin(now: std::time::Instant) -> Self {
        counter!(metric::REQUESTS).increment(1);
        gauge!(metric::REQUESTS_IN_FLIGHT).increment(1);
        Self { started: now }
    }

    pub(crate) fn end(self, status: StatusCode, now: std::time::Instant) {
        // tracing-opentelemetry exports unsigned numbers as text.
        Span::current().record("http.response.status_code", i64::from(status.as_u16()));
        let duration = labelled!(
            histogram, metric::REQUEST_DURATION, "status" => status.as_str(), common "200" "400" "500" "503"
        );
        duration.record(now - self.started);
    }
}

/// Runs even if the client disconnects before the answer.
impl Drop for Request {
    fn drop(&mut self) {
        gauge!(metric::REQUESTS_IN_FLIGHT).decrement(1);
    }
}

/// Creates the span of a request. `method` is `None` if a server with other HTTP types has read the
/// request.
pub(crate) fn request_span(method: Option<&Method>) -> Span {
    tracing::info_span!(
        "endpoint",
        otel.kind = "server",
        http.request.method = method.map(method_name),
        http.response.status_code = Empty,
        error.r#type = Empty,
    )
}

/// Returns the method's name, or `_OTHER` for a name that the sender made up, as OpenTelemetry
/// requires.
fn method_name(method: &Method) -> &str {
    let known = [
        Method::POST,
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ];
    if known.contains(method) { method.as_str() } else { "_OTHER" }
}

pub(crate) fn refused(reason: &'static str) {
    Span::current().record("error.type", reason);
    counter!(metric::REFUSED, "reason" => reason).increment(1);
}

pub(crate) fn signature_ahead() {
    counter!(metric::SIGNATURE_AHEAD).increment(1);
}

/// `found` must come from a bounded set, because it is a label value.
pub(crate) fn api_version_mismatch(found: &str) {
    counter!(metric::API_VERSION, "found" => found.to_owned()).increment(1);
}

pub(crate) fn event_span(event: &Event) -> Span {
    tracing::info_span!(
        "event",
        otel.kind = "consumer",
        messaging.message.id = event.id(),
        messaging.destination.name = event.endpoint().as_str(),
        stripe.event_type = event.event_type(),
        stripe.account = event.owner_account(),
    )
}

/// Logs and counts an answered event. An unhandled event is logged elsewhere, once per event type.
pub(crate) fn event_answered(report: &Report, duration: Duration) {
    let outcome = report.outcome();
    let events = labelled!(counter, metric::EVENTS, "outcome" => outcome, common "done" "duplicate" "unhandled" "retry" "dead");
    events.increment(1);
    histogram!(metric::EVENT_DURATION).record(duration);
    if !report.is_unhandled() {
        tracing::info!(outcome, handlers = report.handlers().len(), ?duration, "event handled");
    }
}

/// `event_type` must come from a bounded set, because it is a label value.
pub(crate) fn unhandled(event_type: &str) {
    counter!(metric::UNHANDLED, "event_type" => event_type.to_owned()).increment(1);
}

/// Logs and counts a duplicate of an event in flight.
pub(crate) fn duplicate_in_flight(event: &Event) {
    tracing::info!(
        event.id = event.id(),
        event.r#type = event.event_type(),
        "duplicate event: the first delivery is still in flight, and both get the same answer"
    );
    counter!(metric::DUPLICATES, "reason" => "in_flight").increment(1);
}

pub(crate) fn duplicate_finished() {
    counter!(metric::DUPLICATES, "reason" => "finished").increment(1);
}

pub(crate) fn handler_span(handler: &str, attempt: u32) -> Span {
    tracing::info_span!(
        "handler",
        stripe.handler = handler,
        // tracing-opentelemetry exports unsigned numbers as text.
        stripe.attempt = i64::from(attempt),
        stripe.outcome = Empty,
        error.r#type = Empty,
    )
}

/// The metric keys of a handler, created once instead of for each run.
#[derive(Debug)]
pub(crate) struct HandlerMetrics {
    duration: Key,
    /// Keys by outcome.
    handled: [(&'static str, Key); HandlerReport::OUTCOMES.len()],
    dead_letters: Key,
}

impl HandlerMetrics {
    pub(crate) fn new(handler: &Arc<str>) -> Self {
        let name = Label::new("handler", handler.clone());
        let handled = HandlerReport::OUTCOMES.map(|outcome| {
            let labels = vec![name.clone(), Label::new("outcome", outcome)];
            (outcome, Key::from_parts(metric::HANDLED, labels))
        });
        let dead_letters = Key::from_parts(metric::DEAD_LETTERS, vec![name.clone()]);
        let duration = Key::from_parts(metric::HANDLER_DURATION, vec![name]);
        Self { duration, handled, dead_letters }
    }

    /// Counts a run and records its outcome in the current span, which must be the handler's.
    pub(crate) fn handled(&self, report: &HandlerReport) {
        let outcome = report.outcome();
        let span = Span::current();
        span.record("stripe.outcome", outcome);
        if report.result().is_err() {
            span.record("error.type", outcome);
        }
        with_recorder(|recorder| {
            // Under the current name, as the counter begins. A report may have the former name.
            if outcome == "dead" {
                recorder.register_counter(&self.dead_letters, &METADATA).increment(1);
            }
            if let Some(duration) = report.duration() {
                recorder.register_histogram(&self.duration, &METADATA).record(duration);
            }
            if let Some((_, key)) = self.handled.iter().find(|(known, _)| *known == outcome) {
                recorder.register_counter(key, &METADATA).increment(1);
            }
        });
    }
}

/// The same metadata as created by the macros of `metrics`.
static METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

pub(crate) fn lost_failure(handler: &Arc<str>) {
    counter!(metric::LOST, "handler" => handler.clone()).increment(1);
}

pub(crate) fn completion_evicted() {
    counter!(metric::EVICTED).increment(1);
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// Generates docs/metrics.md if `UPDATE_DOCS=1` is set.
    #[test]
    fn docs_table_has_every_metric() {
        let mut table = "| metric | kind | labels | description |\n|---|---|---|---|\n".to_owned();
        for metric::Metric { name, kind, labels, help } in metric::ALL {
            let kind = match kind {
                metric::Kind::Counter => "counter",
                metric::Kind::Gauge => "gauge",
                metric::Kind::Histogram => "histogram",
            };
            let labels = labels.split(", ").filter(|label| !label.is_empty());
            let labels: Vec<String> = labels.map(|label| format!("`{label}`")).collect();
            let labels = labels.join(", ");
            writeln!(table, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/metrics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &table).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            table,
            "docs/metrics.md is outdated; run this test with UPDATE_DOCS=1"
        );
    }
}
