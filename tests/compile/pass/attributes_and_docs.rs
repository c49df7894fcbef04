//! Other attributes above and below `#[on_event]` keep working.

#![deny(warnings)]
#![allow(clippy::double_must_use, reason = "an attribute that must be passed on")]

use router_core::{Event, Outcome, Router, on_event};

/// Marks the order paid.
///
/// Only the first line is shown in a table.
#[on_event("invoice.paid")]
#[tracing::instrument(skip_all)]
async fn instrumented_below(event: Event) -> Outcome {
    tracing::info!(id = event.id(), "paid");
    Outcome::Done
}

#[tracing::instrument(skip_all)]
#[on_event("invoice.paid")]
async fn instrumented_above(event: Event) {
    tracing::info!(id = event.id(), "paid");
}

#[on_event("invoice.paid")]
#[deprecated = "use the other"]
async fn out_of_date(_: Event) {}

#[on_event("invoice.paid")]
#[must_use]
#[inline]
fn its_value_counts(_: Event) -> Outcome {
    Outcome::ignored("another handler's")
}

#[on_event("invoice.paid")]
#[doc = "Documented by an attribute."]
#[allow(clippy::unused_async)]
async fn documented_by_an_attribute(_: Event) {}

fn main() {
    let router = Router::builder().build().unwrap();
    let docs: Vec<&str> = router.routes().iter().map(|route| route.doc).collect();
    assert_eq!(docs, ["Documented by an attribute.", "", "Marks the order paid.", "", ""]);
}
