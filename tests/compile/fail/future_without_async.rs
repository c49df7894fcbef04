use router_core::{Event, on_event};

#[on_event("invoice.paid")]
fn paid(_: Event) -> impl Future<Output = ()> {
    std::future::ready(())
}

fn main() {}
