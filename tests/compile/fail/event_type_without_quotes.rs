use router_core::{Event, on_event};

#[on_event(payment_intent.succeeded)]
async fn fulfil(_: Event) {}

#[on_event("invoice.voided", customer.*)]
async fn changed(_: Event) {}

fn main() {}
