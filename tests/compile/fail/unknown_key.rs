use router_core::{Event, on_event};

#[on_event("invoice.paid", priority = 1)]
async fn paid(_: Event) {}

fn main() {}
