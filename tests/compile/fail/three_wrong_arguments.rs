use router_core::on_event;

#[on_event("invoice.paid")]
async fn paid(_: String, _: u8, _: Result<u8, String>) {}

fn main() {}
