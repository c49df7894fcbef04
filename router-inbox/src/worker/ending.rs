//! What the end of a run means for its delivery: done, tried again, or dead; and what is said of it.

use std::{fmt, time::Duration};

use router_core::{Event, Failure, Outcome, RetryPolicy, event::EnvelopeError};

use crate::{End, Lease, telemetry};

/// The handler has finished.
pub(super) fn of_outcome(handler: &str, outcome: &Outcome) -> End {
    match outcome {
        Outcome::Ignored(reason) => {
            tracing::info!(handler, %reason, "handler ignored the event");
            End::Ignored
        }
        _ => {
            tracing::debug!(handler, "handler done");
            End::Done
        }
    }
}

/// The handler has failed.
pub(super) fn of_failure(
    handler: &str,
    event: &Event,
    policy: &RetryPolicy,
    attempt: u32,
    failure: &Failure,
) -> End {
    if failure.is_permanent() {
        // The router has counted it.
        return dead(handler, Some(event), failure);
    }
    try_again(handler, event, policy, attempt, failure.wait(), failure)
}

/// Whoever began this attempt has not said how it ended.
pub(super) fn interrupted(lease: &Lease, event: &Event, policy: &RetryPolicy, attempt: u32) -> End {
    telemetry::interrupted(lease);
    let error = "the attempt was begun and never ended: its process died, or stood still for longer than its lease";
    try_again(&lease.handler, event, policy, attempt, None, &error)
}

/// What the store has kept is no event any more.
pub(super) fn damaged(lease: &Lease, error: &EnvelopeError) -> End {
    telemetry::dead_letter(&lease.handler);
    let error = format!("what the store has kept is no event any more: {error}");
    dead(&lease.handler, None, &error)
}

fn try_again(
    handler: &str,
    event: &Event,
    policy: &RetryPolicy,
    attempt: u32,
    asked: Option<Duration>,
    error: &dyn fmt::Display,
) -> End {
    let Some(wait) = policy.wait_after(attempt) else {
        telemetry::dead_letter(handler);
        let error = format!("attempt {attempt} of {} failed: {error}", policy.attempts);
        return dead(handler, Some(event), &error);
    };
    // By chance, so that what failed together does not come again together.
    let wait = wait.mul_f64(0.75 + fastrand::f64() / 2.0).max(asked.unwrap_or_default());
    tracing::warn!(
        handler, event.id = event.id(), event.r#type = event.event_type(), %error,
        "handler failed: attempt {attempt} of {}, the next in {}", policy.attempts, rounded(wait)
    );
    End::Retry { wait, error: error.to_string() }
}

fn dead(handler: &str, event: Option<&Event>, error: &dyn fmt::Display) -> End {
    let (id, event_type) = (event.map(Event::id), event.map(Event::event_type));
    tracing::error!(
        handler, event.id = id, event.r#type = event_type, %error,
        "dead letter: it is kept, and tried again by `event-router inbox retry {} --handler {handler}`",
        id.unwrap_or("ID")
    );
    End::Dead { error: error.to_string() }
}

/// Nobody waits for milliseconds, but for those of a wait that has no seconds.
fn rounded(wait: Duration) -> humantime::FormattedDuration {
    let seconds = Duration::from_secs(wait.as_secs());
    humantime::format_duration(if seconds.is_zero() { wait } else { seconds })
}
