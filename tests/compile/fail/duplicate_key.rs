use router_core::{Event, on_event};

#[on_event("invoice.paid", name = "orders.paid", name = "orders.settled")]
async fn paid(_: Event) {}

fn main() {}
