use router_core::{Event, on_event};

#[on_event("invoice.paid")]
const fn constant() {}

#[on_event("invoice.paid")]
unsafe fn unsound(_: Event) {}

#[on_event("invoice.paid")]
extern "C" fn foreign(_: Event) {}

fn main() {}
