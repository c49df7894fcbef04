//! Keys for stored deliveries with invalid values.

use router_core::{Event, on_event, on_unhandled};

#[on_event(
    "invoice.paid",
    retry(max_attempts = 0, backoff = "0s", max_backoff = "soon"),
    concurrency = 4294967296,
    formerly = "two words",
    ordered = true
)]
async fn paid(_: Event) {}

#[on_event("invoice.voided", retry(backoff = "1m", max_backoff = "10s"))]
async fn voided(_: Event) {}

#[on_event("invoice.updated", ordered = "latest")]
async fn latest(_: Event) {}

#[on_event("invoice.updated", ordered = newest)]
async fn unquoted(_: Event) {}

#[on_event("invoice.updated", ordered = )]
async fn missing(_: Event) {}

#[on_event("invoice.updated", ordered("newest"))]
async fn parenthesized(_: Event) {}

#[on_event("invoice.updated", ordered, ordered = "newest")]
async fn twice(_: Event) {}

#[on_event("checkout.session.completed", answer_after = "11s")]
async fn too_late(_: Event) {}

#[on_event("checkout.session.completed", answer_after = "0s")]
async fn at_once(_: Event) {}

#[on_event("checkout.session.completed", answer_after = 8)]
async fn without_unit(_: Event) {}

#[on_unhandled(retry(max_attempts = 3), ordered = "newest")]
async fn rest(_: Event) {}

fn main() {}
