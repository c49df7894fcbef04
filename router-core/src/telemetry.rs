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

/// Every metric that there is.
mod catalogue {
    pub(super) struct Metric {
        pub(super) name: &'static str,
        pub(super) kind: Kind,
        /// Separated by commas.
        #[cfg_attr(not(test), expect(dead_code, reason = "it is for the docs"))]
        pub(super) labels: &'static str,
        pub(super) help: &'static str,
    }

    #[derive(Clone, Copy)]
    pub(super) enum Kind {
        Counter,
        Gauge,
        /// Of seconds.
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
        REQUESTS = Counter "requests_total" [""] "HTTP requests, refused ones included";
        REQUESTS_IN_FLIGHT = Gauge "requests_in_flight" [""] "Requests that are not answered yet";
        REQUEST_DURATION = Histogram "request_duration_seconds" ["status"] "From the head of a request to its answer";
        REFUSED = Counter "refused_total" ["reason"] "Requests that were refused";
        SIGNATURE_AHEAD = Counter "signature_ahead_total" [""] "Signatures from the future that were accepted: our clock lags";
        API_VERSION = Counter "api_version_mismatch_total" ["found"] "Events in another API version than is expected";
        EVENTS = Counter "events_total" ["outcome"] "Events that were answered: done, unhandled, retry, dead";
        EVENT_DURATION = Histogram "event_duration_seconds" [""] "All handlers of an event together, until it is answered";
        UNHANDLED = Counter "unhandled_total" ["event_type"] "Events that no handler is for";
        DUPLICATES = Counter "duplicates_total" ["reason"] "Deliveries of an event that was in_flight, and runs that a handler was spared because it had finished the event";
        HANDLED = Counter "handlers_total" ["handler, outcome"] "Runs of a handler: done, ignored, retry, dead";
        HANDLER_DURATION = Histogram "handler_duration_seconds" ["handler"] "One run of a handler";
        DEAD_LETTERS = Counter "dead_letters_total" ["handler"] "Events that a handler failed for good";
        LOST = Counter "unrecorded_failures_total" ["handler"] "Failures that nobody tries again, and that the dead-letter sink did not take";
        EVICTED = Counter "completions_evicted_total" [""] "Events that a full memory of finished handlers forgot before their time";
    }
}

/// Gives the recorder that is installed the descriptions of all metrics. `build()` does so too.
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

/// Has the failures of a handler that somebody is woken for counted from 0 on: the increase of a counter
/// that is born at 1 is not seen.
pub(crate) fn begin_counting(handler: &Arc<str>) {
    counter!(metric::DEAD_LETTERS, "handler" => handler.clone()).increment(0);
    counter!(metric::LOST, "handler" => handler.clone()).increment(0);
}

/// A metric whose label is mostly one of these: they are static, and only another one is allocated.
macro_rules! labelled {
    ($kind:ident, $metric:expr, $label:literal => $value:expr, mostly $($known:literal)+) => {
        match $value {
            $($known => $kind!($metric, $label => $known),)+
            other => $kind!($metric, $label => other.to_owned()),
        }
    };
}

/// A request, from its head to its answer.
pub(crate) struct Request {
    begun: std::time::Instant,
}

impl Request {
    pub(crate) fn begin(now: std::time::Instant) -> Self {
        counter!(metric::REQUESTS).increment(1);
        gauge!(metric::REQUESTS_IN_FLIGHT).increment(1);
        Self { begun: now }
    }

    pub(crate) fn end(self, status: StatusCode, now: std::time::Instant) {
        Span::current().record("http.response.status_code", status.as_u16());
        let duration = labelled!(
            histogram, metric::REQUEST_DURATION, "status" => status.as_str(), mostly "200" "400" "500" "503"
        );
        duration.record(now - self.begun);
    }
}

/// Also where the client has hung up.
impl Drop for Request {
    fn drop(&mut self) {
        gauge!(metric::REQUESTS_IN_FLIGHT).decrement(1);
    }
}

/// Without a method, a server of other HTTP types has read it.
pub(crate) fn request_span(method: Option<&Method>) -> Span {
    tracing::info_span!(
        "endpoint",
        otel.kind = "server",
        http.request.method = method.map(Method::as_str),
        http.response.status_code = Empty,
        error.r#type = Empty,
    )
}

pub(crate) fn refused(reason: &'static str) {
    Span::current().record("error.type", reason);
    counter!(metric::REFUSED, "reason" => reason).increment(1);
}

pub(crate) fn signature_ahead() {
    counter!(metric::SIGNATURE_AHEAD).increment(1);
}

/// `found` is one of few.
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
        stripe.account = event.account(),
    )
}

/// The one line of an event. What no handler is for has another, once for each type.
pub(crate) fn event_answered(report: &Report, duration: Duration) {
    let outcome = report.outcome();
    let events = labelled!(counter, metric::EVENTS, "outcome" => outcome, mostly "done" "unhandled" "retry" "dead");
    events.increment(1);
    histogram!(metric::EVENT_DURATION).record(duration);
    if !report.is_unhandled() {
        tracing::info!(outcome, handlers = report.handlers().len(), ?duration, "event handled");
    }
}

/// `event_type` is one of few.
pub(crate) fn unhandled(event_type: &str) {
    counter!(metric::UNHANDLED, "event_type" => event_type.to_owned()).increment(1);
}

pub(crate) fn duplicate_in_flight() {
    counter!(metric::DUPLICATES, "reason" => "in_flight").increment(1);
}

pub(crate) fn finished_before() {
    counter!(metric::DUPLICATES, "reason" => "finished").increment(1);
}

pub(crate) fn handler_span(handler: &str, attempt: u32) -> Span {
    tracing::info_span!(
        "handler",
        stripe.handler = handler,
        stripe.attempt = attempt,
        stripe.outcome = Empty,
        error.r#type = Empty,
    )
}

/// What a handler's runs are counted under, made once for all of them.
#[derive(Debug)]
pub(crate) struct HandlerMetrics {
    duration: Key,
    /// By outcome.
    handled: [(&'static str, Key); 4],
}

impl HandlerMetrics {
    pub(crate) fn new(handler: &Arc<str>) -> Self {
        let name = Label::new("handler", handler.clone());
        let handled = HandlerReport::OUTCOMES.map(|outcome| {
            let labels = vec![name.clone(), Label::new("outcome", outcome)];
            (outcome, Key::from_parts(metric::HANDLED, labels))
        });
        Self { duration: Key::from_parts(metric::HANDLER_DURATION, vec![name]), handled }
    }

    /// Within the handler's span.
    pub(crate) fn handled(&self, report: &HandlerReport) {
        let outcome = report.outcome();
        let span = Span::current();
        span.record("stripe.outcome", outcome);
        if report.result().is_err() {
            span.record("error.type", outcome);
        }
        if outcome == "dead" {
            counter!(metric::DEAD_LETTERS, "handler" => Arc::clone(&report.name)).increment(1);
        }
        with_recorder(|recorder| {
            if let Some(duration) = report.duration() {
                recorder.register_histogram(&self.duration, &METADATA).record(duration);
            }
            if let Some((_, key)) = self.handled.iter().find(|(known, _)| *known == outcome) {
                recorder.register_counter(key, &METADATA).increment(1);
            }
        });
    }
}

/// As the macros of `metrics` make it.
static METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

pub(crate) fn lost(handler: &Arc<str>) {
    counter!(metric::LOST, "handler" => handler.clone()).increment(1);
}

pub(crate) fn completion_evicted() {
    counter!(metric::EVICTED).increment(1);
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// docs/metrics.md is what this makes; `UPDATE_DOCS=1` writes it.
    #[test]
    fn the_table_in_the_docs_has_every_metric() {
        let mut table = "| metric | kind | labels | what it says |\n|---|---|---|---|\n".to_owned();
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
        assert_eq!(std::fs::read_to_string(path).unwrap(), table, "UPDATE_DOCS=1 writes it anew");
    }
}
