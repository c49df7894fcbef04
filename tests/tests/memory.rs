//! Memory use does not grow with the number of events, beyond the limit of the completion store.
//! A program of its own, because it measures the memory of its process.
#![cfg(target_os = "linux")]

use std::fs;

use router_core::{
    Event, Object, Router, completions::InMemoryCompletions, event::AlreadyAuthenticated, on_event,
};
use tower::ServiceExt as _;

/// With the feature `long`, a million events.
const EVENTS: u32 = if cfg!(feature = "long") { 1_000_000 } else { 100_000 };

/// Limit of the completion store, in bytes: full after less than a tenth of the events.
const MAX_COMPLETION_BYTES: usize = EVENTS as usize * 8;

/// Limit of the rest of the program, in bytes.
const MAX_PROGRAM_BYTES: usize = 24 << 20;

/// Tolerated growth once the completion store is full, in bytes, because of allocator overhead.
const MAX_GROWTH_BYTES: usize = 4 << 20;

#[derive(serde::Deserialize)]
struct Invoice {
    id: String,
}

#[on_event("invoice.paid", exclusive)]
async fn paid(invoice: Object<Invoice>) {
    assert!(invoice.id.starts_with("in_"));
}

/// Returns the resident memory of the process in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux provides /proc/self/status");
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the status has VmRSS");
    let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().expect("VmRSS is in kB");
    kilobytes * 1024
}

#[tokio::test]
async fn memory_stays_constant_over_many_events() {
    let router = Router::builder()
        .only::<paid>()
        .completions(
            InMemoryCompletions::new().max_entries(usize::MAX).max_bytes(MAX_COMPLETION_BYTES),
        )
        .build()
        .unwrap();
    let run = async |numbers: std::ops::Range<u32>| {
        for number in numbers {
            let body = format!(
                r#"{{"source":"aws.partner/stripe.com/ed_1","detail-type":"invoice.paid","detail":{{"id":"evt_{number}","object":"event","type":"invoice.paid","created":1700000000,"data":{{"object":{{"id":"in_{number}","object":"invoice","amount_paid":2000}}}}}}}}"#
            );
            let event = Event::from_event_bridge(AlreadyAuthenticated::by_the_platform(body));
            let report = router.clone().oneshot(event.unwrap()).await.unwrap();
            assert!(report.handlers()[0].is_done());
        }
    };
    // The completion store is full after a tenth of the events.
    run(0..EVENTS / 10).await;
    let before = resident();
    run(EVENTS / 10..EVENTS).await;
    let after = resident();
    println!("{} KiB after a tenth, {} KiB after all", before / 1024, after / 1024);
    assert!(before < MAX_COMPLETION_BYTES + MAX_PROGRAM_BYTES, "{before} bytes");
    assert!(after < before + MAX_GROWTH_BYTES, "memory grew from {before} to {after} bytes");
}
