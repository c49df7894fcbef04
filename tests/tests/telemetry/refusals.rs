//! A request for each refusal reason.

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
    BoxError, Endpoint, Event, Router, Secrets,
    endpoint::{Answer, SecretProvider},
    signature::{Tolerance, sign},
    testing::ManualClock,
};
use router_tests::{
    NOW,
    exchange::{post, send},
    now, secret,
};
use tower::service_fn;

use crate::{endpoint, handlers};

/// All refusal reasons.
pub(crate) const REASONS: [&str; 16] = [
    "api_version",
    "body_budget",
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

/// A body whose first frame or error arrives, and nothing after it.
pub(crate) struct StalledBody(pub(crate) Option<Result<Bytes, BoxError>>);

impl Body for StalledBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.take().map_or(Poll::Pending, |first| Poll::Ready(Some(first.map(Frame::data))))
    }
}

/// A provider that fails with this error; without one, it knows no endpoint.
struct FailingProvider(Option<&'static str>);

impl SecretProvider for FailingProvider {
    async fn secrets(&self, _: &Parts) -> Result<Option<Secrets>, BoxError> {
        self.0.map_or(Ok(None), |error| Err(error.into()))
    }
}

/// Sends a request for each refusal reason, with this payload where the reason allows it.
pub(crate) async fn refuse_for_every_reason(body: &str) {
    let default_endpoint = endpoint(handlers());
    for request in bad_signatures(body) {
        assert_eq!(send(default_endpoint.clone(), request).await.status(), 400);
    }
    let strict = default_endpoint.clone().tolerance(Tolerance::default().max_ahead(Duration::ZERO));
    assert_eq!(send(strict, signed_at(NOW + 5, body)).await.status(), 400);

    let mut unknown_method = post(body.to_owned());
    *unknown_method.method_mut() = Method::from_bytes(b"BREW").expect("BREW is a valid token");
    assert_eq!(send(default_endpoint.clone(), unknown_method).await.status(), 405);
    assert_eq!(send(default_endpoint.clone(), post(" ".repeat(2 << 20))).await.status(), 413);
    assert_eq!(send(default_endpoint.clone(), post(body[1..].to_owned())).await.status(), 400);
    let broken = post("").map(|_| StalledBody(Some(Err("connection reset".into()))));
    assert_eq!(send(default_endpoint.clone(), broken).await.status(), 400);
    let unfinished = post("").map(|_| StalledBody(Some(Ok("{".into()))));
    assert_eq!(send(default_endpoint.clone().body_budget(0), unfinished).await.status(), 503);
    let versioned_endpoint = default_endpoint.clone().require_api_version("2026-10-28.endive");
    let versioned = body.replacen('{', r#"{"api_version":"2024-06-20","#, 1);
    assert_eq!(send(versioned_endpoint, post(versioned)).await.status(), 400);

    let providers =
        [(FailingProvider(None), 404), (FailingProvider(Some("the vault is sealed")), 503)];
    for (provider, status) in providers {
        let endpoint = Endpoint::with_provider(provider, router()).clock(ManualClock::at(now()));
        assert_eq!(send(endpoint, post(body.to_owned())).await.status(), status);
    }
    let failing = service_fn(async |_: Event| Err::<Answer, BoxError>("disk full".into()));
    let failing = Endpoint::new(secret(), failing).clock(ManualClock::at(now()));
    assert_eq!(send(failing, post(body.to_owned())).await.status(), 503);

    let clock = ManualClock::at(now());
    let stalled = send(default_endpoint.clock(clock.clone()), post("").map(|_| StalledBody(None)));
    assert_eq!(while_time_passes(&clock, stalled).await.status(), 408);
    let clock = ManualClock::at(now());
    let hanging = service_fn(|_: Event| std::future::pending::<Result<Answer, BoxError>>());
    let hanging = Endpoint::new(secret(), hanging).clock(clock.clone());
    let timed_out = send(hanging, post(body.to_owned()));
    assert_eq!(while_time_passes(&clock, timed_out).await.status(), 503);
}

/// Returns a request signed at this time.
pub(crate) fn signed_at(seconds: u64, body: &str) -> Request<Full<Bytes>> {
    signed(sign(&secret(), seconds, body.as_bytes()), body)
}

/// Returns a request for each reason that the default endpoint finds in a signature.
fn bad_signatures(body: &str) -> [Request<Full<Bytes>>; 4] {
    let mut missing = post(body.to_owned());
    missing.headers_mut().remove("stripe-signature");
    let changed = body.replacen('{', "{ ", 1);
    let mismatch = signed(sign(&secret(), NOW, changed.as_bytes()), body);
    [missing, signed("t=noon,v1=text".into(), body), mismatch, signed_at(NOW - 301, body)]
}

fn signed(header: String, body: &str) -> Request<Full<Bytes>> {
    let request = Request::post("/webhook").header("stripe-signature", header);
    request.body(Full::from(body.to_owned())).expect("request parts are valid")
}

fn router() -> Router {
    handlers().build().expect("router is valid")
}

/// Advances the clock by 60 s once the request sleeps on it.
async fn while_time_passes<T>(clock: &ManualClock, request: impl Future<Output = T>) -> T {
    let time_passes = async {
        clock.wait_for_sleeper().await;
        clock.advance(Duration::from_secs(60));
    };
    tokio::join!(request, time_passes).0
}
