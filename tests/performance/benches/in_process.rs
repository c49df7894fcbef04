//! Each stage of a request, and all of them, beside the MAC alone, which is the limit.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use divan::{Bencher, counter::BytesCount};
use hmac::{Hmac, KeyInit as _, Mac as _};
use router_core::{
    Endpoint, Event, Router, SigningSecret, event_type,
    signature::{Secrets, Tolerance, sign, verify},
    testing::ManualClock,
};
use router_performance::{SECRET, SIZES, event, reads_a_field, takes_the_event, with_id};
use sha2::Sha256;
use tower::{Service as _, ServiceExt as _};

const NOW: u64 = 1_700_000_000;
const FIRST: &str = "evt_000000000000";
/// The type of a small event.
const PAID: &str = event_type::payment_intent::SUCCEEDED;

fn main() {
    divan::main();
}

fn secret() -> SigningSecret {
    SigningSecret::new(SECRET).expect("it is a secret")
}

/// Bodies with ids of their own, and their signatures.
fn signed(bytes: usize) -> impl FnMut() -> (String, Bytes) {
    let body = event(FIRST, bytes).body().clone();
    let mut number = 0_u64;
    move || {
        number += 1;
        let body = with_id(&body, FIRST, &format!("evt_{number:012}"));
        (sign(&secret(), NOW, &body), body)
    }
}

#[divan::bench(args = SIZES)]
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
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    bencher.with_inputs(signed(bytes)).bench_local_values(|(header, body)| {
        verify(Some(header.as_bytes()), body, &secrets, Tolerance::default(), now)
    });
}

#[divan::bench(args = SIZES)]
fn envelope(bencher: Bencher<'_, '_>, bytes: usize) {
    let secrets = Secrets::from(secret());
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let mut signed = signed(bytes);
    let verified = move || {
        let (header, body) = signed();
        verify(Some(header.as_bytes()), body, &secrets, Tolerance::default(), now)
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
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(NOW));
    let endpoint = Endpoint::new(secret(), router).clock(clock);
    let mut signed = signed(bytes);
    let request = move || {
        let (header, body) = signed();
        let request = http::Request::post("/webhook").header("stripe-signature", header);
        request.body(http_body_util::Full::new(body)).expect("it is a request")
    };
    bencher.with_inputs(request).bench_local_values(|request| {
        let response = runtime.block_on(endpoint.clone().oneshot(request)).expect("it never fails");
        assert_eq!(response.status(), 200);
        response
    });
}

/// So many handlers of Stripe's event types, of which one is for the event.
fn crowd(handlers: usize) -> Router {
    let others = event_type::ALL.iter().filter(|event_type| **event_type != PAID).cycle();
    others
        .zip(1..handlers)
        .fold(Router::builder().unlinked(), |router, (event_type, number)| {
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
