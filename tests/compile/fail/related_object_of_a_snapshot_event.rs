use router_core::{event::RelatedObject, on_event};

#[on_event("v1.billing.meter.no_meter_found", "invoice.paid")]
async fn related(_: RelatedObject) {}

fn main() {}
