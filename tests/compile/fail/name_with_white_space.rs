use router_core::{Event, on_event};

#[on_event("invoice.paid", name = "orders paid")]
async fn paid(_: Event) {}

#[on_event("invoice.paid", name = "")]
async fn empty(_: Event) {}

#[on_event("invoice.paid", name = "orders\u{3000}paid")]
async fn wide(_: Event) {}

#[on_event("invoice.paid", name = "orders\u{7}paid")]
async fn control(_: Event) {}

fn main() {}
