//! The metrics and log lines of [`Reconcile`](super::Reconcile).
//!
#![doc = include_str!("../docs/metrics.md")]

use std::{ops::Range, time::SystemTime};

use metrics::{counter, describe_counter};

use super::{EventSource, Summary, format_checkpoint};

const EVENTS: &str = "stripe_webhook_reconcile_events_total";
const PASSES: &str = "stripe_webhook_reconcile_passes_total";

/// The outcome of a listed event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Missed,
    Stored,
    OtherEndpoint,
    Ignored,
    Unreadable,
}

impl Outcome {
    const ALL: [Self; 5] =
        [Self::Missed, Self::Stored, Self::OtherEndpoint, Self::Ignored, Self::Unreadable];

    fn name(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Stored => "stored",
            Self::OtherEndpoint => "other_endpoint",
            Self::Ignored => "ignored",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Registers the descriptions, and initializes the counters with 0 for alerts.
pub(super) fn describe() {
    describe_counter!(
        EVENTS,
        "Events in Stripe's lists of undelivered and thin events, by outcome: missed (handed to the \
         inbox), stored (the inbox had it), other_endpoint (stored for another endpoint, not handed \
         over), ignored (thin, named by no handler), unreadable"
    );
    describe_counter!(PASSES, "Searches for missed events by outcome: success, failure");
    for outcome in Outcome::ALL {
        counter!(EVENTS, "outcome" => outcome.name()).increment(0);
    }
    for outcome in ["success", "failure"] {
        counter!(PASSES, "outcome" => outcome).increment(0);
    }
}

/// Counts a listed event.
pub(super) fn found(outcome: Outcome, id: &str) {
    counter!(EVENTS, "outcome" => outcome.name()).increment(1);
    tracing::debug!(event.id = id, outcome = outcome.name(), "event listed by Stripe");
}

/// Logs a range of creation times that is not searched, because it exceeds the maximum age.
pub(super) fn given_up(source: &EventSource, times: Range<SystemTime>) {
    tracing::error!(
        %source,
        from = format_checkpoint(times.start),
        until = format_checkpoint(times.end),
        "events of this time are too old to be searched, and may be lost; find them in Stripe's \
         dashboard"
    );
}

/// Counts a pass, and logs the number of missed events.
pub(super) fn passed(summary: &Summary, is_success: bool) {
    let outcome = if is_success { "success" } else { "failure" };
    counter!(PASSES, "outcome" => outcome).increment(1);
    let Summary { listed, missed, already_stored, .. } = *summary;
    if missed > 0 {
        tracing::warn!(
            missed,
            listed,
            "{missed} events that Stripe could not deliver are now in the inbox"
        );
    } else {
        tracing::debug!(listed, already_stored, outcome, "the search for missed events has ended");
    }
}
