//! An event makes the heap allocate a few times, however large it is.

use allocation_counter::{AllocationInfo, measure};
use router_core::Router;
use router_performance::{SIZES, endpoint, reads_a_field, requests, takes_the_event};
use tower::ServiceExt as _;

/// What one event allocates, from a request that is there to its response. Of many, so that it does not
/// count what is now and then: a table that grows.
fn of_one_event(bytes: usize, router: Router) -> AllocationInfo {
    const EVENTS: usize = 101;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it starts");
    let endpoint = endpoint(router);
    let mut each: Vec<AllocationInfo> = std::iter::repeat_with(requests(bytes))
        .map(|request| {
            measure(|| {
                let response = runtime.block_on(endpoint.clone().oneshot(request));
                assert_eq!(response.expect("it never fails").status(), 200);
            })
        })
        .take(EVENTS)
        .collect();
    each.sort_by_key(|info| (info.count_total, info.bytes_total));
    each[EVENTS / 2]
}

/// Eight is what we want to reach; docs/performance.md says what each of these is.
#[test]
fn an_event_is_handled_with_few_allocations() {
    let (event, field) =
        (of_one_event(3072, takes_the_event()), of_one_event(3072, reads_a_field()));
    assert!(event.count_total <= 17, "{event:?}");
    assert!(field.count_total <= 17, "{field:?}");
}

#[test]
fn nothing_that_is_allocated_grows_with_the_body() {
    for router in [takes_the_event, reads_a_field] {
        let [small, large] = SIZES.map(|bytes| of_one_event(bytes, router()));
        assert_eq!((small.count_total, small.bytes_total), (large.count_total, large.bytes_total));
    }
}
