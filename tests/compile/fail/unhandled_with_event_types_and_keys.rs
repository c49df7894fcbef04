use router_core::{Event, on_unhandled};

#[on_unhandled("invoice.paid")]
async fn with_a_type(_: Event) {}

#[on_unhandled(order = 1, unlisted)]
async fn with_keys(_: Event) {}

#[on_unhandled(priority = 1, timout = "5s", backoff = "10s")]
async fn with_unknown_keys(_: Event) {}

fn main() {}
