use router_core::{Event, on_event};

#[on_event("invoice.paid")]
async fn paid(_: Event)
where
    String: Clone,
{
}

fn main() {}
