use router_core::{Event, on_event};

#[on_event("invoice.paid", blocking)]
async fn paid(_: Event) {}

fn main() {}
