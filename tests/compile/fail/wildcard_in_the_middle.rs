use router_core::{Event, on_event};

#[on_event("customer.*.deleted")]
async fn deleted(_: Event) {}

fn main() {}
