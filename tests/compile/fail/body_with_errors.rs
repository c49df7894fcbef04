use router_core::{Event, on_event};

#[on_event("invoice.paid")]
async fn paid(event: Event) {
    let amount: i64 = event.id();
    orders.
}

fn main() {}
