use router_core::{Event, on_event};

#[on_event("")]
async fn empty(_: Event) {}

#[on_event("invoice paid")]
async fn with_a_space(_: Event) {}

#[on_event("invoice..paid")]
async fn with_two_dots(_: Event) {}

fn main() {}
