use router_core::{Event, RetryPolicy, Router};

fn main() {
    let builder = Router::builder().handler("audit", ["*"], async |_: Event| {});
    let _ = builder.retry(RetryPolicy::new(3)).build();
}
