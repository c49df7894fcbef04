use router_core::{Event, on_event};

#[on_event("invoice.paid", crate = shop::router)]
async fn paid(_: Event) {}

fn main() {}
