use router_core::{Event, on_event};

#[on_event]
async fn without_brackets(_: Event) {}

#[on_event()]
async fn with_empty_brackets(_: Event) {}

#[on_event(name = "orders.paid")]
async fn with_a_key_only(_: Event) {}

fn main() {}
