use router_core::{Event, on_event};

#[on_event("invoice.payed", nmae = "orders.paid", "charge.*.refunded")]
unsafe fn paid<T>(_: Event) {}

fn main() {}
