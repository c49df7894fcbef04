use router_core::{Event, Router, delivery::RetryPolicy};

fn main() {
    let builder = Router::builder().handler("audit", ["*"], async |_: Event| {});
    let _ = builder.retry(RetryPolicy::new(3)).build();
}
