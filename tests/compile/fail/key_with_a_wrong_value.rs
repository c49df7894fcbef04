use router_core::{Event, on_event};

#[on_event("invoice.paid", name = orders.paid)]
async fn paid(_: Event) {}

#[on_event("invoice.paid", crate = "router_core")]
async fn paid_too(_: Event) {}

#[on_event("invoice.paid", name = "orders.paid" "invoice.*")]
async fn paid_thrice(_: Event) {}

fn main() {}
