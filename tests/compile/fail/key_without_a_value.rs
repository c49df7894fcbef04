use router_core::{Event, on_event};

#[on_event("invoice.paid", name)]
async fn paid(_: Event) {}

#[on_event("invoice.paid", name = )]
async fn paid_too(_: Event) {}

fn main() {}
