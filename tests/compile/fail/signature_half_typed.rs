use router_core::{Event, on_event};

#[on_event("invoice.paid")]
async fn paid(event: Event, orders: ) {
    orders.mark_paid(event.id()).await
}

fn main() {}
