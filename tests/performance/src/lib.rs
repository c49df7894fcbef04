//! Events of a given size, handlers, routers and settings that the benchmarks and servers share.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use router_core::{
    Endpoint, Event, Object, Router, SigningSecret, on_event,
    testing::{ManualClock, Payload, SyntheticEvent},
};
use serde::Deserialize;

/// The text of [`secret`].
pub const SECRET: &str = "whsec_of_the_benchmarks";

/// The id of an event that is a template for others; see [`replace_id`].
pub const TEMPLATE_ID: &str = "evt_000000000000";

/// The sizes of the measured bodies in bytes: a payment, and an invoice with many lines.
pub const BODY_SIZES: [usize; 2] = [3 * 1024, 30 * 1024];

/// Returns an event of about `bytes` bytes in Stripe's layout: a payment with enough metadata if it
/// is under 8 KiB, otherwise an invoice with enough lines.
///
/// # Panics
///
/// Never: the sample events have these fields.
#[must_use]
pub fn event(id: &str, bytes: usize) -> Payload {
    let is_payment = bytes < 8 * 1024;
    let event_with = |entries: usize| {
        let event_type = if is_payment { "payment_intent.succeeded" } else { "invoice.paid" };
        (0..entries)
            .fold(SyntheticEvent::new(event_type).id(id), |event, number| match is_payment {
                true => event.set(format!("metadata.order_{number}"), "6735-0815"),
                false => event.set(format!("lines.data[{number}].quantity"), number),
            })
            .build()
            .expect("the sample events have these fields")
    };
    let size = |entries: usize| event_with(entries).body().len();
    let entry_size = size(3) - size(2);
    event_with(2 + bytes.saturating_sub(size(2)) / entry_size)
}

/// The one field of an object that the handler decodes.
#[derive(Debug, Deserialize)]
pub struct Created {
    /// The creation time in seconds since the Unix epoch.
    pub created: i64,
}

/// Decodes one field of the object.
#[on_event("payment_intent.succeeded", "invoice.paid")]
pub async fn field(object: Object<Created>) {
    std::hint::black_box(object.created);
}

/// Takes the event without decoding the object.
#[on_event("payment_intent.succeeded", "invoice.paid")]
pub async fn whole(event: Event) {
    std::hint::black_box(event.id().len());
}

/// Never finishes, to measure events in flight.
#[on_event("payment_intent.succeeded", "invoice.paid")]
pub async fn pending(_: Event) {
    std::future::pending::<()>().await;
}

/// Returns a router with one handler that never finishes.
///
/// # Panics
///
/// Never: the router is valid.
#[must_use]
pub fn pending_router() -> Router {
    Router::builder().only::<pending>().build().expect("the router is valid")
}

/// Returns a router with one handler that decodes one field of the object.
///
/// # Panics
///
/// Never: the router is valid.
#[must_use]
pub fn field_router() -> Router {
    Router::builder().only::<field>().build().expect("the router is valid")
}

/// Returns a router with one handler that takes the event without decoding the object.
///
/// # Panics
///
/// Never: the router is valid.
#[must_use]
pub fn event_router() -> Router {
    Router::builder().only::<whole>().build().expect("the router is valid")
}

/// Returns the signing secret of all benchmarks.
///
/// # Panics
///
/// Never: the secret is valid.
#[must_use]
pub fn secret() -> SigningSecret {
    SigningSecret::new(SECRET).expect("the secret is valid")
}

/// Returns the time at which events are created, signed and received in process.
#[must_use]
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// Returns an endpoint for `router` whose clock always shows [`now`].
#[must_use]
pub fn endpoint(router: Router) -> Endpoint<Router> {
    Endpoint::new(secret(), router).clock(ManualClock::at(now()))
}

/// Returns a function that creates a signed body of about `bytes` bytes, of a new event in each
/// call. It returns the `Stripe-Signature` header and the body.
pub fn signed_bodies(bytes: usize) -> impl FnMut() -> (String, Bytes) {
    let template = event(TEMPLATE_ID, bytes);
    let mut number = 0_u64;
    move || {
        number += 1;
        let body = replace_id(template.body(), TEMPLATE_ID, &format!("evt_{number:012}"));
        let seconds = now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        (router_core::signature::sign(&secret(), seconds, &body), body)
    }
}

/// Returns a function that creates a signed request with a body of about `bytes` bytes, of a new
/// event in each call.
///
/// # Panics
///
/// Never: the requests are valid.
pub fn requests(bytes: usize) -> impl FnMut() -> Request<Full<Bytes>> {
    let mut next_body = signed_bodies(bytes);
    move || {
        let (signature, body) = next_body();
        // A copy of the URI does not allocate, as in hyper, where it is a part of a shared buffer.
        let uri = Uri::from_static("/webhook");
        let request = Request::post(uri).header("stripe-signature", signature);
        request.body(Full::new(body)).expect("the request is valid")
    }
}

/// Returns a copy of `body` in which the first occurrence of the id `from` is replaced by `to`. The
/// ids have the same length, so the size does not change.
#[must_use]
pub fn replace_id(body: &Bytes, from: &str, to: &str) -> Bytes {
    let start =
        body.windows(from.len()).position(|part| part == from.as_bytes()).unwrap_or_default();
    [&body[..start], to.as_bytes(), &body[start + from.len()..]].concat().into()
}

/// Returns the port on which a server listens: `PORT`, or 0 for any free port.
#[must_use]
pub fn port() -> u16 {
    std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or_default()
}

/// Returns a runtime with `THREADS` threads, one by default.
///
/// # Errors
///
/// Fails if the operating system cannot start the runtime.
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
