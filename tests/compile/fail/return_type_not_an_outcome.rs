use router_core::{Event, on_event};

#[on_event("invoice.paid")]
async fn paid(event: Event) -> bool {
    event.is_thin()
}

fn main() {}
