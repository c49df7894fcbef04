use router_core::{Event, on_event};

#[on_event("invoice.paid", unlisted = true)]
async fn paid(_: Event) {}

fn main() {}
