//! Handlers for the routers of these tests, and some router builders. The snapshots in `main.rs`
//! pin the line numbers of this file.

use std::sync::Arc;

use router_core::{
    Event, Plugin, Router, State, build::RouterBuilder, extract::EventType, on_event, on_unhandled,
};

pub(crate) struct Db;
pub(crate) struct Mailer;

/// Marks the order paid.
#[on_event("payment_intent.succeeded", name = "orders.fulfil")]
pub(crate) async fn fulfil(_: State<Db>, _: State<Db>, _: State<Mailer>) {}

/// Sends the customer a receipt.
///
/// Only the first line is shown.
#[on_event("invoice.*", name = "receipts.send", order = 10, livemode = true)]
pub(crate) async fn receipt(_: State<Mailer>, _: Option<State<u8>>) {}

#[on_event("customer.subscription.paused", "invoice.paid", endpoint = "connect")]
pub(crate) async fn pause() {}

#[on_event("coffee.made", "invoice.piad", name = "orders.fulfil", unlisted, retry(backoff = "1s"))]
pub(crate) async fn same_name(_: Event) {}

#[on_unhandled]
pub(crate) async fn rest(_: EventType) {}

#[on_unhandled(name = "other.rest")]
pub(crate) async fn other_rest() {}

/// Returns a builder without mistakes.
pub(crate) fn valid() -> RouterBuilder {
    Router::builder()
        .only::<fulfil>()
        .only::<receipt>()
        .only::<pause>()
        .only::<rest>()
        .endpoints(["connect"])
        .state(Db)
        .state(Mailer)
}

/// Returns a builder with all handlers and every kind of mistake.
pub(crate) fn invalid() -> RouterBuilder {
    Router::builder()
        .plugins([Plugin::__new("other-shop", "1.2.3")])
        .require(["invoice.paid", "charge.failed", "charge.faild", "customer.created"])
        .handler("audit", ["*", "invoice paid"], async |_: Event| {})
        .handler("nothing", [] as [&str; 0], async |_: Event| {})
        .state(Arc::new(Db))
        .state(7_u16)
        .state(8_u16)
}

/// Returns a builder that builds, with several warnings.
pub(crate) fn with_warnings() -> RouterBuilder {
    Router::builder()
        .without::<fulfil>()
        .without::<rest>()
        .state(Db)
        .state(Mailer)
        .handler("audit", ["*"], async |_: Event| {})
        .handler("accounts", ["v2.core.account.*"], async |_: Event| {})
        .handler("identity", ["v2.core.account[identity].updated"], async |_: Event| {})
}
