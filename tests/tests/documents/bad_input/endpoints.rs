//! The endpoints that receive the requests, and their handlers.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, request::Parts};
use http_body_util::Full;
use router_core::{
    BoxError, Endpoint, Event, Object, Router, Secrets,
    endpoint::{Answer, Response, SecretProvider},
    on_event,
    signature::Tolerance,
    testing::ManualClock,
};
use router_tests::{SECRET, now, secret};
use tower::{service_fn, util::BoxService};

/// A type-erased endpoint.
pub(crate) type BoxEndpoint = BoxService<Request<Full<Bytes>>, Response, Infallible>;

/// The number of calls of [`paid`].
pub(crate) static CALLS: AtomicUsize = AtomicUsize::new(0);

#[derive(serde::Deserialize)]
struct Invoice {
    #[expect(dead_code, reason = "the field only has to be present")]
    amount: i64,
}

#[on_event("invoice.paid")]
async fn paid(_: Object<Invoice>) {
    CALLS.fetch_add(1, Ordering::Relaxed);
}

#[derive(serde::Deserialize)]
struct Lines {
    #[serde(default)]
    lines: Vec<String>,
}

#[on_event("invoice.voided")]
async fn first_line(invoice: Object<Lines>) {
    drop(invoice.lines[0].clone());
}

#[on_event("charge.failed", endpoint = "connect")]
async fn connect_only(_: Event) {}

#[on_event("charge.refunded", livemode = true)]
async fn live_mode_only(_: Event) {}

#[on_event("v2.core.account.updated")]
async fn account(_: Event) {}

/// Creates an endpoint with the default settings.
pub(crate) fn shop() -> Endpoint<Router> {
    Endpoint::new(secret(), router()).clock(ManualClock::at(now()))
}

fn router() -> Router {
    let router = Router::builder().only::<paid>().only::<first_line>().only::<connect_only>();
    let router = router.only::<live_mode_only>().only::<account>().build();
    router.expect("the handlers are valid")
}

/// Creates an endpoint with no memory for bodies that do not arrive at once.
pub(crate) fn without_body_budget() -> Endpoint<Router> {
    shop().body_budget(0)
}

pub(crate) fn default() -> BoxEndpoint {
    BoxService::new(shop())
}

pub(crate) fn limits_clock_skew() -> BoxEndpoint {
    BoxService::new(shop().tolerance(Tolerance::default().max_ahead(Duration::from_secs(60))))
}

pub(crate) fn expects_endive() -> BoxEndpoint {
    BoxService::new(shop().expect_api_version("2026-10-28.endive"))
}

pub(crate) fn requires_endive() -> BoxEndpoint {
    BoxService::new(shop().require_api_version("2026-10-28.endive"))
}

/// A provider that has secrets for `/webhook` only, and fails for `/broken`.
struct Tenants;

impl SecretProvider for Tenants {
    async fn secrets(&self, request: &Parts) -> Result<Option<Secrets>, BoxError> {
        match request.uri.path() {
            "/empty" => Ok(Some(Secrets::from_iter([]))),
            "/broken" => Err("the database is down".into()),
            "/webhook" => Ok(Some(Secrets::parse(SECRET)?)),
            _ => Ok(None),
        }
    }
}

pub(crate) fn multi_tenant() -> BoxEndpoint {
    BoxService::new(Endpoint::with_provider(Tenants, router()).clock(ManualClock::at(now())))
}

pub(crate) fn overloaded() -> BoxEndpoint {
    let inner = service_fn(async |_: Event| Err::<Answer, BoxError>("no permit is free".into()));
    BoxService::new(Endpoint::new(secret(), inner).clock(ManualClock::at(now())))
}
