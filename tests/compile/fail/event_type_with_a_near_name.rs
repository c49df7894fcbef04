use router_core::{Event, on_event};

#[on_event("payment_intent.succeded")]
async fn fulfil(_: Event) {}

fn main() {}
