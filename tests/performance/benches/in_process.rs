//! Each stage of a request, and all of them, beside the MAC alone, which is the limit.

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
    FIRST, SECRET, SIZES, endpoint, event, now, reads_a_field, requests, secret, signed,
    takes_the_event,
};
use serde::de::IgnoredAny;
use sha2::Sha256;
use tower::{Service as _, ServiceExt as _};

/// The type of a small event.
const PAID: &str = event_type::payment_intent::SUCCEEDED;

fn main() {
    divan::main();
}

#[divan::bench(args = SIZES, threads = [1, 2])]
fn mac_alone(bencher: Bencher<'_, '_>, bytes: usize) {
    let key = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("it takes any key");
    let body = event(FIRST, bytes).body().clone();
    bencher.counter(BytesCount::new(body.len())).bench(|| {
        let mut mac = key.clone();
        mac.update(b"1700000000");
        mac.update(b".");
        mac.update(&body);
        mac.finalize()
    });
}

#[divan::bench(args = SIZES)]
fn signature(bencher: Bencher<'_, '_>, bytes: usize) {
    let secrets = Secrets::from(secret());
    bencher.with_inputs(signed(bytes)).bench_local_values(|(header, body)| {
        verify(Some(header.as_bytes()), body, &secrets, Tolerance::default(), now())
    });
}

#[divan::bench(args = SIZES)]
fn envelope(bencher: Bencher<'_, '_>, bytes: usize) {
    let secrets = Secrets::from(secret());
    let mut signed = signed(bytes);
    let verified = move || {
        let (header, body) = signed();
        verify(Some(header.as_bytes()), body, &secrets, Tolerance::default(), now())
            .expect("it is signed")
    };
    bencher.with_inputs(verified).bench_local_values(Event::parse);
}

#[divan::bench(args = SIZES)]
fn call_field(bencher: Bencher<'_, '_>, bytes: usize) {
    call(bencher, bytes, reads_a_field());
}

#[divan::bench(args = SIZES)]
fn call_event(bencher: Bencher<'_, '_>, bytes: usize) {
    call(bencher, bytes, takes_the_event());
}

/// All of it: a request whose body is there already, and its response.
fn call(bencher: Bencher<'_, '_>, bytes: usize, router: Router) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it starts");
    let endpoint = endpoint(router);
    bencher.with_inputs(requests(bytes)).bench_local_values(|request| {
        let response = runtime.block_on(endpoint.clone().oneshot(request)).expect("it never fails");
        assert_eq!(response.status(), 200);
        response
    });
}

/// The same on one thread and on two at once, each with events of its own: what both wait for makes each slower.
#[divan::bench(threads = [1, 2], sample_size = 50)]
fn call_at_once(bencher: Bencher<'_, '_>) {
    let endpoint =
        Endpoint::new(secret(), takes_the_event()).tolerance(Tolerance::without_age_check());
    let next = std::sync::Mutex::new(requests(SIZES[0]));
    let request = || (next.lock().expect("nobody panics"))();
    bencher.with_inputs(request).bench_values(|request| {
        // Nothing waits, so no runtime is needed.
        let call = std::pin::pin!(endpoint.clone().oneshot(request));
        let Poll::Ready(response) = call.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("the handler is ready at once");
        };
        response.expect("it never fails")
    });
}

/// What shares nothing, on one thread and on two at once: where it is slower on two, the machine's cores are
/// not two, and neither can the call above be judged.
#[divan::bench(threads = [1, 2], sample_size = 50)]
fn nothing_shared_at_once(bencher: Bencher<'_, '_>) {
    let body = event(FIRST, SIZES[0]).body().clone();
    bencher.bench(|| serde_json::from_slice::<IgnoredAny>(&body).is_ok());
}

/// So many handlers of Stripe's event types, of which one is for the event.
fn crowd(handlers: usize) -> Router {
    let others = event_type::ALL.iter().filter(|event_type| **event_type != PAID).cycle();
    others
        .zip(1..handlers)
        .fold(Router::builder().without_linked(), |router, (event_type, number)| {
            router.handler(format!("h{number}"), [*event_type], async |_: Event| {})
        })
        .handler("one", [PAID], async |_: Event| {})
        .build()
        .expect("it is correct")
}

#[divan::bench(args = [10, 10_000])]
fn dispatch_among(bencher: Bencher<'_, '_>, handlers: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it starts");
    let router = crowd(handlers);
    let mut number = 0;
    let events = move || {
        number += 1;
        event(&format!("evt_{number:012}"), 1).event().clone() // A payment.
    };
    bencher.with_inputs(events).bench_local_values(|event| {
        let mut router = router.clone();
        runtime.block_on(async { router.ready().await?.call(event).await })
    });
}

#[divan::bench(args = [10, 10_000], sample_count = 20)]
fn build(bencher: Bencher<'_, '_>, handlers: usize) {
    bencher.bench(|| crowd(handlers));
}
