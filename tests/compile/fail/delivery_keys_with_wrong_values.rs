//! Keys for stored deliveries with invalid values.

use router_core::{Event, on_event, on_unhandled};

#[on_event(
    "invoice.paid",
    attempts = 0,
    backoff = "0s",
    max_backoff = "soon",
    concurrency = -1,
    formerly = "two words",
    ordered = true
)]
async fn paid(_: Event) {}

#[on_event("invoice.voided", backoff = "1m", max_backoff = "10s")]
async fn voided(_: Event) {}

#[on_unhandled(attempts = 3, ordered)]
async fn rest(_: Event) {}

fn main() {}
