use router_core::{Event, Failure, on_event};

#[on_event("invoice.paid")]
async fn paid(event: Event) -> Result<(), Failure> {
    println!("{}", event.id());
}

fn main() {}
