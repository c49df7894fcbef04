use router_core::{Event, event_type, on_event};

const PAID: &str = "invoice.payed";

#[on_event(PAID)]
async fn of_another_text(_: Event) {}

#[on_event(event_type::invoice::PAYED)]
async fn that_is_not_there(_: Event) {}

fn main() {}
