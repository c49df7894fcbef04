use router_core::{Object, Previous, event::Recency, on_event};

#[derive(serde::Deserialize)]
struct Meter {}

#[on_event("v1.billing.meter.no_meter_found")]
async fn thin(_: Object<Meter>) {}

#[on_event("*")]
async fn thin_too(_: Previous<Meter>) {}

#[on_event("v1.billing.meter.no_meter_found")]
async fn thin_as_well(_: Recency) {}

fn main() {}
