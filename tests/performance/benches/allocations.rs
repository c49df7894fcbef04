//! How often, and how much, one event makes the heap allocate, from a request that is there to its response.
//! What the completion memory keeps of each event is among it.

use divan::{AllocProfiler, Bencher};
use router_core::Router;
use router_performance::{SIZES, endpoint, reads_a_field, requests, takes_the_event};
use tower::ServiceExt as _;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = SIZES)]
fn call_field(bencher: Bencher<'_, '_>, bytes: usize) {
    call(bencher, bytes, reads_a_field());
}

#[divan::bench(args = SIZES)]
fn call_event(bencher: Bencher<'_, '_>, bytes: usize) {
    call(bencher, bytes, takes_the_event());
}

fn call(bencher: Bencher<'_, '_>, bytes: usize, router: Router) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it starts");
    let endpoint = endpoint(router);
    bencher.with_inputs(requests(bytes)).bench_local_values(|request| {
        runtime.block_on(endpoint.clone().oneshot(request)).expect("it never fails")
    });
}
