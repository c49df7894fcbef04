use router_core::{Event, on_event};

struct OutOfStock;

#[on_event("invoice.paid")]
async fn paid(_: Event) -> Result<(), OutOfStock> {
    Err(OutOfStock)
}

fn main() {}
