//! The time of each stage of a request, of all stages, and of the MAC alone as the baseline.

use std::{
    future::Future as _,
    task::{Context, Poll, Waker},
};

use divan::{Bencher, counter::BytesCount};
use hmac::{Hmac, KeyInit as _, Mac as _};
use router_core::{
    Endpoint, Event, Router, event_type,
    signature::{Secrets, Tolerance, verify},
};
use router_performance::{
    BODY_SIZES, SECRET, TEMPLATE_ID, endpoint, event, event_router, field_router, now, requests,
    secret, signed_bodies,
};
use serde::de::IgnoredAny;
use sha2::Sha256;
use tower::{Service as _, ServiceExt as _};

/// The event type of the small event.
const PAID: &str = event_type::payment_intent::SUCCEEDED;

fn main() {
    divan::main();
}

#[divan::bench(args = BODY_SIZES, threads = [1, 2])]
fn mac_only(bencher: Bencher<'_, '_>, bytes: usize) {
    let key =
        Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("HMAC takes a key of any length");
    let body = event(TEMPLATE_ID, bytes).body().clone();
    bencher.counter(BytesCount::new(body.len())).bench(|| {
        let mut mac = key.clone();
        mac.update(b"1700000000");
        mac.update(b".");
        mac.update(&body);
        mac.finalize()
    });
}

#[divan::bench(args = BODY_SIZES)]
fn signature(bencher: Bencher<'_, '_>, bytes: usize) {
    let secrets = Secrets::from(secret());
    bencher.with_inputs(signed_bodies(bytes)).bench_local_values(|(header, body)| {
        verify(Some(header.as_bytes()), body, &secrets, Tolerance::default(), now())
    });
}

#[divan::bench(args = BODY_SIZES)]
fn envelope(bencher: Bencher<'_, '_>, bytes: usize) {
    let secrets = Secrets::from(secret());
    let mut next_body = signed_bodies(bytes);
    let verified = move || {
        let (header, body) = next_body();
        verify(Some(header.as_bytes()), body, &secrets, Tolerance::default(), now())
            .expect("the signature matches")
    };
    bencher.with_inputs(verified).bench_local_values(Event::parse);
}

#[divan::bench(args = BODY_SIZES)]
fn call_field(bencher: Bencher<'_, '_>, bytes: usize) {
    call(bencher, bytes, field_router());
}

#[divan::bench(args = BODY_SIZES)]
fn call_event(bencher: Bencher<'_, '_>, bytes: usize) {
    call(bencher, bytes, event_router());
}

/// Measures all stages, from a request whose body is in memory to its response.
fn call(bencher: Bencher<'_, '_>, bytes: usize, router: Router) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("the runtime starts");
    let endpoint = endpoint(router);
    bencher.with_inputs(requests(bytes)).bench_local_values(|request| {
        let response =
            runtime.block_on(endpoint.clone().oneshot(request)).expect("an endpoint never fails");
        assert_eq!(response.status(), 200);
        response
    });
}

/// Measures all stages on one thread and on two concurrent threads, each with its own events.
/// Contention makes two threads slower.
#[divan::bench(threads = [1, 2], sample_size = 50)]
fn concurrent_calls(bencher: Bencher<'_, '_>) {
    let endpoint =
        Endpoint::new(secret(), event_router()).tolerance(Tolerance::without_age_check());
    let next = std::sync::Mutex::new(requests(BODY_SIZES[0]));
    let request = || (next.lock().expect("no thread panics with the lock held"))();
    bencher.with_inputs(request).bench_values(|request| {
        // The call is ready at the first poll, so no runtime is needed.
        let call = std::pin::pin!(endpoint.clone().oneshot(request));
        let Poll::Ready(response) = call.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("the call is not ready at the first poll");
        };
        response.expect("an endpoint never fails")
    });
}

/// Measures work that shares no memory, on one thread and on two concurrent threads. If it is
/// slower on two threads, the machine does not have two full cores, and the result of
/// `concurrent_calls` does not show contention.
#[divan::bench(threads = [1, 2], sample_size = 50)]
fn concurrent_unshared_work(bencher: Bencher<'_, '_>) {
    let body = event(TEMPLATE_ID, BODY_SIZES[0]).body().clone();
    bencher.bench(|| serde_json::from_slice::<IgnoredAny>(&body).is_ok());
}

/// Returns a router with this number of handlers, of which one is for the small event.
fn router_with(handlers: usize) -> Router {
    let others = event_type::ALL.iter().filter(|event_type| **event_type != PAID).cycle();
    others
        .zip(1..handlers)
        .fold(Router::builder().without_linked(), |router, (event_type, number)| {
            router.handler(format!("h{number}"), [*event_type], async |_: Event| {})
        })
        .handler("paid", [PAID], async |_: Event| {})
        .build()
        .expect("the router is valid")
}

#[divan::bench(args = [10, 10_000])]
fn dispatch(bencher: Bencher<'_, '_>, handlers: usize) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("the runtime starts");
    let router = router_with(handlers);
    let mut number = 0;
    let events = move || {
        number += 1;
        event(&format!("evt_{number:012}"), 1).event().clone() // the smallest payment
    };
    bencher.with_inputs(events).bench_local_values(|event| {
        let mut router = router.clone();
        runtime.block_on(async { router.ready().await?.call(event).await })
    });
}

#[divan::bench(args = [10, 10_000], sample_count = 20)]
fn build(bencher: Bencher<'_, '_>, handlers: usize) {
    bencher.bench(|| router_with(handlers));
}
