//! Determines the outcome of an attempt, and logs it.

use std::time::Duration;

use router_core::{
    Event, Failure, Outcome,
    delivery::{HandlerSpec, RetryPolicy},
    event::EnvelopeError,
    handler::{HandlerReport, Later, one_line},
};

use crate::{
    store::{DeliveryOutcome, is_unavailable_to_handler},
    telemetry,
};

/// Delay before the next attempt if the store could not begin a handler's transaction.
const RELEASE_DELAY: Duration = Duration::from_secs(5);

/// Returns the outcome after the handler has succeeded, or has asked to run later. `delayed` is the
/// total of the waits so far.
pub(super) fn from_success(
    spec: &HandlerSpec,
    event: &Event,
    delayed: Duration,
    report: &HandlerReport,
    success: &Outcome,
) -> DeliveryOutcome {
    let (handler, id, event_type) = (&*spec.name, event.id(), event.event_type());
    let (attempt, duration) = (report.attempts(), report.duration().unwrap_or_default());
    match success {
        Outcome::Ignored(reason) => {
            tracing::info!(
                handler, event.id = id, event.r#type = event_type, attempt, ?duration,
                reason = %one_line(reason), "handler ignored the event"
            );
            DeliveryOutcome::Ignored
        }
        Outcome::Later(later) => from_later(spec, event, delayed, later),
        Outcome::Done | Outcome::Replied(_) => {
            tracing::info!(
                handler,
                event.id = id,
                event.r#type = event_type,
                attempt,
                ?duration,
                "handler done"
            );
            DeliveryOutcome::Done
        }
    }
}

/// Returns the outcome after the handler has asked to run later: a dead letter if the delivery has
/// been delayed for the maximum.
fn from_later(
    handler: &HandlerSpec,
    event: &Event,
    delayed: Duration,
    later: &Later,
) -> DeliveryOutcome {
    let reason = later.reason().map(|reason| one_line(reason).to_string());
    let Some(wait) = handler.retry.wait_later(later.wait(), delayed) else {
        telemetry::dead_letter(&handler.name);
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        let limit = humantime::format_duration(handler.retry.max_delay);
        let error =
            format!("the handler asked to run later for more than `max_delay` ({limit}){reason}");
        return dead_letter(handler, event.id(), Some(event), &error);
    };
    tracing::info!(
        handler = &*handler.name,
        event.id = event.id(),
        event.r#type = event.event_type(),
        reason,
        "handler cannot handle the event yet; it runs again in {}",
        format_wait(wait)
    );
    DeliveryOutcome::Later { wait, reason, out_of_order: later.is_out_of_order() }
}

/// The consequence of a failed attempt.
pub(crate) enum Consequence {
    /// The store could not begin the handler's transaction. The attempt is not counted.
    Release,
    /// A retry after this wait.
    Retry(Duration),
    /// A dead letter, because the last attempt has failed.
    LastAttempt,
    /// A dead letter, because the failure is permanent.
    Permanent,
}

impl Consequence {
    pub(crate) fn new(retry: &RetryPolicy, attempt: u32, failure: &Failure) -> Self {
        if is_unavailable_to_handler(failure) {
            return Self::Release;
        }
        if failure.is_permanent() {
            return Self::Permanent;
        }
        let wait = retry.wait_after(attempt, failure.retry_after(), fastrand::f64());
        wait.map_or(Self::LastAttempt, Self::Retry)
    }
}

/// Returns the outcome after the handler has failed.
pub(super) fn from_failure(
    handler: &HandlerSpec,
    event: &Event,
    attempt: u32,
    failure: &Failure,
) -> DeliveryOutcome {
    // Formatted once, so that the log and the store have the same text.
    let error = failure.to_string();
    match Consequence::new(&handler.retry, attempt, failure) {
        Consequence::Release => release(handler, event, &error),
        Consequence::Retry(wait) => retry(handler, event, attempt, wait, &error),
        Consequence::LastAttempt => last_attempt(handler, event, attempt, &error),
        // The router has already counted this dead letter in the metrics.
        Consequence::Permanent => dead_letter(handler, event.id(), Some(event), &error),
    }
}

/// Returns the outcome of an attempt whose lease expired.
pub(super) fn from_expired_lease(
    handler: &HandlerSpec,
    event: &Event,
    attempt: u32,
) -> DeliveryOutcome {
    telemetry::lease_expired(&handler.name);
    let error = "the attempt was started but never finished: its lease expired, because the \
                 process crashed or was suspended, or because the store did not answer";
    match handler.retry.wait_after(attempt, None, fastrand::f64()) {
        Some(wait) => retry(handler, event, attempt, wait, error),
        None => last_attempt(handler, event, attempt, error),
    }
}

/// Returns the outcome of a delivery that is not run, because its handler takes only the newest
/// event of an object and has done a newer one.
pub(super) fn from_outdated_event(handler: &HandlerSpec, event: &Event) -> DeliveryOutcome {
    tracing::info!(
        handler = &*handler.name,
        event.id = event.id(),
        event.r#type = event.event_type(),
        "event ignored: the handler has done a newer event of the same object"
    );
    DeliveryOutcome::Ignored
}

/// Returns the outcome if the stored event cannot be read.
pub(super) fn from_damaged_event(
    handler: &HandlerSpec,
    event_id: &str,
    error: &EnvelopeError,
) -> DeliveryOutcome {
    telemetry::dead_letter(&handler.name);
    let error = format!("the stored event is damaged: {error}");
    dead_letter(handler, event_id, None, &error)
}

/// Returns the outcome of an attempt for which the store could not begin a transaction.
fn release(handler: &HandlerSpec, event: &Event, error: &str) -> DeliveryOutcome {
    let wait = RetryPolicy::jitter(RELEASE_DELAY, fastrand::f64());
    tracing::warn!(
        handler = &*handler.name, event.id = event.id(), event.r#type = event.event_type(),
        %error,
        "the store could not begin the handler's transaction; retrying in {} without counting an \
         attempt", format_wait(wait)
    );
    DeliveryOutcome::Released { wait }
}

fn retry(
    handler: &HandlerSpec,
    event: &Event,
    attempt: u32,
    wait: Duration,
    error: &str,
) -> DeliveryOutcome {
    let max_attempts = handler.retry.max_attempts;
    tracing::warn!(
        handler = &*handler.name, event.id = event.id(), event.r#type = event.event_type(),
        event.api_version = event.api_version(), %error,
        "handler failed on attempt {attempt} of {max_attempts}; retrying in {}", format_wait(wait)
    );
    DeliveryOutcome::Retry { wait, error: error.to_owned() }
}

fn last_attempt(
    handler: &HandlerSpec,
    event: &Event,
    attempt: u32,
    error: &str,
) -> DeliveryOutcome {
    telemetry::dead_letter(&handler.name);
    let error = format!("attempt {attempt} of {} failed: {error}", handler.retry.max_attempts);
    dead_letter(handler, event.id(), Some(event), &error)
}

/// Logs a dead letter. `event` is `None` if the stored event is damaged.
fn dead_letter(
    handler: &HandlerSpec,
    id: &str,
    event: Option<&Event>,
    error: &str,
) -> DeliveryOutcome {
    let event_type = event.map(Event::event_type);
    let version = event.and_then(Event::api_version);
    let name = &*handler.name;
    let note = match handler.order {
        Some(_) => "; later events of the same object are delivered in the meantime",
        None => "",
    };
    tracing::error!(
        handler = name, event.id = id, event.r#type = event_type, event.api_version = version, %error,
        "dead letter stored; retry it with `event-router inbox retry {id} --handler {name}`{note}"
    );
    DeliveryOutcome::Dead { error: error.to_owned() }
}

/// Formats a duration in whole seconds, or in whole milliseconds if it is shorter than a second.
fn format_wait(wait: Duration) -> humantime::FormattedDuration {
    let subsecond = Duration::from_millis(wait.subsec_millis().into());
    let seconds = Duration::from_secs(wait.as_secs());
    humantime::format_duration(if seconds.is_zero() { subsecond } else { seconds })
}
