//! What is logged and counted, under the same prefix as what `router_core::telemetry` lists.
//!
//! | metric | kind | labels | what it says |
//! |---|---|---|---|
//! | `stripe_webhook_inbox_events_total` | counter | `outcome` | Events that came: stored, duplicate, unhandled (stored all the same), store_error (Stripe sends them again) |
//! | `stripe_webhook_inbox_store_duration_seconds` | histogram | | From an event that came to its commit |
//! | `stripe_webhook_inbox_deliveries` | gauge | `handler`, `state` | Deliveries that have not ended: waiting, running |
//! | `stripe_webhook_inbox_oldest_seconds` | gauge | `handler` | How long ago the oldest of them was stored |
//! | `stripe_webhook_inbox_leases_expired_total` | counter | `handler` | Attempts whose process died or stood still |
//! | `stripe_webhook_inbox_leases_lost_total` | counter | `handler` | Runs that were stopped, or whose end was not recorded, because they were somebody else's by then |
//!
//! How often handlers run, and what becomes of that, is in `stripe_webhook_handlers_total`; dead letters are in
//! `stripe_webhook_dead_letters_total`.

use std::{sync::Arc, time::Duration};

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use router_core::Event;

use crate::{Backlog, Lease, StoreError, Stored};

const EVENTS: &str = "stripe_webhook_inbox_events_total";
const STORE_DURATION: &str = "stripe_webhook_inbox_store_duration_seconds";
const DELIVERIES: &str = "stripe_webhook_inbox_deliveries";
const OLDEST: &str = "stripe_webhook_inbox_oldest_seconds";
const INTERRUPTED: &str = "stripe_webhook_inbox_leases_expired_total";
const LEASES_LOST: &str = "stripe_webhook_inbox_leases_lost_total";
/// The router's, which counts those that a handler says itself.
const DEAD_LETTERS: &str = "stripe_webhook_dead_letters_total";

pub(crate) fn describe() {
    describe_counter!(EVENTS, "Events that came: stored, duplicate, unhandled, store_error");
    describe_histogram!(STORE_DURATION, Unit::Seconds, "From an event that came to its commit");
    describe_gauge!(DELIVERIES, "Deliveries that have not ended: waiting, running");
    describe_gauge!(OLDEST, Unit::Seconds, "How long ago the oldest open delivery was stored");
    describe_counter!(INTERRUPTED, "Attempts whose process died or stood still");
    describe_counter!(LEASES_LOST, "Runs that were somebody else's before their end was recorded");
}

/// An event came. (One that no handler is for is logged by the router, once for each type.)
pub(crate) fn received(
    event: &Event,
    stored: &Result<Stored, Arc<StoreError>>,
    is_unhandled: bool,
    duration: Duration,
) {
    let (id, event_type) = (event.id(), event.event_type());
    let outcome = match stored {
        Ok(Stored::New) if is_unhandled => "unhandled",
        Ok(Stored::New) => "stored",
        Ok(Stored::Duplicate) => "duplicate",
        Err(_) => "store_error",
    };
    counter!(EVENTS, "outcome" => outcome).increment(1);
    // One that is not stored is logged by the endpoint, which answers 503.
    if stored.is_ok() {
        histogram!(STORE_DURATION).record(duration);
        if outcome != "unhandled" {
            tracing::info!(
                event.id = id,
                event.r#type = event_type,
                outcome,
                ?duration,
                "event received"
            );
        }
    }
}

pub(crate) fn backlog(backlog: &[Backlog]) {
    for Backlog { handler, waiting, running, oldest } in backlog {
        for (state, count) in [("waiting", *waiting), ("running", *running)] {
            #[expect(clippy::cast_precision_loss, reason = "a gauge is no more precise")]
            gauge!(DELIVERIES, "handler" => handler.clone(), "state" => state).set(count as f64);
        }
        gauge!(OLDEST, "handler" => handler.clone()).set(oldest.as_secs_f64());
    }
}

pub(crate) fn lease_expired(handler: &Arc<str>) {
    counter!(INTERRUPTED, "handler" => handler.clone()).increment(1);
}

pub(crate) fn dead_letter(handler: &Arc<str>) {
    counter!(DEAD_LETTERS, "handler" => handler.clone()).increment(1);
}

pub(crate) fn lease_lost(lease: &Lease) {
    counter!(LEASES_LOST, "handler" => lease.handler.clone()).increment(1);
    tracing::warn!(
        handler = &*lease.handler,
        "a lease was lost: this process stood still for longer than it lasts, and the delivery is somebody else's \
         now; the handler may run twice"
    );
}
