use router_core::{Event, on_event};

#[on_event("invoice.paid", exclusive = "customer")]
async fn paid(_: Event) {}

#[on_event("invoice.voided", exclusive = true)]
async fn voided(_: Event) {}

#[on_event("invoice.created", exclusiv)]
async fn created(_: Event) {}

fn main() {}
