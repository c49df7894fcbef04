use router_core::{Event, on_event};

#[on_event("invoice.paid", name = "orders paid")]
async fn paid(_: Event) {}

fn main() {}
