//! The limit on the heap allocations per event, which must not grow with the body.

use allocation_counter::{AllocationInfo, measure};
use router_core::Router;
use router_performance::{BODY_SIZES, endpoint, event_router, field_router, requests};
use tower::ServiceExt as _;

/// Returns the median allocations of an event, from a request whose body is in memory to its
/// response. The median excludes occasional allocations, such as a table that grows.
fn median_allocations(bytes: usize, router: Router) -> AllocationInfo {
    const EVENTS: usize = 101;
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("the runtime starts");
    let endpoint = endpoint(router);
    let mut infos: Vec<AllocationInfo> = std::iter::repeat_with(requests(bytes))
        .map(|request| {
            measure(|| {
                let response = runtime.block_on(endpoint.clone().oneshot(request));
                assert_eq!(response.expect("an endpoint never fails").status(), 200);
            })
        })
        .take(EVENTS)
        .collect();
    infos.sort_by_key(|info| (info.count_total, info.bytes_total));
    infos[EVENTS / 2]
}

/// The target is 8; docs/performance.md lists the 17 allocations.
#[test]
fn event_takes_at_most_17_allocations() {
    let (event, field) =
        (median_allocations(3072, event_router()), median_allocations(3072, field_router()));
    assert!(event.count_total <= 17, "{event:?}");
    assert!(field.count_total <= 17, "{field:?}");
}

#[test]
fn allocations_do_not_grow_with_the_body() {
    for router in [event_router, field_router] {
        let [small, large] = BODY_SIZES.map(|bytes| median_allocations(bytes, router()));
        assert_eq!(small.count_total, large.count_total);
        // The key of an event contains its type, which is shorter in the large body.
        let difference = small.bytes_total.abs_diff(large.bytes_total);
        assert!(difference < 64, "{small:?}, {large:?}");
    }
}
