use router_core::{Object, on_event};

#[on_event("invoice.paid")]
async fn paid(_: Object<Invoice>) {}

fn main() {}
