use router_core::{Event, on_event};

#[on_event(42)]
async fn paid(_: Event) {}

fn main() {}
