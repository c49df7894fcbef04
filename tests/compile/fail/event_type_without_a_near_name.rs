use router_core::{Event, on_event};

#[on_event("coffee_machine.descaled")]
async fn descaled(_: Event) {}

fn main() {}
