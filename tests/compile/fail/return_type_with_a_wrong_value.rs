use router_core::{Event, Failure, on_event};

#[on_event("invoice.paid")]
async fn paid(event: Event) -> Result<String, Failure> {
    Ok(event.id().to_owned())
}

fn main() {}
