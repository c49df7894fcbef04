//! A request for each reason to refuse one.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, request::Parts};
use http_body::{Body, Frame};
use http_body_util::Full;
use router_core::{
    Answer, BoxError, Endpoint, Event, Router, SecretProvider, Secrets, Tolerance, signature::sign,
    testing::ManualClock,
};
use router_tests::{NOW, now, secret};
use tower::service_fn;

use crate::{
    endpoint,
    exchange::{post, send},
    handlers,
};

/// Every reason.
pub(crate) const REASONS: [&str; 15] = [
    "api_version",
    "body_read",
    "body_timeout",
    "envelope",
    "method_not_allowed",
    "secrets_unavailable",
    "signature_ahead",
    "signature_malformed",
    "signature_mismatch",
    "signature_missing",
    "signature_too_old",
    "timed_out",
    "too_large",
    "unavailable",
    "unknown_endpoint",
];

/// A body that breaks, with the error, or never comes.
pub(crate) struct Unread(pub(crate) Option<BoxError>);

impl Body for Unread {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.take().map_or(Poll::Pending, |error| Poll::Ready(Some(Err(error))))
    }
}

/// A provider that knows no address, or fails with this.
struct Down(Option<&'static str>);

impl SecretProvider for Down {
    async fn secrets(&self, _: &Parts) -> Result<Option<Secrets>, BoxError> {
        self.0.map_or(Ok(None), |error| Err(error.into()))
    }
}

/// Has this event refused once for each of the reasons.
pub(crate) async fn refuse(body: &str) {
    let of_all = endpoint(handlers());
    for request in unproven(body) {
        assert_eq!(send(of_all.clone(), request).await.status(), 400);
    }
    let strict = of_all.clone().tolerance(Tolerance::default().max_ahead(Duration::ZERO));
    assert_eq!(send(strict, signed_at(NOW + 5, body)).await.status(), 400);

    let mut brew = post(body.to_owned());
    *brew.method_mut() = Method::from_bytes(b"BREW").expect("it is a method");
    assert_eq!(send(of_all.clone(), brew).await.status(), 405);
    assert_eq!(send(of_all.clone(), post(" ".repeat(2 << 20))).await.status(), 413);
    assert_eq!(send(of_all.clone(), post(body[1..].to_owned())).await.status(), 400);
    let broken = post("").map(|_| Unread(Some("connection reset".into())));
    assert_eq!(send(of_all.clone(), broken).await.status(), 400);
    let other = of_all.clone().require_api_version("2026-10-28.endive");
    let versioned = body.replacen('{', r#"{"api_version":"2024-06-20","#, 1);
    assert_eq!(send(other, post(versioned)).await.status(), 400);

    let providers = [(Down(None), 404), (Down(Some("the vault is sealed")), 503)];
    for (provider, status) in providers {
        let endpoint = Endpoint::with_provider(provider, router()).clock(ManualClock::at(now()));
        assert_eq!(send(endpoint, post(body.to_owned())).await.status(), status);
    }
    let down = service_fn(async |_: Event| Err::<Answer, BoxError>("disk full".into()));
    let down = Endpoint::new(secret(), down).clock(ManualClock::at(now()));
    assert_eq!(send(down, post(body.to_owned())).await.status(), 503);

    let clock = ManualClock::at(now());
    let stalled = send(of_all.clock(clock.clone()), post("").map(|_| Unread(None)));
    assert_eq!(while_time_passes(&clock, stalled).await.status(), 408);
    let clock = ManualClock::at(now());
    let hangs = service_fn(|_: Event| std::future::pending::<Result<Answer, BoxError>>());
    let hangs = Endpoint::new(secret(), hangs).clock(clock.clone());
    let timed_out = send(hangs, post(body.to_owned()));
    assert_eq!(while_time_passes(&clock, timed_out).await.status(), 503);
}

/// A request that was signed at this time.
pub(crate) fn signed_at(seconds: u64, body: &str) -> Request<Full<Bytes>> {
    signed(sign(&secret(), seconds, body.as_bytes()), body)
}

/// Requests that are not proven to be Stripe's: one for each reason.
fn unproven(body: &str) -> [Request<Full<Bytes>>; 4] {
    let mut missing = post(body.to_owned());
    missing.headers_mut().remove("stripe-signature");
    let changed = body.replacen('{', "{ ", 1);
    let mismatch = signed(sign(&secret(), NOW, changed.as_bytes()), body);
    [missing, signed("t=noon,v1=text".into(), body), mismatch, signed_at(NOW - 301, body)]
}

fn signed(header: String, body: &str) -> Request<Full<Bytes>> {
    let request = Request::post("/webhook").header("stripe-signature", header);
    request.body(Full::from(body.to_owned())).expect("it is a request")
}

fn router() -> Router {
    handlers().build().expect("it is correct")
}

async fn while_time_passes<T>(clock: &ManualClock, request: impl Future<Output = T>) -> T {
    let time_passes = async {
        clock.wait_for_sleeper().await;
        clock.advance(Duration::from_secs(60));
    };
    tokio::join!(request, time_passes).0
}
