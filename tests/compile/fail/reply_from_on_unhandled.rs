use router_core::{Event, Reply, on_unhandled};

#[on_unhandled]
async fn rest(_: Event) -> Reply<bool> {
    Reply(true)
}

#[on_unhandled(exclusive, deadline = "1s")]
async fn other(_: Event) {}

fn main() {}
