use router_core::{Event, Router};

async fn paid(_: Event) {}

struct Refunds;

fn main() {
    let _ = Router::builder().only::<paid>();
    let _ = Router::builder().without::<Refunds>();
}
