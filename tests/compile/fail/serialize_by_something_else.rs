use router_core::{Event, on_event};

#[on_event("invoice.paid", serialize = "customer")]
async fn paid(_: Event) {}

#[on_event("invoice.voided", serialize)]
async fn voided(_: Event) {}

#[on_event("invoice.created", seralize = "object")]
async fn created(_: Event) {}

fn main() {}
