use router_core::{Event, on_event};

#[on_event("invoice.paid", "invoice.voided", "invoice.paid")]
async fn changed(_: Event) {}

fn main() {}
