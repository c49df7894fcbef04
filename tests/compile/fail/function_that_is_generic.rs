use router_core::{Object, on_event};

#[on_event("invoice.paid")]
async fn paid<T: serde::de::DeserializeOwned + Send>(_: Object<T>) {}

fn main() {}
