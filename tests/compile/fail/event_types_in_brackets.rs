use router_core::{Event, on_event};

#[on_event(["invoice.paid", "charge.failed"])]
async fn array(_: Event) {}

#[on_event(&["invoice.paid"], name = "slice")]
async fn slice(_: Event) {}

#[on_event((router_core::event_type::invoice::PAID, "charge.failed",))]
async fn tuple(_: Event) {}

#[on_event(events = ["invoice.paid"])]
async fn key(_: Event) {}

#[on_event([])]
async fn nothing(_: Event) {}

fn main() {}
