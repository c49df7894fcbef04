use router_core::{Event, on_event, on_unhandled};

#[on_event("invoice.paid")]
#[on_event("charge.failed")]
async fn two_event_types(_: Event) {}

#[on_event("invoice.paid", endpoint = "platform")]
#[router_core::on_event("invoice.paid", endpoint = "connect")]
async fn by_path(_: Event) {}

#[on_event("invoice.paid")]
#[on_unhandled]
async fn paid_and_unhandled(_: Event) {}

#[on_unhandled]
#[on_unhandled]
async fn unhandled_twice(_: Event) {}

fn main() {}
