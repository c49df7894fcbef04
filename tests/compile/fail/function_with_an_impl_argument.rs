use router_core::{Event, on_event};

#[on_event("invoice.paid")]
async fn paid(_: impl Into<Event>) {}

fn main() {}
