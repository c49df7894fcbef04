use router_core::{Event, on_event};

#[on_event("invoice.paid" "invoice.voided")]
async fn changed(_: Event) {}

fn main() {}
