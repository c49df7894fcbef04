//! What the requests are sent to: a shop, and endpoints that are set up in another way.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, request::Parts};
use http_body_util::Full;
use router_core::{
    Answer, BoxError, Endpoint, Event, Object, Response, Router, SecretProvider, Secrets,
    Tolerance, on_event, testing::ManualClock,
};
use router_tests::{SECRET, now, secret};
use tower::{service_fn, util::BoxService};

/// An endpoint of whatever type.
pub(crate) type Mounted = BoxService<Request<Full<Bytes>>, Response, Infallible>;

/// How often [`paid`] was called.
pub(crate) static CALLS: AtomicUsize = AtomicUsize::new(0);

#[derive(serde::Deserialize)]
struct Invoice {
    #[expect(dead_code, reason = "that it must be there is enough")]
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
async fn of_connected_accounts(_: Event) {}

#[on_event("charge.refunded", livemode = true)]
async fn of_live_mode(_: Event) {}

#[on_event("v2.core.account.updated")]
async fn account(_: Event) {}

/// A shop's endpoint, as most are.
pub(crate) fn shop() -> Endpoint<Router> {
    let router = Router::builder().build().expect("it is correct");
    Endpoint::new(secret(), router).clock(ManualClock::at(now()))
}

pub(crate) fn usual() -> Mounted {
    BoxService::new(shop())
}

pub(crate) fn at_most_60_s_ahead() -> Mounted {
    BoxService::new(shop().tolerance(Tolerance::default().max_ahead(Duration::from_secs(60))))
}

pub(crate) fn expects_endive() -> Mounted {
    BoxService::new(shop().expect_api_version("2026-10-28.endive"))
}

pub(crate) fn requires_endive() -> Mounted {
    BoxService::new(shop().require_api_version("2026-10-28.endive"))
}

/// Has a shop at `/webhook` only, and cannot look up the one at `/broken`.
struct Tenants;

impl SecretProvider for Tenants {
    async fn secrets(&self, request: &Parts) -> Result<Option<Secrets>, BoxError> {
        match request.uri.path() {
            "/broken" => Err("the database is down".into()),
            "/webhook" => Ok(Some(Secrets::parse(SECRET)?)),
            _ => Ok(None),
        }
    }
}

pub(crate) fn of_tenants() -> Mounted {
    let router = Router::builder().build().expect("it is correct");
    BoxService::new(Endpoint::with_provider(Tenants, router).clock(ManualClock::at(now())))
}

pub(crate) fn overloaded() -> Mounted {
    let inner = service_fn(async |_: Event| Err::<Answer, BoxError>("no permit is free".into()));
    BoxService::new(Endpoint::new(secret(), inner).clock(ManualClock::at(now())))
}
