use router_core::{Event, on_event};

mod paid {}

#[on_event("invoice.paid")]
async fn paid(_: Event) {}

fn main() {}
