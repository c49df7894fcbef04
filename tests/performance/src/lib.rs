//! What the benchmarks and the servers share: events of a size, and the one handler.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use router_core::{
    Endpoint, Event, Object, Router, SigningSecret, on_event,
    testing::{ManualClock, Payload, SyntheticEvent},
};
use serde::Deserialize;

/// The text of [`secret`].
pub const SECRET: &str = "whsec_of_the_benchmarks";

/// The id of the event of which others are made.
pub const FIRST: &str = "evt_000000000000";

/// The sizes of bodies that are looked at, in bytes: a payment, and an invoice of many lines.
pub const SIZES: [usize; 2] = [3 * 1024, 30 * 1024];

/// An event of about this size, with this id, laid out as Stripe does: a payment whose metadata fills it up,
/// or an invoice with lines enough.
///
/// # Panics
///
/// Never: the fields are there.
#[must_use]
pub fn event(id: &str, bytes: usize) -> Payload {
    let is_payment = bytes < 8 * 1024;
    let of = |more: usize| {
        let event_type = if is_payment { "payment_intent.succeeded" } else { "invoice.paid" };
        (0..more)
            .fold(SyntheticEvent::new(event_type).id(id), |event, number| match is_payment {
                true => event.set(format!("metadata.order_{number}"), "6735-0815"),
                false => event.set(format!("lines.data[{number}].quantity"), number),
            })
            .build()
            .expect("the fields are there")
    };
    let size = |more: usize| of(more).body().len();
    let each = size(3) - size(2);
    of(2 + bytes.saturating_sub(size(2)) / each)
}

/// The field of an object that the handler reads.
#[derive(Debug, Deserialize)]
pub struct Made {
    /// In seconds since the Unix epoch.
    pub created: i64,
}

/// Reads one field of the object.
#[on_event("payment_intent.succeeded", "invoice.paid")]
pub async fn field(object: Object<Made>) {
    std::hint::black_box(object.created);
}

/// Takes the event as it is.
#[on_event("payment_intent.succeeded", "invoice.paid")]
pub async fn whole(event: Event) {
    std::hint::black_box(event.id().len());
}

/// Never ends, for whoever looks at events that are being handled.
#[on_event("payment_intent.succeeded", "invoice.paid")]
pub async fn waits(_: Event) {
    std::future::pending::<()>().await;
}

/// A router with one handler that never ends.
///
/// # Panics
///
/// Never: it is correct.
#[must_use]
pub fn waits_for_ever() -> Router {
    Router::builder().only::<waits>().build().expect("it is correct")
}

/// A router with one handler that reads one field of the object.
///
/// # Panics
///
/// Never: it is correct.
#[must_use]
pub fn reads_a_field() -> Router {
    Router::builder().only::<field>().build().expect("it is correct")
}

/// A router with one handler that takes the event as it is.
///
/// # Panics
///
/// Never: it is correct.
#[must_use]
pub fn takes_the_event() -> Router {
    Router::builder().only::<whole>().build().expect("it is correct")
}

/// The secret of all of them.
///
/// # Panics
///
/// Never: it is one.
#[must_use]
pub fn secret() -> SigningSecret {
    SigningSecret::new(SECRET).expect("it is a secret")
}

/// The time at which events are made, signed and received in process.
#[must_use]
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// An endpoint before a router, at that time.
#[must_use]
pub fn endpoint(router: Router) -> Endpoint<Router> {
    Endpoint::new(secret(), router).clock(ManualClock::at(now()))
}

/// Signatures and bodies of about this size, each of another event.
pub fn signed(bytes: usize) -> impl FnMut() -> (String, Bytes) {
    let first = event(FIRST, bytes);
    let mut number = 0_u64;
    move || {
        number += 1;
        let body = with_id(first.body(), FIRST, &format!("evt_{number:012}"));
        let seconds = now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        (router_core::signature::sign(&secret(), seconds, &body), body)
    }
}

/// Requests with such bodies, each of another event.
///
/// # Panics
///
/// Never: they are requests.
pub fn requests(bytes: usize) -> impl FnMut() -> Request<Full<Bytes>> {
    let mut signed = signed(bytes);
    move || {
        let (signature, body) = signed();
        let request = Request::post("/webhook").header("stripe-signature", signature);
        request.body(Full::new(body)).expect("it is a request")
    }
}

/// The same body with another id of the same length.
#[must_use]
pub fn with_id(body: &Bytes, from: &str, to: &str) -> Bytes {
    let at = body.windows(from.len()).position(|part| part == from.as_bytes()).unwrap_or_default();
    [&body[..at], to.as_bytes(), &body[at + from.len()..]].concat().into()
}

/// Where a server listens: `PORT`, or any that is free.
#[must_use]
pub fn port() -> u16 {
    std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or_default()
}

/// A runtime of so many threads as `THREADS` says: one by default.
///
/// # Errors
///
/// What the operating system says.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let threads =
        std::env::var("THREADS").ok().and_then(|threads| threads.parse().ok()).unwrap_or(1);
    match threads {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        threads => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
        }
    }
}
