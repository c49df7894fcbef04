//! Errors in the group `retry(…)`, and its keys outside of it.

use router_core::{Event, on_event};

#[on_event("invoice.paid", attempts = 3, backoff = "10s", max_backoff = "1m")]
async fn ungrouped(_: Event) {}

#[on_event("invoice.paid", attempts, max_attempts = 3)]
async fn ungrouped_too(_: Event) {}

#[on_event("invoice.paid", retry(attempts = 3, max_backof = "1m", concurrency = 4))]
async fn unknown(_: Event) {}

#[on_event("invoice.paid", retry(max_attempts = 3, max_attempts = 4))]
async fn twice(_: Event) {}

#[on_event("invoice.paid", retry(max_attempts = 3), retry(backoff = "10s"))]
async fn in_two_groups(_: Event) {}

#[on_event("invoice.paid", retry(max_attempts, backoff = , max_backoff = 60))]
async fn without_values(_: Event) {}

#[on_event("invoice.paid", retry(3, max_attempts = 4 backoff = "10s"))]
async fn without_key_and_comma(_: Event) {}

#[on_event("invoice.paid", retry)]
async fn without_parentheses(_: Event) {}

#[on_event("invoice.paid", retry = 3)]
async fn with_a_value(_: Event) {}

#[on_event("invoice.paid", retry())]
async fn empty(_: Event) {}

#[on_event("invoice.paid", retry { max_attempts = 3 })]
async fn in_braces(_: Event) {}

#[on_event("invoice.paid", retry(max_attempts = 3) order = 3)]
async fn without_comma(_: Event) {}

#[on_event("invoice.paid", order.created, reply = decline)]
async fn not_keys(_: Event) {}

fn main() {}
