//! The number and size of the heap allocations per event, from a request whose body is in memory to
//! its response. They include the completions of the event, which are retained in memory.

use divan::{AllocProfiler, Bencher};
use router_core::Router;
use router_performance::{BODY_SIZES, endpoint, event_router, field_router, requests};
use tower::ServiceExt as _;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = BODY_SIZES)]
fn call_field(bencher: Bencher<'_, '_>, bytes: usize) {
    call(bencher, bytes, field_router());
}

#[divan::bench(args = BODY_SIZES)]
fn call_event(bencher: Bencher<'_, '_>, bytes: usize) {
    call(bencher, bytes, event_router());
}

fn call(bencher: Bencher<'_, '_>, bytes: usize, router: Router) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("the runtime starts");
    let endpoint = endpoint(router);
    bencher.with_inputs(requests(bytes)).bench_local_values(|request| {
        runtime.block_on(endpoint.clone().oneshot(request)).expect("an endpoint never fails")
    });
}
