use router_core::{Event, on_event};

#[on_event("payment_intent.succeeded")]
async fn fulfil(_: &Event) {}

fn main() {}
