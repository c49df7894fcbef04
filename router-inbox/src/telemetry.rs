//! The inbox's metrics and log lines. The metrics have the same prefix as those listed in
//! `router_core::telemetry`.
//!
#![doc = include_str!("docs/metrics.md")]
//!
//! Each process with an inbox updates the gauges at least every 15 s, with or without a worker.
//! While the store is unavailable, the gauges keep their last values.
//!
//! `stripe_webhook_handlers_total` counts the runs of handlers and their results, and
//! `stripe_webhook_dead_letters_total` counts dead letters.

use std::{sync::Arc, time::Duration};

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use router_core::{Event, delivery::HandlerSpec, handler::ErrorChain};

use crate::{
    StoreError,
    answers::WaitEnd,
    store::{Backlog, CompleteResult, Lease, WorkerInfo},
};

const EVENTS: &str = "stripe_webhook_inbox_events_total";
const STORE_DURATION: &str = "stripe_webhook_inbox_store_duration_seconds";
const DELIVERIES: &str = "stripe_webhook_inbox_deliveries";
const OLDEST: &str = "stripe_webhook_inbox_oldest_seconds";
const OLDEST_DUE: &str = "stripe_webhook_inbox_oldest_due_seconds";
const WORKERS: &str = "stripe_webhook_inbox_workers";
const PAUSED: &str = "stripe_webhook_inbox_paused";
const ANSWER_WAITS: &str = "stripe_webhook_inbox_answer_waits_total";
const LEASES_EXPIRED: &str = "stripe_webhook_inbox_leases_expired_total";
const LEASES_LOST: &str = "stripe_webhook_inbox_leases_lost_total";
/// The router's metric. The router itself counts permanent failures; the inbox adds the dead
/// letters after the last attempt and those of damaged events.
const DEAD_LETTERS: &str = "stripe_webhook_dead_letters_total";

/// Registers the descriptions of the inbox's metrics, and initializes its error counter with 0.
///
/// An alert needs the zero, because Prometheus' `increase` ignores the first sample of a counter.
pub(crate) fn describe() {
    describe_counter!(
        EVENTS,
        "Received events by outcome: stored, redelivered (a handler runs because the event came \
         again), duplicate, unhandled (stored all the same), store_error (Stripe resends the event)"
    );
    describe_histogram!(
        STORE_DURATION,
        Unit::Seconds,
        "Time from receiving an event to its commit"
    );
    describe_gauge!(DELIVERIES, "Unfinished deliveries by state: waiting, running");
    describe_gauge!(OLDEST, Unit::Seconds, "Time since the oldest unfinished delivery was stored");
    describe_gauge!(
        OLDEST_DUE,
        Unit::Seconds,
        "Time since the first of the claimable deliveries became due; zero if none is claimable"
    );
    describe_gauge!(WORKERS, "Running workers in all processes, if the store records them");
    describe_gauge!(PAUSED, "1 while an operator has paused the handler, otherwise 0");
    describe_counter!(
        ANSWER_WAITS,
        "Waits of answers for a handler with `answer_after`, by outcome: finished (the handler has \
         finished the event), timeout (the handler has not finished in time), skipped (the handler is \
         paused, this process is shutting down, or too many answers wait)"
    );
    describe_counter!(
        LEASES_EXPIRED,
        "Attempts whose lease expired without an outcome: the process crashed or was suspended"
    );
    describe_counter!(LEASES_LOST, "Attempts canceled or not recorded because the lease was lost");
    counter!(EVENTS, "outcome" => "store_error").increment(0);
}

/// Counts and logs a received event. An unhandled one is logged by the router, once per event type.
pub(crate) fn received(event: &Event, outcome: &'static str, duration: Duration) {
    counter!(EVENTS, "outcome" => outcome).increment(1);
    histogram!(STORE_DURATION).record(duration);
    if outcome != "unhandled" {
        tracing::info!(
            event.id = event.id(),
            event.r#type = event.event_type(),
            outcome,
            ?duration,
            "event received"
        );
    }
}

/// Counts the end of an answer's wait for a handler, and logs it if it timed out.
pub(crate) fn answer_waited(handler: &HandlerSpec, event: &Event, limit: Duration, end: WaitEnd) {
    let outcome = match end {
        WaitEnd::Finished(_) => "finished",
        WaitEnd::TimedOut => "timeout",
        WaitEnd::Skipped => "skipped",
    };
    counter!(ANSWER_WAITS, "handler" => handler.name.clone(), "outcome" => outcome).increment(1);
    if end == WaitEnd::TimedOut {
        tracing::warn!(
            handler = &*handler.name,
            event.id = event.id(),
            event.r#type = event.event_type(),
            answer_after = %humantime::format_duration(limit),
            "the handler has not finished the event within its `answer_after`; Stripe is answered, \
             and the stored delivery goes on"
        );
    }
}

/// Counts an event that could not be stored. The endpoint logs it, and answers with 503.
pub(crate) fn store_error() {
    counter!(EVENTS, "outcome" => "store_error").increment(1);
}

pub(crate) fn backlog(Backlog { handler, waiting, running, oldest, oldest_due }: &Backlog) {
    for (state, count) in [("waiting", *waiting), ("running", *running)] {
        #[expect(clippy::cast_precision_loss, reason = "gauges are `f64`")]
        gauge!(DELIVERIES, "handler" => handler.clone(), "state" => state).set(count as f64);
    }
    gauge!(OLDEST, "handler" => handler.clone()).set(oldest.as_secs_f64());
    let oldest_due = oldest_due.unwrap_or_default();
    gauge!(OLDEST_DUE, "handler" => handler.clone()).set(oldest_due.as_secs_f64());
}

/// Records the number of running workers, if the store records them.
pub(crate) fn workers(workers: Option<&[WorkerInfo]>) {
    if let Some(workers) = workers {
        #[expect(clippy::cast_precision_loss, reason = "gauges are `f64`")]
        gauge!(WORKERS).set(workers.len() as f64);
    }
}

/// Records whether a handler is paused.
pub(crate) fn paused(handler: &Arc<str>, is_paused: bool) {
    gauge!(PAUSED, "handler" => handler.clone()).set(f64::from(is_paused));
}

pub(crate) fn lease_expired(handler: &Arc<str>) {
    counter!(LEASES_EXPIRED, "handler" => handler.clone()).increment(1);
}

pub(crate) fn dead_letter(handler: &Arc<str>) {
    counter!(DEAD_LETTERS, "handler" => handler.clone()).increment(1);
}

/// Logs the result of recording an outcome, unless the outcome was simply recorded.
pub(crate) fn completed(lease: &Lease, completed: CompleteResult) {
    match completed {
        CompleteResult::Recorded => {}
        CompleteResult::Restarted => tracing::info!(
            handler = &*lease.handler,
            event.id = &*lease.event_id,
            "the event was received again in the meantime: the dead letter starts over with it"
        ),
        CompleteResult::LeaseLost => lease_lost(lease),
    }
}

/// Logs a failed operation of a worker, with advice if retrying does not help.
pub(crate) fn store_failed(failure: &str, error: &StoreError) {
    let kind = error.kind();
    let error = ErrorChain::new(error);
    match kind.advice() {
        None => tracing::warn!(%error, %kind, "{failure}"),
        Some(advice) => tracing::error!(%error, %kind, advice, "{failure}"),
    }
}

/// Logs that the store did not answer when a handler's transaction was committed.
pub(crate) fn outcome_unknown(lease: &Lease, error: StoreError) {
    tracing::warn!(
        handler = &*lease.handler,
        event.id = &*lease.event_id,
        error = %ErrorChain::new(&error),
        "outcome unknown: the handler's transaction may or may not have been committed; if it was \
         not, the delivery is retried when its lease expires"
    );
}

pub(crate) fn lease_lost(lease: &Lease) {
    counter!(LEASES_LOST, "handler" => lease.handler.clone()).increment(1);
    tracing::warn!(
        handler = &*lease.handler,
        event.id = &*lease.event_id,
        "lease lost: this process did not renew it in time, and the delivery has been taken over; \
         the handler may run twice"
    );
}
