use router_core::{Event, on_event};

#[on_event("custommer.*")]
async fn changed(_: Event) {}

fn main() {}
