//! A million events leave nothing behind but what the memory of finished handlers may keep.
#![cfg(target_os = "linux")]

use std::fs;

use router_core::{
    Event, InMemoryCompletions, Object, Router, event::AlreadyAuthenticated, on_event,
};
use tower::ServiceExt as _;

const EVENTS: u32 = 1_000_000;

/// What the memory may take, what the rest of the program may, and how much more at the end: the
/// allocator wastes a little.
const MEMORY: usize = 8 << 20;
const PROGRAM: usize = 24 << 20;
const SLACK: usize = 4 << 20;

#[derive(serde::Deserialize)]
struct Invoice {
    id: String,
}

#[on_event("invoice.paid", exclusive)]
async fn paid(invoice: Object<Invoice>) {
    assert!(invoice.id.starts_with("in_"));
}

/// What the process takes in memory now, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
    let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().expect("it is a number");
    kilobytes * 1024
}

#[tokio::test]
async fn memory_stays_flat_over_a_million_events() {
    let router = Router::builder()
        .only::<paid>()
        .completions(InMemoryCompletions::new().max_entries(usize::MAX).max_bytes(MEMORY))
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
    // The memory is full from here on.
    run(0..EVENTS / 10).await;
    let before = resident();
    run(EVENTS / 10..EVENTS).await;
    let after = resident();
    println!("{} KiB after a tenth, {} KiB after all", before / 1024, after / 1024);
    assert!(before < MEMORY + PROGRAM, "{before}");
    assert!(after < before + SLACK, "{before} bytes have become {after}");
}
