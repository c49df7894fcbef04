use router_core::{Event, on_event};

#[on_event("invoice.payed", "charge.refundet")]
async fn paid(_: Event) {}

fn main() {}
