//! What the end of a run means for its delivery: done, tried again, or dead; and what is said of it.

use std::{fmt, time::Duration};

use router_core::{Event, Failure, HandlerSpec, Outcome, event::EnvelopeError};

use crate::{DeliveryOutcome, telemetry};

/// The handler has finished.
pub(super) fn of_outcome(handler: &str, outcome: &Outcome) -> DeliveryOutcome {
    match outcome {
        Outcome::Ignored(reason) => {
            tracing::info!(handler, %reason, "handler ignored the event");
            DeliveryOutcome::Ignored
        }
        _ => {
            tracing::debug!(handler, "handler done");
            DeliveryOutcome::Done
        }
    }
}

/// The handler has failed.
pub(super) fn of_failure(
    handler: &HandlerSpec,
    event: &Event,
    attempt: u32,
    failure: &Failure,
) -> DeliveryOutcome {
    if failure.is_permanent() {
        // The router has counted it.
        return dead(handler, Some(event), failure);
    }
    try_again(handler, event, attempt, failure.retry_after(), failure)
}

/// Whoever began this attempt has not said how it ended.
pub(super) fn lease_expired(handler: &HandlerSpec, event: &Event, attempt: u32) -> DeliveryOutcome {
    telemetry::lease_expired(&handler.name);
    let error = "the attempt was begun and never ended: its process died, or stood still for longer than its lease";
    try_again(handler, event, attempt, None, &error)
}

/// What the store has kept is no event any more.
pub(super) fn damaged(handler: &HandlerSpec, error: &EnvelopeError) -> DeliveryOutcome {
    telemetry::dead_letter(&handler.name);
    let error = format!("what the store has kept is no event any more: {error}");
    dead(handler, None, &error)
}

fn try_again(
    handler: &HandlerSpec,
    event: &Event,
    attempt: u32,
    asked: Option<Duration>,
    error: &dyn fmt::Display,
) -> DeliveryOutcome {
    let attempts = handler.retry.max_attempts;
    let Some(wait) = handler.retry.wait_after(attempt) else {
        telemetry::dead_letter(&handler.name);
        let error = format!("attempt {attempt} of {attempts} failed: {error}");
        return dead(handler, Some(event), &error);
    };
    // By chance, so that what failed together does not come again together.
    let wait = wait.mul_f64(0.75 + fastrand::f64() / 2.0).max(asked.unwrap_or_default());
    tracing::warn!(
        handler = &*handler.name, event.id = event.id(), event.r#type = event.event_type(), %error,
        "handler failed: attempt {attempt} of {attempts}, the next in {}", rounded(wait)
    );
    DeliveryOutcome::Retry { wait, error: error.to_string() }
}

fn dead(handler: &HandlerSpec, event: Option<&Event>, error: &dyn fmt::Display) -> DeliveryOutcome {
    let (id, event_type) = (event.map(Event::id), event.map(Event::event_type));
    let name = &*handler.name;
    let order = match handler.ordered {
        true => "; the events of its object that waited for it go on without it",
        false => "",
    };
    tracing::error!(
        handler = name, event.id = id, event.r#type = event_type, %error,
        "dead letter: it is kept, and tried again by `event-router inbox retry {} --handler {name}`{order}",
        id.unwrap_or("ID")
    );
    DeliveryOutcome::Dead { error: error.to_string() }
}

/// Nobody waits for milliseconds, but for those of a wait that has no seconds.
fn rounded(wait: Duration) -> humantime::FormattedDuration {
    let seconds = Duration::from_secs(wait.as_secs());
    humantime::format_duration(if seconds.is_zero() { wait } else { seconds })
}
