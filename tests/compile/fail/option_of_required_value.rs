use router_core::{EventId, on_event};

#[on_event("invoice.paid")]
async fn paid(_: Option<EventId>) {}

fn main() {}
